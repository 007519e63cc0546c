//! What stops a training run, with the place and the way out.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why a run ended without trained weights.
#[derive(Debug, thiserror::Error)]
pub enum LearningError {
    /// Nothing to learn from.
    #[error("none of the {given} training examples has a target; check the data set's training split")]
    NoTargets {
        /// Examples handed in.
        given: usize,
    },
    /// A loss or a gradient left the numbers. The weights are those before the step.
    #[error(
        "the {what} is not finite at step {step} (epoch {epoch}, lr {rate:.2e}); \
         lower optimizer.lr, raise schedule.warmupSteps or set clipNorm"
    )]
    NonFinite {
        /// `loss` or `gradient`.
        what: &'static str,
        /// Epoch, from 1.
        epoch: u32,
        /// Step of the run, from 1.
        step: u64,
        /// Rate in force.
        rate: f64,
    },
    /// The validation failed.
    #[error("the validation after epoch {epoch} failed: {source}")]
    Validation {
        /// Epoch, from 1.
        epoch: u32,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The validation gave something that cannot be compared.
    #[error("the validation after epoch {epoch} gave {metric}, which is no metric; lower optimizer.lr")]
    NoMetric {
        /// Epoch, from 1.
        epoch: u32,
        /// What it gave.
        metric: f64,
    },
    /// The stop flag was raised. With checkpoints, the next run goes on after this step.
    #[error("stopped after step {step}, {}", if *.kept { "which a checkpoint keeps" } else { "without a checkpoint" })]
    Stopped {
        /// Steps done.
        step: u64,
        /// Whether a checkpoint keeps them.
        kept: bool,
    },
    /// A checkpoint could not be written; an earlier one, if any, is still whole.
    #[error("cannot write the checkpoint {path}: {source}; free or enlarge the disk and start again")]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint is there and cannot be read.
    #[error("cannot read the checkpoint {path}: {source}")]
    Read {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A checkpoint is damaged.
    #[error("the checkpoint {path} is damaged: {reason}; remove its folder to train from the start")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// A checkpoint belongs to another run.
    #[error("the checkpoint {path} belongs to another run: {reason}; remove its folder to train from the start")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}
