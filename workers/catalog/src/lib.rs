//! The catalog: which items there are, what they are called, their semantic IDs, and the trie over those IDs.
//!
//! ```text
//! items, codes ─► write ─► catalog file ─► Catalog::open ─► id ↔ index, codes, attributes, Trie
//! ```
//!
//! One immutable, versioned, mapped file per tokenizer artifact. A file that opens has been checked whole, so reading
//! never fails; a new version is opened beside the old one and swapped in by [`CatalogCell`].

mod attributes;
mod catalog;
mod cell;
mod error;
mod layout;
mod trie;
mod trie_build;
mod write;

pub use catalog::Catalog;
pub use cell::CatalogCell;
pub use error::CatalogError;
pub use trie::Trie;
pub use write::{CatalogItem, write, write_with_live};

#[cfg(test)]
mod tests;
