//! Decoding semantic IDs: a beam search that can only walk paths of the catalog's trie.
//!
//! ```text
//! logits per beam ─► Search::score ─► legal, alive children ─► bounded heap ─► next beams ─► items
//! ```
//!
//! A model hands in logits level by level; nothing here knows the model. IDs that name no item cannot come out, and a
//! beam is never spent on a subtree in which nothing may be answered. A [`Search`] is memory for one query after another;
//! what it walks is a view of the query and the catalog, [`Paths`].

mod alive;
mod masks;
mod paths;
mod search;

#[cfg(test)]
mod tests;

pub use alive::{Ancestry, NodeSet};
pub use masks::Masks;
pub use paths::Paths;
pub use search::{Beam, Options, Search};
