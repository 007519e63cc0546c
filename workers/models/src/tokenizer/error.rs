//! Why items could not be tokenized.
//!
//! Each variant names the file or the item and says what to change. Never formats a stack of causes itself.

use std::{io, path::PathBuf};

/// What went wrong between item vectors and semantic IDs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// Some items have no row in a vector file.
    #[error("{}: {missing} of {items} items have no vector; the first is {first:?}: add their rows", path.display())]
    MissingVectors {
        /// The vector file.
        path: PathBuf,
        /// How many items have none.
        missing: usize,
        /// Items in all.
        items: usize,
        /// The first one's id.
        first: String,
    },
    /// There is nothing to tokenize.
    #[error("there are no items to tokenize")]
    NoItems,
    /// A matrix's size does not fit.
    #[error("{what}: {found} values, expected {expected}")]
    Shape {
        /// Which matrix.
        what: &'static str,
        /// Values found.
        found: usize,
        /// Values expected.
        expected: usize,
    },
    /// A vector holds a value that is not a finite number.
    #[error("the vector of item {item} holds a value that is not a finite number")]
    NotFinite {
        /// The item's index.
        item: usize,
    },
    /// A sequence names an item beyond the item count.
    #[error("a sequence names item {item}, but there are only {items} items")]
    UnknownItem {
        /// The named index.
        item: usize,
        /// How many items there are.
        items: usize,
    },
    /// Item vectors could not be factorised.
    #[error("item vectors could not be factorised: {0}")]
    Factorise(String),
}

impl TokenizerError {
    /// Ties an input/output error to its file.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Ties a complaint to its file.
    pub(crate) fn format(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Format { path: path.into(), reason: reason.into() }
    }
}
