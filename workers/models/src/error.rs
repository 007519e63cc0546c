//! What can go wrong when a model is made, saved, loaded or counted.
//!
//! In: facts. Out: messages that name the file or field and the fix. The request path has its own
//! [`Failure`](recmesh_contract::Failure).

use std::path::{Path, PathBuf};

/// A model could not be made, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file was read, but is not what a model writes.
    #[error("{}: {reason}; the model must be made again", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter cannot be used.
    #[error("{field}: {reason}")]
    Parameter {
        /// The parameter, as the manifest writes it.
        field: &'static str,
        /// Why, and what to give instead.
        reason: String,
    },
    /// A device was asked for and cannot be had.
    #[error("it is to serve from a CUDA device, but {0}; set pool.device to auto or cpu, or give it such a device")]
    Device(String),
    /// Two things that must belong together do not.
    #[error("{0}")]
    Mismatch(String),
}

impl ModelError {
    /// A file error.
    pub(crate) fn io(file: &Path, source: std::io::Error) -> Self {
        Self::Io { file: file.to_owned(), source }
    }

    /// A file whose content is wrong.
    pub(crate) fn corrupt(file: &Path, reason: impl ToString) -> Self {
        Self::Corrupt { file: file.to_owned(), reason: reason.to_string() }
    }

    /// A parameter that cannot be used.
    pub(crate) fn parameter(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Parameter { field, reason: reason.into() }
    }
}
