//! Quantises a trained model and decides in which precision it serves.
//!
//! ```text
//! trained ─► trial (high precision, counts errors)  ┐
//!        └► quantised                               ┴─ validation split ─► figures ─► gates ─► report, codes
//! ```
//!
//! In: a trained model and its held-out rows. Out: files in the model's folder and what the job's report tells. Where a
//! gate does not hold, only the report is written, and the model serves as it was trained.

use std::path::Path;

use recmesh_contract::{Metric, Precision, Progress, Quantized, Recommend, Reporter, config::Quantization};
use recmesh_data::{Interactions, Part};
use recmesh_evaluation::{Best, EvaluationError, best};
use recmesh_kernels::{
    Workspace,
    fp8::gates::{self, Gates, Verdict, top_k_overlap},
};
use recmesh_models::quant::{self, LayerReport, Quality, Quantisable, Report, errors, quantised, trial, weight_bytes};

use crate::{JobError, run::Made};

/// How many of the best answers are compared.
const TOP_K: usize = 32;
/// Rows that a ranking model is asked to order at once, as many as a request has candidates.
const CANDIDATES: usize = 128;

/// Figures of both models over the same rows.
struct Compared {
    rows: usize,
    overlap: f64,
    k: usize,
    quality: Quality,
}

/// Quantises a retrieval model into its folder.
pub(crate) fn retrieval<M: Quantisable>(
    model: &M,
    recommender: impl Fn(&M) -> Box<dyn Recommend>,
    data: &Interactions,
    how: &Quantization,
    (out, threads, reporter): (&Path, usize, &dyn Reporter),
    made: &mut Made,
) -> Result<(), JobError> {
    calibrating(reporter);
    let ask = |model: &M, threads| {
        best(&*recommender(model), data, Part::Validation, TOP_K, how.calibration.sample as usize, threads)
    };
    let (trial, low) = (trial(model, how), quantised(model, how));
    let exact = ask(&trial, 1)?;
    let found = match ask(&low, threads) {
        // Numbers that overflow are a reason to fall back, not to fail.
        Err(EvaluationError::Model { .. } | EvaluationError::NotANumber { .. }) => {
            Best { items: vec![Vec::new(); exact.items.len()], recall: 0.0 }
        }
        found => found?,
    };
    let metric = format!("recall@{TOP_K}");
    let quality = Quality { metric, exact: exact.recall, quantized: found.recall };
    let compared = Compared { rows: exact.items.len(), overlap: exact.overlap(&found), k: TOP_K, quality };
    decide((model, &trial, &low), how, compared, out, made)
}

/// Quantises a ranking model into its folder. `score` gives `rows × tasks` probabilities, `quality` the mean of the
/// tasks' AUC.
pub(crate) fn ranking<M: Quantisable>(
    model: &M,
    rows: &[&M::Example],
    score: impl Fn(&M, &mut Workspace, &[&M::Example]) -> Vec<f32>,
    quality: impl Fn(&[f32]) -> Result<f64, JobError>,
    how: &Quantization,
    (out, reporter): (&Path, &dyn Reporter),
    made: &mut Made,
) -> Result<(), JobError> {
    calibrating(reporter);
    let mut workspace = Workspace::default();
    let (trial, low) = (trial(model, how), quantised(model, how));
    let exact = score(&trial, &mut workspace, rows);
    let found = score(&low, &mut workspace, rows);
    let tasks = exact.len() / rows.len().max(1);
    let after = if found.iter().any(|score| score.is_nan()) { 0.0 } else { quality(&found)? };
    let quality = Quality { metric: "auc".to_owned(), exact: quality(&exact)?, quantized: after };
    let cols = CANDIDATES.min(rows.len());
    let columns = |scores: &[f32]| -> Vec<f32> {
        let whole = scores.len() / tasks / cols * cols;
        (0..tasks).flat_map(|task| scores.chunks_exact(tasks).take(whole).map(move |row| row[task])).collect()
    };
    // The best of few rows would be all of them, in both models.
    let k = TOP_K.min((cols / 4).max(1));
    let overlap = top_k_overlap(&columns(&exact), &columns(&found), cols, k);
    let compared = Compared { rows: rows.len(), overlap, k, quality };
    decide((model, &trial, &low), how, compared, out, made)
}

/// What the folder of a model tells of its quantization.
pub(crate) fn told(dir: &Path) -> Result<Option<Quantized>, JobError> {
    Ok(quant::report(dir)?.map(|report| report.verdict))
}

fn calibrating(reporter: &dyn Reporter) {
    reporter.progress(Progress { step: "calibrating", done: 0, total: 0, note: String::new() });
}

/// Holds the figures against the gates and writes what follows.
fn decide<M: Quantisable>(
    (model, trial, low): (&M, &M, &M),
    how: &Quantization,
    compared: Compared,
    out: &Path,
    made: &mut Made,
) -> Result<(), JobError> {
    let Compared { rows, overlap, k, quality } = compared;
    let layers = errors(trial);
    let report = gates::Report {
        layers: layers.clone(),
        top_k_overlap: overlap,
        recall: quality.exact,
        quantised_recall: quality.quantized,
    };
    let asked = Gates {
        max_rel_error: how.gates.max_rel_error,
        min_top_k_overlap: how.gates.min_top_k_overlap,
        max_recall_drop: how.gates.max_recall_drop,
    };
    let weight_bytes = weight_bytes(model.params());
    let name = if quality.metric == "auc" { "mean auc" } else { quality.metric.as_str() };
    let worst = layers.iter().map(|layer| layer.rel_error).fold(0.0, f64::max);
    let (verdict, reasons) = match gates::judge(&report, &asked) {
        Verdict::Accept => {
            let message = format!(
                "every gate holds on {rows} held-out targets: relative error of the worst of {} layers {worst:.4}, \
                 top-{k} overlap {overlap:.4}, {name} {:.4} after {:.4}",
                layers.len(),
                quality.quantized,
                quality.exact
            );
            let served_bytes = quant::weight_bytes(low.params());
            (Quantized { precision: how.format.into(), message, weight_bytes, served_bytes }, Vec::new())
        }
        Verdict::FallBack(breaches) => {
            let told = |it: &gates::Breach| it.to_string().replace("recall drop", &format!("drop of {name}"));
            let reasons: Vec<String> = breaches.iter().map(told).collect();
            let message = format!("serves in high precision: {}", reasons.join("; "));
            (Quantized { precision: Precision::F32, message, weight_bytes, served_bytes: weight_bytes }, reasons)
        }
    };
    let metric = |name: String, value: f64| Metric {
        name,
        value,
        interval: None,
        split: Some("validation".to_owned()),
        masking: None,
        of: None,
    };
    made.metrics.extend([
        metric("quantizedRelError".to_owned(), worst),
        metric(format!("quantizedTopKOverlap@{k}"), overlap),
        metric(quality.metric.clone(), quality.exact),
        metric(format!("quantized/{}", quality.metric), quality.quantized),
    ]);
    made.quantization = Some(verdict.clone());
    let layer = |it: gates::LayerError| LayerReport {
        layer: it.layer,
        rel_error: Some(it.rel_error).filter(|error| error.is_finite()),
    };
    let layers = layers.into_iter().map(layer).collect();
    let report = Report::new(verdict, reasons, how.clone(), rows, layers, (k, overlap), quality);
    Ok(quant::save(out, &report, low)?)
}

#[cfg(test)]
mod tests;
