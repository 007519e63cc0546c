//! Where a run stands between two steps: all of its state beside weights and the optimizer's.
//!
//! In: what each step and validation gave. Out: sums and a history. Serialised to the bit, since sums go on from it.

use serde::{Deserialize, Serialize};

use crate::stopping::Stopping;

/// One finished epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EpochReport {
    /// Which, from 1.
    pub epoch: u32,
    /// Mean training loss of a target over the epoch.
    pub loss: f64,
    /// The validation metric, in epochs that were validated.
    pub metric: Option<f64>,
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Position {
    /// Finished epochs.
    pub epoch: u32,
    /// Finished batches of the epoch under way.
    pub batch: u64,
    /// Steps made in all.
    pub step: u64,
    /// Losses of the epoch under way.
    pub loss: f64,
    /// Weight of those.
    pub weight: f64,
    /// Best epoch so far.
    pub stopping: Stopping,
    /// Finished epochs, oldest first.
    pub history: Vec<EpochReport>,
}

impl Position {
    /// Takes a step's loss and weight.
    pub fn advance(&mut self, loss: f64, weight: f64) {
        self.batch += 1;
        self.step += 1;
        self.loss += loss;
        self.weight += weight;
    }

    /// Mean loss of the epoch under way.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight.max(f64::MIN_POSITIVE)
    }

    /// Closes the epoch under way.
    pub fn close_epoch(&mut self, metric: Option<f64>) {
        self.epoch += 1;
        self.history.push(EpochReport { epoch: self.epoch, loss: self.mean_loss(), metric });
        self.batch = 0;
        self.loss = 0.0;
        self.weight = 0.0;
    }
}
