//! The training loop: epochs of steps, a validation after an epoch, the best epoch's weights at the end.
//!
//! In: a model, examples, parameters and a validation. Out: the model with the weights of its best epoch, and a
//! report. Between two steps all state is either in the checkpoint or a function of the seed and the position.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use recmesh_contract::config::TrainingParams;
use recmesh_contract::{Progress, Reporter};
use recmesh_kernels::Params;
use recmesh_models::Trainable;
use sha2::{Digest, Sha256};

use crate::batches::shuffle;
use crate::checkpoint::{Checkpoints, State, hex};
use crate::clip;
use crate::error::LearningError;
use crate::optimizer::{Optimizer, StepScale};
use crate::position::{EpochReport, Position};
use crate::schedule::share_of_rate;
use crate::shards::{Place, Shards};

/// How a run is carried out; none of it changes the result.
pub struct Run<'a> {
    /// Folder of this run's checkpoints; a run that finds one there goes on from it. `None` writes none.
    pub checkpoints: Option<&'a Path>,
    /// Threads for gradients and updates.
    pub threads: usize,
    /// Where progress goes.
    pub reporter: &'a dyn Reporter,
    /// When raised, the run writes a checkpoint after the step under way and ends with [`LearningError::Stopped`].
    pub stop: Option<&'a AtomicBool>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The best validation metric; the model has that epoch's weights.
    pub best_metric: f64,
    /// Its epoch, from 1.
    pub best_epoch: u32,
    /// Finished epochs.
    pub epochs: u32,
    /// Steps made.
    pub steps: u64,
    /// Mean training loss of a target in the last epoch.
    pub final_loss: f64,
    /// All epochs, first one first.
    pub history: Vec<EpochReport>,
}

/// Trains `model` on `examples` and leaves it with the weights of the epoch that `validate` liked best (higher is
/// better; the earlier one of equals). Validated are every `earlyStopping.every`-th epoch and the last one.
///
/// # Errors
/// See [`LearningError`]. After an error the model's weights are those of the last good step.
pub fn train<T: Trainable, E: Into<Box<dyn Error + Send + Sync>>>(
    model: &mut T,
    examples: &[T::Example],
    params: &TrainingParams,
    run: Run<'_>,
    validate: &mut dyn FnMut(&T) -> Result<f64, E>,
) -> Result<Outcome, LearningError> {
    let usable: Vec<u32> = (0..examples.len() as u32).filter(|&i| model.weight(&examples[i as usize]) > 0.0).collect();
    if usable.is_empty() {
        return Err(LearningError::NoTargets { given: examples.len() });
    }
    let batch_size = params.batch_size.max(1) as usize;
    let batches = usable.len().div_ceil(batch_size) as u64;
    let epochs = params.epochs.max(1);
    let total = batches * u64::from(epochs);

    let mut optimizer = Optimizer::new(&params.optimizer, model.params());
    let mut shards = Shards::new(model.params(), batch_size.min(usable.len()), params.precision);
    let mut position = Position::default();
    let mut best: Option<Vec<Vec<f32>>> = None;
    let checkpoints = match run.checkpoints.filter(|_| params.checkpoint.every_steps > 0) {
        Some(folder) => Some(Checkpoints::open(folder, digest(model, examples, params))?),
        None => None,
    };
    if let Some(loaded) = checkpoints.as_ref().map(|c| c.load(model.params())).transpose()?.flatten() {
        set_weights(model.params_mut(), loaded.weights);
        let restored = optimizer.restore(model.params(), loaded.position.step, loaded.optimizer);
        let path = loaded.path;
        restored.map_err(|tensor| LearningError::Damaged { path, reason: format!("{tensor} is missing") })?;
        (position, best) = (loaded.position, loaded.best);
    }

    while position.epoch < epochs && !position.stopping.exhausted(params.early_stopping.patience) {
        let order = shuffle(&usable, params.seed, position.epoch);
        for ids in order.chunks(batch_size).skip(position.batch as usize) {
            let batch: Vec<&T::Example> = ids.iter().map(|&i| &examples[i as usize]).collect();
            let share = share_of_rate(&params.schedule, position.step, total);
            let place = Place { seed: params.seed, step: position.step };
            let found = shards.differentiate(model, &batch, place, run.threads);
            for (what, value) in [("loss", found.loss), ("gradient", found.norm)] {
                if !value.is_finite() {
                    let (epoch, step, rate) = (position.epoch + 1, position.step + 1, optimizer.rate() * share);
                    return Err(LearningError::NonFinite { what, epoch, step, rate });
                }
            }
            let scale = StepScale { gradient: clip::factor(found.norm, params.clip_norm), rate: share };
            optimizer.step(model.params_mut(), shards.gradient(), scale, run.threads);
            position.advance(found.loss, found.weight);

            let closes = position.batch == batches;
            if closes {
                let metric = validated(&position, params, epochs, || validate(model))?;
                position.close_epoch(metric);
                if metric.is_some_and(|metric| position.stopping.observe(position.epoch, metric)) {
                    best = Some(model.params().tensors().iter().map(|tensor| tensor.data.clone()).collect());
                }
            }
            if closes || position.step.is_multiple_of((total / 1000).max(1)) {
                report(run.reporter, &position, total);
            }
            let stop = run.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if let Some(checkpoints) = &checkpoints
                && (stop || position.step.is_multiple_of(u64::from(params.checkpoint.every_steps)))
            {
                let (params, best) = (model.params(), best.as_deref());
                checkpoints.save(&State { position: &position, params, best, optimizer: &optimizer })?;
                run.reporter.checkpoint(position.step);
            }
            if stop {
                return Err(LearningError::Stopped { step: position.step, kept: checkpoints.is_some() });
            }
        }
    }

    if let Some(best) = best {
        set_weights(model.params_mut(), best);
    }
    let (best_metric, best_epoch) = position.stopping.best.unwrap_or((0.0, 0));
    let final_loss = position.history.last().map_or(0.0, |epoch| epoch.loss);
    let (epochs, steps, history) = (position.epoch, position.step, position.history);
    Ok(Outcome { best_metric, best_epoch, epochs, steps, final_loss, history })
}

