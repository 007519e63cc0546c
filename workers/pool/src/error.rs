//! Why a pool cannot start.

use std::{io, path::PathBuf};

use recmesh_catalog::CatalogError;
use recmesh_contract::{ArtifactId, Name};
use recmesh_models::ModelError;
use recmesh_store::StoreError;

/// Why a pool cannot start; names the pool or the artifact.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// An artifact is missing or refused.
    #[error("pool {pool} cannot open artifact {artifact}: train it again or restore it")]
    Artifact {
        /// The pool.
        pool: Name,
        /// What it needs.
        artifact: ArtifactId,
        /// What is wrong with it.
        #[source]
        source: Box<StoreError>,
    },
    /// A catalog cannot be read.
    #[error("pool {pool} cannot read the catalog {}", path.display())]
    Catalog {
        /// The pool.
        pool: Name,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<CatalogError>,
    },
    /// Histories cannot be read.
    #[error("pool {pool} cannot read the histories {}", path.display())]
    Histories {
        /// The pool.
        pool: Name,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<StoreError>,
    },
    /// Histories and catalog are not of one data set.
    #[error(
        "pool {pool} cannot serve {}: user {user:?} has items beyond the {items} of the catalog; \
         name the data set that the tokenizer was fitted on", path.display()
    )]
    OtherItems {
        /// The pool.
        pool: Name,
        /// The histories.
        path: PathBuf,
        /// The first user with such an item.
        user: String,
        /// How many items the catalog has.
        items: usize,
    },
    /// A model cannot be loaded.
    #[error("pool {pool} cannot load the model of artifact {artifact}")]
    Model {
        /// The pool.
        pool: Name,
        /// The model.
        artifact: ArtifactId,
        /// What is wrong with it.
        #[source]
        source: Box<ModelError>,
    },
    /// The operating system gives no thread.
    #[error("pool {pool} cannot start its threads: ask for fewer engines or raise the process's limit")]
    Thread {
        /// The pool.
        pool: Name,
        /// Why.
        #[source]
        source: io::Error,
    },
}
