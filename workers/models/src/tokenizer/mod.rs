//! How items become semantic IDs.
//!
//! ```text
//! sequences | attributes and text | a file | a model's table ─► vectors ─► rq_kmeans ─► collide ─► SemanticIds
//! ```
//!
//! In: what the data set knows of its items. Out: one code a level for every item, and the codebooks that would give
//! codes to new items. Never reads a data set itself and never writes a catalog.

mod artifact;
mod error;
mod ids;
mod parallel;
pub mod rq_kmeans;
pub mod vectors;

pub use artifact::Tokenizer;
pub use error::TokenizerError;
pub use ids::{SemanticIds, atomic, collide};
pub use rq_kmeans::{LevelStats, Quantizer};
pub use vectors::Vectors;
