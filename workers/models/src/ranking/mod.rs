//! Ranking models: task probabilities for rows of features, or for candidates of a user.
//!
//! ```text
//! TabularRow ─► TabularMmoe ─┐                               ┌─► loss (training)
//!                            ├─► mixture of experts ─► towers ┤
//! InteractionRow, RankQuery ─► InteractionMmoe ─┘             └─► probabilities ─► policy (final score)
//! ```
//!
//! In: rows of indices and numbers. Out: one probability a task. What a query needs beside its history (attributes,
//! popularity) travels with the model. Nothing here reads a data set or decides what to recommend.

mod features;
mod interactions;
mod mixture;
pub mod policy;
mod saved;
mod serve;
mod tabular;
mod tasks;
#[cfg(test)]
mod tests;

pub use features::{AttributeTable, CategoricalFeature, InteractionFeatures, NumericFeature};
pub use interactions::{InteractionMmoe, InteractionRow};
pub use serve::{TabularRanker, load, load_tabular};
pub use tabular::{TabularMmoe, TabularRow};
