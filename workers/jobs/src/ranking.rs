//! Trains a ranking model: rows into examples, the loop, early stopping on the tasks' mean validation AUC.

use std::path::Path;

use recmesh_contract::{
    ArtifactId,
    config::{EvaluationParams, EvaluationSplit, Quantization, RankingAlgorithm, RankingParams, TrainingParams},
};
use recmesh_data::{AttributeColumn, Dataset, Examples, Interactions, Part};
use recmesh_evaluation::spread;
use recmesh_kernels::Workspace;
use recmesh_learning::{Outcome, Run, train};
use recmesh_models::{
    Trainable,
    quant::Quantisable,
    ranking::{
        AttributeTable, CategoricalFeature, InteractionFeatures, InteractionMmoe, InteractionRow, NumericFeature,
        TabularMmoe, TabularRow,
    },
};

use crate::{
    JobError, dataset, quant,
    retrieval::made,
    rows::{self, Labelled},
    run::{Bench, Made},
};

/// Quantile buckets of a numeric column.
const BUCKETS: usize = 64;

/// What to train.
pub(crate) struct Task<'a> {
    pub ranking: &'a RankingParams,
    pub dataset: &'a ArtifactId,
    pub params: &'a TrainingParams,
    pub quantization: Option<&'a Quantization>,
    pub makes: &'a ArtifactId,
}

/// Trains a model into `out`.
pub(crate) fn make(task: &Task<'_>, out: &Path, bench: &Bench<'_>) -> Result<Made, JobError> {
    match dataset::any(task.dataset, bench)? {
        Dataset::Interactions(data) => over_interactions(task, &data, out, bench),
        Dataset::Examples(data) => over_examples(task, &data, out, bench),
    }
}

fn over_interactions(task: &Task<'_>, data: &Interactions, out: &Path, bench: &Bench<'_>) -> Result<Made, JobError> {
    let RankingAlgorithm::Mmoe(mmoe) = &task.ranking.algorithm;
    let part = |part| rows::interactions(data, &task.ranking.tasks, part, mmoe.history_length as usize, task.dataset);
    let table = |column: &AttributeColumn| AttributeTable {
        name: column.name.clone(),
        size: column.values.len() as u32,
        offsets: column.offsets.clone(),
        ids: column.ids.clone(),
    };
    let features = InteractionFeatures {
        popularity: rows::occurrences(data),
        item_attributes: data.items.attributes.iter().map(table).collect(),
        users: data.users.len(),
        user_attributes: data.users.attributes.iter().map(table).collect(),
    };
    let mut model = InteractionMmoe::new(task.ranking, features, task.params.seed)?;
    let score = |model: &InteractionMmoe, workspace: &mut Workspace, rows: &[&InteractionRow]| {
        model.probabilities(workspace, rows)
    };
    let labels = |row: &InteractionRow| row.labels.clone();
    let outcome = fit(&mut model, part(Part::Train)?, part(Part::Validation)?, score, labels, task, bench)?;
    model.save(out)?;
    finished(&model, || part(Part::Validation), score, labels, &outcome, task, (out, bench))
}

fn over_examples(task: &Task<'_>, data: &Examples, out: &Path, bench: &Bench<'_>) -> Result<Made, JobError> {
    let part = |part| rows::examples(data, &task.ranking.tasks, part, task.dataset);
    let train_rows = data.rows(Part::Train);
    let numeric = data.numeric.iter().map(|column| {
        let values: Vec<f32> = train_rows.iter().map(|&row| column.values[row as usize]).collect();
        NumericFeature::fit(column.name.clone(), &values, BUCKETS)
    });
    let categorical = data
        .categorical
        .iter()
        .map(|column| CategoricalFeature { name: column.name.clone(), size: column.values.len() as u32 });
    let mut model = TabularMmoe::new(task.ranking, numeric.collect(), categorical.collect(), task.params.seed)?;
    let score =
        |model: &TabularMmoe, workspace: &mut Workspace, rows: &[&TabularRow]| model.probabilities(workspace, rows);
    let labels = |row: &TabularRow| row.labels.clone();
    let outcome = fit(&mut model, part(Part::Train)?, part(Part::Validation)?, score, labels, task, bench)?;
    model.save(out)?;
    finished(&model, || part(Part::Validation), score, labels, &outcome, task, (out, bench))
}

