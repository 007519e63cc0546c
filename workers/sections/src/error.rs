//! What can be wrong with a section file: the file's path and one flaw with its facts. Never holds file contents.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Name of a section: eight ASCII characters, padded with spaces.
pub type Tag = [u8; 8];

/// Why a section file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// The operating system refused.
    #[error("{}: cannot {verb}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: `open`, `write`, `rename into place`.
        verb: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not a whole file of this kind.
    #[error("{}: {flaw}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        flaw: Flaw,
    },
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It does not begin with the magic bytes.
    NotThisKind {
        /// The kind that was wanted: `catalog`.
        kind: &'static str,
    },
    /// It was written in a format version that this reader does not read.
    Version {
        /// The file's.
        found: u32,
        /// Oldest version that is read.
        oldest: u32,
        /// Newest version that is read.
        newest: u32,
    },
    /// It is shorter or longer than its header says.
    Length {
        /// Bytes in the file.
        found: u64,
        /// Bytes by the header; the least a file can have, when there is no whole header.
        expected: u64,
    },
    /// Its bytes do not have the digest written at its end.
    Digest,
    /// Its section table is not one that the writer makes.
    Table {
        /// In words.
        problem: String,
    },
    /// A section's contents break a rule.
    Section {
        /// Which section.
        tag: Tag,
        /// In words.
        problem: String,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThisKind { kind } => write!(f, "not a {kind} file: the first bytes are wrong"),
            Self::Version { found, oldest, newest } => write!(
                f,
                "format version {found} is not readable here (readable: {oldest} to {newest}); make the file again"
            ),
            Self::Length { found, expected } => {
                write!(f, "has {found} bytes, expected {expected}: truncated or extended; make the file again")
            }
            Self::Digest => f.write_str("SHA-256 of the contents does not match: corrupted; make the file again"),
            Self::Table { problem } => write!(f, "section table is wrong: {problem}"),
            Self::Section { tag, problem } => {
                write!(f, "section {:?} is wrong: {problem}", String::from_utf8_lossy(tag).trim_end())
            }
        }
    }
}

impl SectionError {
    /// An error of the operating system at `path`.
    pub fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), verb, source }
    }

    /// A broken rule in one section of the file at `path`.
    pub fn section(path: &Path, tag: Tag, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), flaw: Flaw::Section { tag, problem: problem.into() } }
    }
}
