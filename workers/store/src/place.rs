//! Where artifacts are kept: a folder, or an object store behind a cache. In: what was written on the command line.
//! Out: the one or the other, every part of it checked.
//!
//! A URI is read strictly, because a slip in it would quietly begin an empty store somewhere else.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{Result, StoreError};

/// Where artifacts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a folder.
    Folder(PathBuf),
    /// In an object store.
    Bucket(Bucket),
}

/// A place in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Whose protocol it speaks.
    pub provider: Provider,
    /// The bucket; for [`Provider::Files`] empty.
    pub name: String,
    /// What every key begins with, without a slash at either end; may be empty.
    pub prefix: String,
}

/// Whose protocol an object store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `s3://`: Amazon S3 and what speaks as it does.
    S3,
    /// `gs://`: Google Cloud Storage.
    Google,
    /// `file://`: a folder used as if it were an object store, such as a mount shared by several machines.
    Files,
}

impl Provider {
    /// What its URIs begin with.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Files => "file",
        }
    }
}

impl Place {
    /// Reads `s3://bucket/prefix`, `gs://bucket/prefix`, `file:///folder` or a folder's path.
    ///
    /// # Errors
    /// When it has a scheme, and is not such a URI.
    pub fn parse(text: &Path) -> Result<Self> {
        let Some((scheme, rest)) = text.to_str().and_then(|text| text.split_once("://")) else {
            return Ok(Self::Folder(text.to_owned()));
        };
        let wrong = |problem: &str| StoreError::Uri { uri: text.display().to_string(), problem: problem.to_owned() };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let provider = match scheme {
            "s3" => Provider::S3,
            "gs" => Provider::Google,
            "file" => Provider::Files,
            _ => return Err(wrong("its scheme is none of s3, gs and file")),
        };
        let (name, prefix) = rest.split_once('/').map_or((rest, None), |(name, prefix)| (name, Some(prefix)));
        match (provider, name) {
            (Provider::Files, "") if prefix.is_some() => {}
            (Provider::Files, _) => return Err(wrong("after file:// comes an absolute path, as in file:///folder")),
            (Provider::S3 | Provider::Google, _) if !bucket(name) => {
                return Err(wrong(
                    "a bucket's name has 3 to 222 lower-case letters, digits, '-', '_' and '.', and begins and ends \
                     with a letter or digit; address and credentials are settings, not part of the URI",
                ));
            }
            (Provider::S3 | Provider::Google, _) => {}
        }
        if prefix.is_some_and(|prefix| !prefix.split('/').all(segment)) {
            return Err(wrong(
                "between slashes there are letters, digits, '-', '_', '=' and '.' only, and neither '.' nor '..' alone",
            ));
        }
        let prefix = prefix.unwrap_or_default().to_owned();
        Ok(Self::Bucket(Bucket { provider, name: name.to_owned(), prefix }))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, name, prefix } = self;
        write!(f, "{}://{name}", provider.scheme())?;
        if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

fn bucket(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
    ends && (3..=222).contains(&name.len()) && name.bytes().all(|c| plain(c) || matches!(c, b'-' | b'_' | b'.'))
}

fn segment(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'=' | b'.');
    !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Place> {
        Place::parse(Path::new(text))
    }

    #[test]
    fn reads_uris_and_folders() {
        let bucket = |provider, name: &str, prefix: &str| {
            Place::Bucket(Bucket { provider, name: name.to_owned(), prefix: prefix.to_owned() })
        };
        for (text, expect) in [
            ("s3://models", bucket(Provider::S3, "models", "")),
            ("s3://models/", bucket(Provider::S3, "models", "")),
            ("s3://my.models-1/a/b_c/", bucket(Provider::S3, "my.models-1", "a/b_c")),
            ("gs://models/team=x", bucket(Provider::Google, "models", "team=x")),
            ("file:///mnt/shared", bucket(Provider::Files, "", "mnt/shared")),
            ("/store", Place::Folder("/store".into())),
            ("store:/s3", Place::Folder("store:/s3".into())),
        ] {
            assert_eq!(parse(text).unwrap(), expect, "{text}");
        }
        for text in ["s3://models", "s3://models/a/b", "gs://models/x", "file:///mnt/shared"] {
            let Place::Bucket(bucket) = parse(text).unwrap() else { panic!("{text} is a folder") };
            assert_eq!(bucket.to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else_by_name() {
        for (text, expect) in [
            ("az://container/x", "none of s3, gs and file"),
            ("S3://models", "none of s3, gs and file"),
            ("https://models.s3.amazonaws.com", "none of s3, gs and file"),
            ("s3://", "a bucket's name"),
            ("s3:///prefix", "a bucket's name"),
            ("s3://Models", "a bucket's name"),
            ("s3://-models", "a bucket's name"),
            ("s3://ab", "a bucket's name"),
            ("s3://key:secret@models", "a bucket's name"),
            ("s3://localhost:9000/models", "a bucket's name"),
            ("s3://models//a", "between slashes"),
            ("s3://models/a//", "between slashes"),
            ("s3://models/../b", "between slashes"),
            ("s3://models/a?versionId=1", "between slashes"),
            ("s3://models/a%20b", "between slashes"),
            ("s3://models/a#b", "between slashes"),
            ("file://host/folder", "an absolute path"),
            ("file://", "an absolute path"),
            ("file:///", "an absolute path"),
        ] {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.contains(expect) && told.contains(text), "{text}: {told}");
        }
    }
}