/// The metric of the epoch that ends here, when it is one to validate.
fn validated<E: Into<Box<dyn Error + Send + Sync>>>(
    position: &Position,
    params: &TrainingParams,
    epochs: u32,
    validate: impl FnOnce() -> Result<f64, E>,
) -> Result<Option<f64>, LearningError> {
    let epoch = position.epoch + 1;
    if !epoch.is_multiple_of(params.early_stopping.every.max(1)) && epoch != epochs {
        return Ok(None);
    }
    let metric = validate().map_err(|error| LearningError::Validation { epoch, source: error.into() })?;
    if metric.is_finite() { Ok(Some(metric)) } else { Err(LearningError::NoMetric { epoch, metric }) }
}

fn report(reporter: &dyn Reporter, position: &Position, total: u64) {
    let (epoch, loss) = match position.history.last() {
        Some(last) if position.batch == 0 => (last.epoch, last.loss),
        _ => (position.epoch + 1, position.mean_loss()),
    };
    let mut note = format!("epoch {epoch}, loss {loss:.4}");
    let metric = position.history.iter().rev().find_map(|epoch| epoch.metric);
    if let (Some(metric), Some((best, at))) = (metric, position.stopping.best) {
        note += &format!(", validation {metric:.4} (best {best:.4} in epoch {at})");
    }
    reporter.progress(Progress { step: "training", done: position.step, total, note });
}

fn set_weights(params: &mut Params, weights: Vec<Vec<f32>>) {
    for (tensor, values) in params.tensors_mut().iter_mut().zip(weights) {
        tensor.data = values;
    }
}

/// Digest of what the result depends on: parameters (not how often checkpoints are written), the weights' names, roles
/// and shapes, the number of examples and their weights. The data itself is named by the folder's owner.
fn digest<T: Trainable>(model: &T, examples: &[T::Example], params: &TrainingParams) -> String {
    let mut params = params.clone();
    params.checkpoint = recmesh_contract::config::Checkpoint::default();
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(&params).unwrap_or_default());
    for tensor in model.params().tensors() {
        hash.update(format!("\n{} {:?} {} {}", tensor.name, tensor.role, tensor.rows, tensor.cols));
    }
    for example in examples {
        hash.update(model.weight(example).to_le_bytes());
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests;
