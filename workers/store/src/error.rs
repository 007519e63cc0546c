//! Why the store refused. Every message names the file or folder and, where there is one, the way out.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use recmesh_contract::ArtifactId;
use recmesh_sections::SectionError;

/// What every part of the store returns.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused: full disk, missing permission, missing folder.
    #[error("{}: cannot {verb}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of sections, or one that is written whole, could not be read or written.
    #[error(transparent)]
    File(#[from] SectionError),
    /// A URI names no place for artifacts.
    #[error("{uri}: {problem}; write s3://bucket/prefix, gs://bucket/prefix, file:///folder or a folder's path")]
    Uri {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The program cannot use object stores.
    #[error(
        "{uri}: this program was built without object stores; use the one in the image, or build with \
         --features object-store"
    )]
    NoObjectStores {
        /// The URI.
        uri: String,
    },
    /// The artifact is not in the store.
    #[error("{}: there is no artifact {id} here", path.display())]
    Absent {
        /// Which one.
        id: Box<ArtifactId>,
        /// Where it would be.
        path: PathBuf,
    },
    /// The artifact is not what its manifest says.
    #[error("{}: {flaw}; remove the folder to have it made again", path.display())]
    Damaged {
        /// The file, or the artifact's folder.
        path: PathBuf,
        /// What is wrong.
        flaw: ArtifactFlaw,
    },
    /// A draft holds something that an artifact cannot have.
    #[error("{}: an artifact holds plain files only, not {what}", path.display())]
    NotPlain {
        /// The offending entry.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A metric is infinite or not a number.
    #[error("metric {name} of artifact {id} is {value}, which is no result")]
    NotFinite {
        /// Which artifact.
        id: Box<ArtifactId>,
        /// The metric.
        name: String,
        /// Its value.
        value: f64,
    },
    /// The same version is there with other contents.
    #[error(
        "{}: this version is already there with another {part}; a version never changes, so something that decides \
         its bytes is missing from its version, or the code has changed: remove the folder to have it made again",
        path.display()
    )]
    Differs {
        /// The version's folder.
        path: PathBuf,
        /// The first part that differs.
        part: String,
    },
    /// Two users have the same id.
    #[error("{}: user {id:?} is given as row {first} and as row {second}", path.display())]
    DuplicateUser {
        /// The file that was to be written.
        path: PathBuf,
        /// The id.
        id: String,
        /// The first row.
        first: usize,
        /// The next one; equal to `first` when too many ids collide in the look-up table.
        second: usize,
    },
    /// Another process works in the folder.
    #[error("{}: in use by {}; stop it or give another folder", folder.display(), holder(*pid))]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The other process, where it has told.
        pid: Option<u32>,
    },
    /// The state file cannot be read or written.
    #[error(
        "{}: {problem}; stop every process that uses it and remove the file: artifacts are kept, only reports \
         are made again",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// How an artifact differs from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactFlaw {
    /// The manifest cannot be read, with the reason.
    Manifest(String),
    /// The manifest was written in a format version that is not read here.
    Version {
        /// The manifest's.
        found: u64,
        /// Oldest that is read.
        oldest: u32,
        /// Newest that is read.
        newest: u32,
    },
    /// The manifest is that of another artifact.
    Other(Box<ArtifactId>),
    /// A file of the manifest is not there.
    Missing,
    /// A file is there that the manifest does not have.
    Extra,
    /// A folder, link or device stands where a file should.
    NotAFile,
    /// A file has another length.
    Size {
        /// Bytes in the file.
        found: u64,
        /// Bytes by the manifest.
        expected: u64,
    },
    /// A file has another SHA-256.
    Digest,
    /// A JSON file has the right digest but not the right shape, with the reason.
    Shape(String),
}

impl fmt::Display for ArtifactFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(problem) => write!(f, "manifest is unreadable: {problem}"),
            Self::Version { found, oldest, newest } => {
                write!(f, "format version {found} is not readable here (readable: {oldest} to {newest})")
            }
            Self::Other(id) => write!(f, "manifest is that of {id}"),
            Self::Missing => f.write_str("file is missing"),
            Self::Extra => f.write_str("file is not in the manifest"),
            Self::NotAFile => f.write_str("is no plain file"),
            Self::Size { found, expected } => write!(f, "has {found} bytes, the manifest says {expected}"),
            Self::Digest => f.write_str("SHA-256 differs from the manifest's: corrupted"),
            Self::Shape(problem) => write!(f, "cannot be read: {problem}"),
        }
    }
}

impl StoreError {
    pub(crate) fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), verb, source }
    }

    pub(crate) fn damaged(path: &Path, flaw: ArtifactFlaw) -> Self {
        Self::Damaged { path: path.to_owned(), flaw }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Writes a file whole or not at all: a temporary neighbour, fsync, rename.
///
/// # Errors
/// When the folder is absent, full or not writable; the error names the path and the old file stays.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(recmesh_sections::write_atomic(path, bytes)?)
}
