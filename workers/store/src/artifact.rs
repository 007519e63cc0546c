//! An artifact whose every digest has been checked. In: a folder of the store. Out: its files' path and its manifest.
//!
//! Refuses a folder that is not exactly what its manifest says, naming the file and the reason. Never writes.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use recmesh_contract::{ArtifactId, Metric};
use serde::de::DeserializeOwned;

use crate::{
    ArtifactFlaw, FileEntry, Manifest, Result, StoreError,
    digest::sha256_file,
    manifest::{CONFIG, MANIFEST, METRICS},
};

/// A version in the store, whole when it was opened.
#[derive(Clone, Debug)]
pub struct Artifact {
    path: PathBuf,
    manifest: Manifest,
    config: serde_json::Value,
    metrics: Vec<Metric>,
}

impl Artifact {
    /// Which artifact it is.
    #[must_use]
    pub fn id(&self) -> &ArtifactId {
        &self.manifest.artifact
    }

    /// The folder of its files.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files and what it was made from.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The parameters it was made with.
    #[must_use]
    pub fn config(&self) -> &serde_json::Value {
        &self.config
    }

    /// What was measured when it was made.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Checks every file of the folder and reads the JSON ones.
    pub(crate) fn open(path: PathBuf, id: &ArtifactId) -> Result<Self> {
        let manifest = read_manifest(&path, id)?;
        for file in &manifest.files {
            check_file(&path.join(&file.name), file)?;
        }
        let entries = fs::read_dir(&path).map_err(StoreError::io(&path, "list"))?;
        for entry in entries {
            let name = entry.map_err(StoreError::io(&path, "list"))?.file_name();
            if name != MANIFEST && !manifest.files.iter().any(|file| name == file.name.as_str()) {
                return Err(StoreError::damaged(&path.join(name), ArtifactFlaw::Extra));
            }
        }
        let config = read_json(&path.join(CONFIG))?;
        let metrics = read_json(&path.join(METRICS))?;
        Ok(Self { path, manifest, config, metrics })
    }
}

/// Reads and checks the manifest of a version, but none of its other files.
pub fn read_manifest(path: &Path, id: &ArtifactId) -> Result<Manifest> {
    let file = path.join(MANIFEST);
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && !path.exists() => {
            return Err(StoreError::Absent { id: Box::new(id.clone()), path: path.to_owned() });
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::damaged(&file, ArtifactFlaw::Missing));
        }
        Err(error) => return Err(StoreError::io(&file, "read")(error)),
    };
    Manifest::parse(&bytes, id).map_err(|flaw| StoreError::damaged(&file, flaw))
}

fn check_file(path: &Path, entry: &FileEntry) -> Result<()> {
    let flaw = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => ArtifactFlaw::Missing,
        Err(error) => return Err(StoreError::io(path, "stat")(error)),
        Ok(about) if !about.is_file() => ArtifactFlaw::NotAFile,
        Ok(about) if about.len() != entry.size => ArtifactFlaw::Size { found: about.len(), expected: entry.size },
        Ok(_) if sha256_file(path)?.1 != entry.sha256 => ArtifactFlaw::Digest,
        Ok(_) => return Ok(()),
    };
    Err(StoreError::damaged(path, flaw))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::damaged(path, ArtifactFlaw::Missing));
        }
        Err(error) => return Err(StoreError::io(path, "read")(error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| StoreError::damaged(path, ArtifactFlaw::Shape(error.to_string())))
}
