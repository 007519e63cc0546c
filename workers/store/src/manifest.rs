//! `manifest.json`: what an artifact consists of and what it was made from.
//!
//! In: lineage and the digests of files. Out: JSON that seals itself (`digest` is the SHA-256 of the manifest without
//! it). No times, no machine names: the same work gives the same bytes.

use recmesh_contract::{ArtifactId, Metric};
use serde::{Deserialize, Serialize};

use crate::{ArtifactFlaw, digest::sha256_bytes};

/// The version that is written, and the newest that is read.
pub const FORMAT: u32 = 1;
/// The oldest version that is read: the one before, once there is one.
pub const OLDEST: u32 = 1;
/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The file name of the parameters.
pub const CONFIG: &str = "config.json";
/// The file name of the results.
pub const METRICS: &str = "metrics.json";

/// What an artifact was made from and what came out; given to [`crate::Draft::commit`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lineage {
    /// The artifacts that were read; kept as long as this one is.
    pub inputs: Vec<ArtifactId>,
    /// Digest of the data set's files, where some were read.
    pub data_digest: Option<String>,
    /// The seed of every random step.
    pub seed: Option<u64>,
    /// The parameters; written as `config.json`.
    pub config: serde_json::Value,
    /// The results; written as `metrics.json`.
    pub metrics: Vec<Metric>,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's format.
    pub format_version: u32,
    /// Which artifact it belongs to.
    pub artifact: ArtifactId,
    /// Every other file of the folder, by name.
    pub files: Vec<FileEntry>,
    /// The artifacts that were read.
    pub inputs: Vec<ArtifactId>,
    /// Digest of the data set's files, where some were read.
    pub data_digest: Option<String>,
    /// The seed of every random step.
    pub seed: Option<u64>,
    /// Version of the code that made it.
    pub code_version: String,
    /// SHA-256 of this manifest with this field empty, in hexadecimal.
    pub digest: String,
}

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// Its name; no path.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Puts a manifest together and seals it. `files` ascend by name.
    pub fn seal(artifact: &ArtifactId, files: Vec<FileEntry>, lineage: &Lineage) -> Self {
        let mut manifest = Self {
            format_version: FORMAT,
            artifact: artifact.clone(),
            files,
            inputs: lineage.inputs.clone(),
            data_digest: lineage.data_digest.clone(),
            seed: lineage.seed,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: String::new(),
        };
        manifest.digest = sha256_bytes(&manifest.bytes());
        manifest
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists always serialize; an empty file would be refused by `parse`.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads and checks a manifest that should be that of `artifact`.
    pub fn parse(bytes: &[u8], artifact: &ArtifactId) -> Result<Self, ArtifactFlaw> {
        let unreadable = |error: serde_json::Error| ArtifactFlaw::Manifest(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        let found = value.get("formatVersion").and_then(serde_json::Value::as_u64);
        let found = found.ok_or_else(|| ArtifactFlaw::Manifest("it has no formatVersion".into()))?;
        if !(u64::from(OLDEST)..=u64::from(FORMAT)).contains(&found) {
            return Err(ArtifactFlaw::Version { found, oldest: OLDEST, newest: FORMAT });
        }
        let manifest: Self = serde_json::from_value(value).map_err(unreadable)?;
        let unsealed = Self { digest: String::new(), ..manifest.clone() };
        if sha256_bytes(&unsealed.bytes()) != manifest.digest {
            return Err(ArtifactFlaw::Digest);
        }
        if manifest.artifact != *artifact {
            return Err(ArtifactFlaw::Other(Box::new(manifest.artifact)));
        }
        if let Some(file) = manifest.files.iter().find(|file| !plain(&file.name) || file.name == MANIFEST) {
            return Err(ArtifactFlaw::Manifest(format!("{:?} is not the name of a plain file", file.name)));
        }
        if manifest.files.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err(ArtifactFlaw::Manifest("its files are not in order".into()));
        }
        Ok(manifest)
    }

    /// The first part in which two manifests differ, apart from the code that made them.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let Self { format_version, artifact, files, inputs, data_digest, seed, code_version: _, digest: _ } = self;
        let file = files.iter().find(|file| !other.files.contains(file));
        let file = file.or_else(|| other.files.iter().find(|file| !files.contains(file)));
        if let Some(file) = file {
            return Some(file.name.clone());
        }
        [
            (format_version != &other.format_version, "format version"),
            (artifact != &other.artifact, "artifact"),
            (inputs != &other.inputs, "list of inputs"),
            (data_digest != &other.data_digest, "data digest"),
            (seed != &other.seed, "seed"),
        ]
        .into_iter()
        .find_map(|(differs, part)| differs.then(|| part.to_owned()))
    }
}

/// Whether a name is that of a plain, visible file and no path.
pub fn plain(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with('.') && name.len() <= 255 && name.bytes().all(allowed)
}
