//! Metrics as pure functions of ranks, or of scores and labels. No model, no threads, no randomness beyond a seed.

mod area;
mod bootstrap;
mod logloss;
mod rank;
#[cfg(test)]
mod tests;

pub use area::{Auc, Gauc, auc, gauc};
pub use bootstrap::{Resampling, intervals};
pub use logloss::{logloss, losses};
pub use rank::{RankMetric, item_coverage};
