//! SASRec (arXiv 1808.09781): causal self-attention over item embeddings, scored against all items.
//!
//! ```text
//! newest items ─► embedding·√d + position ─► pre-norm blocks ─► norm ─► · item tableᵀ
//! ```
//!
//! Trained with a softmax at every position (arXiv 2508.06450: the loss matters more than the architecture), full or
//! sampled. Sequences of a batch lie one after another without padding; positions count from the start of the window.
//! When serving, only the last position goes through the last block's queries and the output.

mod layout;
mod model;
mod serve;

#[cfg(test)]
mod tests;

pub use model::SasRec;
