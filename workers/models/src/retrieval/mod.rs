//! Retrieval models: from a history to the best items of the whole catalog.
//!
//! ```text
//! counted (no training job): Popularity, ItemKnn, Transitions
//! trained: SasRec (exact scan over items), LazyDecoder (beam search over semantic IDs)
//! folder ─► load, or load_on (a device) ─► Recommend
//! ```
//!
//! Every model obeys a query's exclusions, filter and ties alike, answers only live items of the catalog it is loaded
//! with, and shares its weights between forks. Models that read the history answer nothing to an empty one.

mod folder;
mod header;
mod item_knn;
pub mod lazy_decoder;
mod pass;
mod placing;
mod popularity;
mod related;
pub mod sasrec;
mod sequence;
mod sparse;
mod transitions;

pub use folder::{count, item_vectors, load};
pub use item_knn::ItemKnn;
pub use lazy_decoder::LazyDecoder;
pub use placing::{Placed, ServesFrom, load_on};
pub use popularity::Popularity;
pub use sasrec::SasRec;
pub use sequence::SequenceExample;
pub use transitions::Transitions;

#[cfg(test)]
mod tests;