/// Runs the loop with validation after each epoch.
fn fit<M: Trainable>(
    model: &mut M,
    train_rows: Labelled<M::Example>,
    validation: Labelled<M::Example>,
    score: impl Fn(&M, &mut Workspace, &[&M::Example]) -> Vec<f32> + Sync,
    labels_of: impl Fn(&M::Example) -> Vec<Option<bool>>,
    task: &Task<'_>,
    bench: &Bench<'_>,
) -> Result<Outcome, JobError> {
    if train_rows.rows.is_empty() || validation.rows.is_empty() {
        return Err(JobError::NothingToDo(format!(
            "data set {}: {} train and {} validation rows; a ranking model needs both, check the split",
            task.dataset,
            train_rows.rows.len(),
            validation.rows.len()
        )));
    }
    let names: Vec<String> = task.ranking.tasks.iter().map(|task| task.name.clone()).collect();
    // A task that cannot be measured is named now, not after a whole epoch, or all of them.
    let measurable = |labels: &[f32]| mean_auc(&vec![0.5; labels.len()], labels, &names);
    if let Some(how) = task.quantization {
        let (_, labels) = calibration(&validation.rows, how, &labels_of);
        measurable(&labels).map_err(|why| {
            let sample = how.calibration.sample;
            let remedy = "take more rows, or 0 for all";
            JobError::NothingToDo(format!("quantization.calibration.sample: with {sample} rows, {why}: {remedy}"))
        })?;
    }
    let validation = validation.spread(task.params.early_stopping.sample as usize);
    let answers: Vec<Vec<Option<bool>>> = validation.rows.iter().map(labels_of).collect();
    let labels = rows::labels(answers.iter());
    measurable(&labels)?;
    let mut validate = |model: &M| -> Result<f64, JobError> {
        let scores = rows::score(&validation.rows, bench.threads, Workspace::default, |workspace, rows| {
            Ok::<_, JobError>(score(model, workspace, rows))
        })?;
        mean_auc(&scores, &labels, &names)
    };
    let checkpoints = bench.store.checkpoint_folder(task.makes);
    let run = Run {
        checkpoints: Some(&checkpoints),
        threads: bench.threads,
        reporter: bench.reporter,
        stop: Some(bench.stop),
    };
    Ok(train(model, &train_rows.rows, task.params, run, &mut validate)?)
}

/// The mean of the tasks' AUC.
fn mean_auc(scores: &[f32], labels: &[f32], names: &[String]) -> Result<f64, JobError> {
    let params = EvaluationParams {
        split: EvaluationSplit::Validation,
        k: Vec::new(),
        masking: None,
        sample: 0,
        bootstrap: 0,
        shuffled_control: false,
        seed: 0,
        gates: Vec::new(),
    };
    let metrics = recmesh_evaluation::ranking(scores, labels, None, names, &params)?;
    let aucs: Vec<f64> = metrics.iter().filter(|metric| metric.name == "auc").map(|metric| metric.value).collect();
    Ok(aucs.iter().sum::<f64>() / aucs.len().max(1) as f64)
}

/// The rows on which a quantised model is compared with itself, and their labels.
fn calibration<'a, R>(
    rows: &'a [R],
    how: &Quantization,
    labels_of: impl Fn(&R) -> Vec<Option<bool>>,
) -> (Vec<&'a R>, Vec<f32>) {
    let sampled: Vec<&R> = spread(rows.len(), how.calibration.sample as usize).map(|row| &rows[row]).collect();
    let answers: Vec<Vec<Option<bool>>> = sampled.iter().map(|row| labels_of(row)).collect();
    let labels = rows::labels(answers.iter());
    (sampled, labels)
}

/// What is told of a trained model, quantised where that is asked for.
fn finished<M: Quantisable>(
    model: &M,
    validation: impl Fn() -> Result<Labelled<M::Example>, JobError>,
    score: impl Fn(&M, &mut Workspace, &[&M::Example]) -> Vec<f32>,
    labels_of: impl Fn(&M::Example) -> Vec<Option<bool>>,
    outcome: &Outcome,
    task: &Task<'_>,
    (out, bench): (&Path, &Bench<'_>),
) -> Result<Made, JobError> {
    let mut made = made(outcome);
    let Some(how) = task.quantization else { return Ok(made) };
    let all = validation()?;
    let (sampled, labels) = calibration(&all.rows, how, labels_of);
    let names: Vec<String> = task.ranking.tasks.iter().map(|task| task.name.clone()).collect();
    let quality = |scores: &[f32]| mean_auc(scores, &labels, &names);
    quant::ranking(model, &sampled, score, quality, how, (out, bench.reporter), &mut made)?;
    Ok(made)
}
