//! The seam to a store beyond this machine: what must be said of artifacts, fetched and sent.
//!
//! The store calls it and blocks; how it is done, and with which runtime, stays on the other side. What it gives was
//! checked, and what it has begun to send is nobody's until it is whole.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use recmesh_contract::ArtifactId;

use crate::{Manifest, Result};

/// Where artifacts are kept, when the store's folder is only a cache.
pub trait Remote: fmt::Debug + Send + Sync {
    /// Where an artifact is or would be, as people write it.
    fn path(&self, id: &ArtifactId) -> PathBuf;

    /// The manifest of an artifact, or `None` when it is not there.
    fn manifest(&self, id: &ArtifactId) -> Result<Option<Manifest>>;

    /// Every artifact, by kind, name and version.
    fn list(&self) -> Result<Vec<ArtifactId>>;

    /// Writes every file of an artifact into an empty folder, each checked by the manifest, and the manifest last.
    fn fetch(&self, id: &ArtifactId, folder: &Path) -> Result<()>;

    /// Sends the files of a sealed draft, and the manifest last. Gives the manifest that is there in the end: another
    /// one, when somebody else was first.
    fn send(&self, id: &ArtifactId, folder: &Path, manifest: &Manifest) -> Result<Manifest>;

    /// Removes an artifact, the manifest first; nothing happens when it is not there.
    fn remove(&self, id: &ArtifactId) -> Result<()>;
}
