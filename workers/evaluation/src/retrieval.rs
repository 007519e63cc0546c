//! Evaluates a retrieval model on a split, over all items.
//!
//! In: a model, interactions, parameters. Out: recall, NDCG, MRR and item coverage at each cut-off, masked and raw,
//! the illegal-ID rate, and on request the same against shuffled targets. Every target counts: masking never removes
//! the target itself, and the first item of a user is a miss for a model that answers nothing to an empty history.

use recmesh_contract::config::{EvaluationParams, EvaluationSplit, Masking};
use recmesh_contract::{Metric, Progress, Recommend, Reporter};
use recmesh_data::{Interactions, Part, Sequences};

use crate::EvaluationError;
use crate::answers::{Asking, MISS, ask};
use crate::cases::{cases, mix};
use crate::metrics::{RankMetric, Resampling, intervals, item_coverage};

/// Evaluates on the declared split. Rows of error messages count the split's targets, after sampling, from 0.
///
/// # Errors
/// See [`EvaluationError`].
pub fn retrieval(
    model: &dyn Recommend,
    data: &Interactions,
    params: &EvaluationParams,
    threads: usize,
    reporter: &dyn Reporter,
) -> Result<Vec<Metric>, EvaluationError> {
    evaluate(model, &data.sequences, data.items.len(), params, threads, reporter)
}

/// NDCG@k, masked, on at most `sample` targets of a part (0: all), for early stopping.
///
/// # Errors
/// See [`EvaluationError`].
pub fn quick_ndcg(
    model: &dyn Recommend,
    data: &Interactions,
    part: Part,
    k: usize,
    sample: usize,
    threads: usize,
    seed: u64,
) -> Result<f64, EvaluationError> {
    let cases = cases(&data.sequences, part, sample, seed);
    if cases.is_empty() {
        return Err(EvaluationError::NoTargets { split: part.as_str() });
    }
    let how = Asking { k, masking: Masking::Masked, seed, threads, progress: &|_| () };
    let ranks = ask(model, &cases, data.items.len(), how)?;
    let sum: f64 = ranks.target.iter().map(|&rank| RankMetric::Ndcg.at(known(rank), k)).sum();
    Ok(sum / cases.len() as f64)
}

/// [`retrieval`] over what it reads of the data set.
pub(crate) fn evaluate(
    model: &dyn Recommend,
    sequences: &Sequences,
    items: usize,
    params: &EvaluationParams,
    threads: usize,
    reporter: &dyn Reporter,
) -> Result<Vec<Metric>, EvaluationError> {
    let part = match params.split {
        EvaluationSplit::Validation => Part::Validation,
        EvaluationSplit::Test => Part::Test,
    };
    let cases = cases(sequences, part, params.sample as usize, params.seed);
    if cases.is_empty() {
        return Err(EvaluationError::NoTargets { split: part.as_str() });
    }
    let maskings = params.masking.map_or(vec![Masking::Masked, Masking::Raw], |only| vec![only]);
    let total = (cases.len() * maskings.len()) as u64;
    let mut metrics = Vec::new();
    for (pass, &masking) in maskings.iter().enumerate() {
        let name = masking_name(masking);
        let progress = |done: usize| {
            let done = (pass * cases.len() + done) as u64;
            reporter.progress(Progress { step: "evaluating", done, total, note: name.to_owned() });
        };
        let k = params.k.iter().copied().max().unwrap_or(0) as usize;
        let ranks = ask(model, &cases, items, Asking { k, masking, seed: params.seed, threads, progress: &progress })?;

        let metric = |name: String, value: f64, interval: Option<(f64, f64)>, of: Option<&str>| Metric {
            name,
            value,
            interval,
            split: Some(part.as_str().to_owned()),
            masking: Some(masking_name(masking).to_owned()),
            of: of.map(str::to_owned),
        };
        let how = Resampling { resamples: params.bootstrap as usize, seed: mix(params.seed, BOOTSTRAP), threads };
        let of_ranks = |ranks: &[u32], of: Option<&str>| -> Vec<Metric> {
            let (names, values, intervals) = summarise(ranks, &params.k, k, how);
            let interval = |at: usize| intervals.as_ref().map(|intervals| intervals[at]);
            let one = |(at, (name, value))| metric(name, value, interval(at), of);
            names.into_iter().zip(values).enumerate().map(one).collect()
        };
        metrics.extend(of_ranks(&ranks.target, None));
        for &k in &params.k {
            metrics.push(metric(format!("itemCoverage@{k}"), item_coverage(&ranks.best, k as usize), None, None));
        }
        let decoded = (ranks.illegal + ranks.answered).max(1) as f64;
        metrics.push(metric("illegalIdRate".to_owned(), ranks.illegal as f64 / decoded, None, None));
        if params.shuffled_control {
            metrics.extend(of_ranks(&ranks.control, Some("control")));
        }
    }
    Ok(metrics)
}

/// Number of the bootstrap's stream of randomness.
const BOOTSTRAP: u64 = u64::MAX - 1;

fn masking_name(masking: Masking) -> &'static str {
    match masking {
        Masking::Masked => "masked",
        Masking::Raw => "raw",
    }
}

fn known(rank: u32) -> Option<usize> {
    (rank != MISS).then_some(rank as usize)
}

type Summary = (Vec<String>, Vec<f64>, Option<Vec<(f64, f64)>>);

/// Names, means and intervals of every metric at every cut-off. Rows with equal ranks are exchangeable, so a resample
/// is counted by rank first: its cost does not grow with the number of metrics.
fn summarise(ranks: &[u32], cutoffs: &[u32], longest: usize, how: Resampling) -> Summary {
    let of: Vec<(RankMetric, usize)> =
        cutoffs.iter().flat_map(|&k| RankMetric::ALL.map(|metric| (metric, k as usize))).collect();
    let compute = |counts: &[u32], values: &mut [f64]| {
        for (value, (metric, k)) in values.iter_mut().zip(&of) {
            let term = |(rank, &count): (usize, &u32)| f64::from(count) * metric.at(Some(rank), *k);
            *value = counts[..(*k).min(longest)].iter().enumerate().map(term).sum::<f64>() / ranks.len() as f64;
        }
    };
    let count = |rows: &mut dyn Iterator<Item = u32>| {
        let mut counts = vec![0u32; longest + 1];
        rows.for_each(|rank| counts[(rank as usize).min(longest)] += 1);
        counts
    };
    let mut values = vec![0.0; of.len()];
    compute(&count(&mut ranks.iter().copied()), &mut values);
    let intervals = intervals(how, ranks.len(), of.len(), |draws, values| {
        compute(&count(&mut draws.iter().map(|&row| ranks[row as usize])), values);
    });
    (of.iter().map(|(metric, k)| format!("{}@{k}", metric.name())).collect(), values, intervals)
}

#[cfg(test)]
mod tests;
