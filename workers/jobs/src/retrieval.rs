//! Trains a retrieval model: sequences into examples, the loop, early stopping on validation NDCG@10.

use std::{ops::Range, path::Path, sync::Arc};

use recmesh_catalog::Catalog;
use recmesh_contract::{
    ArtifactId, Metric, Recommend,
    config::{Quantization, RetrievalAlgorithm, TrainingParams},
};
use recmesh_data::{Interactions, Part};
use recmesh_evaluation::quick_ndcg;
use recmesh_learning::{Outcome, Run, train};
use recmesh_models::{
    Trainable,
    quant::Quantisable,
    retrieval::{LazyDecoder, SasRec, SequenceExample},
};

use crate::{
    JobError, dataset, quant,
    run::{Bench, Made, open},
    tokenizer::CATALOG,
};

/// The cut-off of the metric that decides when to stop.
const STOPPING_K: usize = 10;

/// What to train.
pub(crate) struct Task<'a> {
    pub algorithm: &'a RetrievalAlgorithm,
    pub dataset: &'a ArtifactId,
    pub tokenizer: Option<&'a ArtifactId>,
    pub params: &'a TrainingParams,
    pub quantization: Option<&'a Quantization>,
    pub makes: &'a ArtifactId,
}

/// Trains a model into `out`.
pub(crate) fn make(task: &Task<'_>, out: &Path, bench: &Bench<'_>) -> Result<Made, JobError> {
    let data = dataset::interactions(task.dataset, "a retrieval model", bench)?;
    match task.algorithm {
        RetrievalAlgorithm::SasRec(params) => {
            let mut model = SasRec::new(params, data.items.len(), task.params.seed)?;
            let examples = windows(&data, params.max_length as usize);
            let outcome = fit(&mut model, &examples, &data, SasRec::recommender, task, bench)?;
            model.save(out)?;
            finished(&model, SasRec::recommender, &outcome, &data, task, (out, bench))
        }
        RetrievalAlgorithm::LazyDecoder(params) => {
            let id = task.tokenizer.ok_or_else(|| {
                JobError::Configuration("lazyDecoder reads semantic IDs: give the model a tokenizerRef".to_owned())
            })?;
            let catalog = Arc::new(Catalog::open(&open(id, bench)?.path().join(CATALOG))?);
            let mut model = LazyDecoder::new(params, catalog, task.params.seed)?;
            let examples = windows(&data, params.context_length as usize);
            let outcome = fit(&mut model, &examples, &data, LazyDecoder::recommender, task, bench)?;
            model.save(out)?;
            finished(&model, LazyDecoder::recommender, &outcome, &data, task, (out, bench))
        }
        RetrievalAlgorithm::Popularity(_) | RetrievalAlgorithm::ItemKnn(_) | RetrievalAlgorithm::Transitions(_) => Err(
            JobError::Configuration("a counting model is made from its data set and needs no training job".to_owned()),
        ),
    }
}

/// What is told of a trained model, quantised where that is asked for.
fn finished<M: Quantisable>(
    model: &M,
    recommender: impl Fn(&M) -> Box<dyn Recommend>,
    outcome: &Outcome,
    data: &Interactions,
    task: &Task<'_>,
    (out, bench): (&Path, &Bench<'_>),
) -> Result<Made, JobError> {
    let mut made = made(outcome);
    if let Some(how) = task.quantization {
        quant::retrieval(model, recommender, data, how, (out, bench.threads, bench.reporter), &mut made)?;
    }
    Ok(made)
}

/// Runs the loop with validation after each epoch.
fn fit<M: Trainable<Example = SequenceExample>>(
    model: &mut M,
    examples: &[SequenceExample],
    data: &Interactions,
    recommender: impl Fn(&M) -> Box<dyn Recommend>,
    task: &Task<'_>,
    bench: &Bench<'_>,
) -> Result<Outcome, JobError> {
    if examples.is_empty() {
        return Err(JobError::NothingToDo(format!(
            "data set {} has no user with two interactions in its train part: nothing to learn from",
            task.dataset
        )));
    }
    // Said now, not after a whole epoch.
    if data.sequences.targets(Part::Validation).is_empty() {
        return Err(JobError::NothingToDo(format!(
            "data set {} has no validation target to stop by: give its split a validation part, or users more interactions",
            task.dataset
        )));
    }
    let checkpoints = bench.store.checkpoint_folder(task.makes);
    let run = Run {
        checkpoints: Some(&checkpoints),
        threads: bench.threads,
        reporter: bench.reporter,
        stop: Some(bench.stop),
    };
    let stopping = &task.params.early_stopping;
    let mut validate = |model: &M| -> Result<f64, JobError> {
        let server = recommender(model);
        let sample = stopping.sample as usize;
        Ok(quick_ndcg(&*server, data, Part::Validation, STOPPING_K, sample, bench.threads, task.params.seed)?)
    };
    Ok(train(model, examples, task.params, run, &mut validate)?)
}

/// Train sequences cut into windows of at most `length` targets.
fn windows(data: &Interactions, length: usize) -> Vec<SequenceExample> {
    let sequences = (0..data.sequences.users()).map(|user| data.sequences.train(user));
    sequences
        .flat_map(|items| {
            cut(items.len(), length).into_iter().map(|window| SequenceExample { items: items[window].to_vec() })
        })
        .collect()
}

/// Windows over a sequence, newest first and aligned to its end. Neighbours share one item, which is the target of the
/// older one and only context in the newer, so that every target is learnt once.
fn cut(items: usize, length: usize) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut end = items;
    while end >= 2 {
        let start = end.saturating_sub(length + 1);
        windows.push(start..end);
        end = start + 1;
    }
    windows
}

/// What a trained model's report tells.
pub(crate) fn made(outcome: &Outcome) -> Made {
    let metric = |name: &str, value: f64, split: Option<&str>| Metric {
        name: name.to_owned(),
        value,
        interval: None,
        split: split.map(str::to_owned),
        masking: None,
        of: None,
    };
    let metrics = vec![
        metric("bestValidation", outcome.best_metric, Some("validation")),
        metric("bestEpoch", outcome.best_epoch as f64, None),
        metric("epochs", outcome.epochs as f64, None),
        metric("steps", outcome.steps as f64, None),
        metric("loss", outcome.final_loss, Some("train")),
    ];
    Made { metrics, message: None, quantization: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_learnt_once() {
        for (items, length) in [(0, 50), (1, 50), (2, 50), (51, 50), (52, 50), (151, 50), (7, 2)] {
            let windows = cut(items, length);
            let mut targets: Vec<usize> = windows.iter().flat_map(|window| window.start + 1..window.end).collect();
            targets.sort_unstable();
            assert_eq!(targets, (1..items).collect::<Vec<_>>(), "{items} items, windows of {length}");
            assert!(windows.iter().all(|window| window.len() <= length + 1));
        }
    }
}
