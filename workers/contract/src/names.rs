//! Names of things: resources, artifact versions, items.
//!
//! In: strings from manifests and files. Out: newtypes that can no longer be wrong. Never touches a file.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Dense index of an item: its row in the catalog, in the data set and in every model's item table.
/// Item `i` of a data set is item `i` of every catalog and model made from that data set.
pub type ItemIndex = u32;

/// A resource's name: a DNS-1123 label, as Kubernetes asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a string is no resource name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a name: use 1 to 63 lower-case letters, digits and '-', starting and ending with a letter or digit"
)]
pub struct NameError(pub String);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// When the string is not a DNS-1123 label.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = name.as_bytes();
        let inside = bytes.iter().all(|&c| plain(c) || c == b'-');
        let ends = bytes.first().is_some_and(|&c| plain(c)) && bytes.last().is_some_and(|&c| plain(c));
        if inside && ends && bytes.len() <= 63 { Ok(Self(name)) } else { Err(NameError(name)) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An artifact's version: twelve hexadecimal digits of the SHA-256 of everything that determines its bytes
/// (parameters, the versions it is made from, the digests of the files read, the format version).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// The version of whatever is determined by `parts`, in this order.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect())
    }

    /// A version read back from a file or folder name; `None` unless it is twelve hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 12 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        hex.then(|| Self(text.to_owned()))
    }

    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an artifact is; also its folder in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactKind {
    /// A prepared data set: interactions or examples, split.
    Dataset,
    /// A fitted tokenizer and its catalog.
    Tokenizer,
    /// A retrieval model.
    RetrievalModel,
    /// A ranking model.
    RankingModel,
    /// The results of an evaluation.
    Evaluation,
}

impl ArtifactKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Dataset, Self::Tokenizer, Self::RetrievalModel, Self::RankingModel, Self::Evaluation];

    /// The folder of this kind in the store.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Tokenizer => "tokenizers",
            Self::RetrievalModel => "retrieval-models",
            Self::RankingModel => "ranking-models",
            Self::Evaluation => "evaluations",
        }
    }
}

/// One immutable artifact: `<store>/<kind>/<name>/<version>/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactId {
    /// What it is.
    pub kind: ArtifactKind,
    /// The resource it belongs to.
    pub name: Name,
    /// Which version of it.
    pub version: Version,
}

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.folder(), self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "a-1", "0", "x".repeat(63).as_str()] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "x".repeat(64).as_str(), "é"] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_separate_their_parts() {
        assert_ne!(Version::of([b"ab".as_slice(), b"c"]), Version::of([b"a".as_slice(), b"bc"]));
        assert_eq!(Version::parse(Version::of([b"x".as_slice()]).as_str()), Some(Version::of([b"x".as_slice()])));
        assert_eq!(Version::parse("../../../etc"), None);
    }
}
