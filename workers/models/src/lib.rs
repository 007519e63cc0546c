//! Models: what they compute, how they are saved, how they answer. Training loops live elsewhere.
//!
//! ```text
//! catalog ─┐
//! config ──┼─► retrieval (SASRec, lazy decoder, counts) ─► Recommend ─► candidates
//! kernels ─┤        └─ decoding (trie, beams)
//!          ├─► ranking ─► Rank ─► task scores ─► policy
//!          └─► tokenizer ─► semantic IDs
//! Trainable: params + loss on a tape ─► whoever trains
//! ```
//!
//! Nothing here reads a data set or knows a protocol. Threads are scoped or an engine's team, and no result depends on
//! their number.

mod answer;
pub mod decoding;
mod error;
#[cfg(test)]
mod planted;
pub mod quant;
pub mod ranking;
pub mod retrieval;
mod team;
pub mod tokenizer;
mod train;
pub mod weights;

pub use error::ModelError;
pub use train::Trainable;
