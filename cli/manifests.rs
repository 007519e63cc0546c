//! Manifests from files to what they mean, or every problem they have.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use recmesh_plan::Valid;

use crate::{
    args::{Manifests, Place},
    console::{self, Refused},
};

/// Manifests that passed every check, and where they stood.
pub struct Checked {
    /// What they mean.
    pub valid: Valid,
    /// The folder of the first manifest: where data sets lie unless `--data` says otherwise.
    pub folder: PathBuf,
}

/// Reads and checks manifests; prints every problem and refuses when there is one.
///
/// # Errors
/// When a file cannot be read, or [`Refused`].
pub fn read(manifests: &Manifests) -> Result<Checked> {
    let mut files = Vec::new();
    for path in &manifests.files {
        files.push((path.display().to_string(), text(path)?));
    }
    let checked = recmesh_crds::parse(&files).and_then(recmesh_plan::validate);
    match checked {
        Ok(valid) => {
            let parent = manifests.files.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
            Ok(Checked { valid, folder: parent.to_owned() })
        }
        Err(problems) => {
            for problem in &problems {
                console::warn(&problem.to_string());
            }
            Err(Refused(problems.len()).into())
        }
    }
}

/// Where each data set's files lie.
///
/// # Errors
/// When `--data` names a data set that the manifests do not have.
pub fn folders(checked: &Checked, place: &Place) -> Result<BTreeMap<String, PathBuf>> {
    let known: Vec<String> = checked.valid.datasets.keys().map(ToString::to_string).collect();
    let mut folders: BTreeMap<String, PathBuf> =
        known.iter().map(|name| (name.clone(), checked.folder.clone())).collect();
    for (name, path) in &place.data {
        anyhow::ensure!(
            folders.contains_key(name),
            "--data {name}=…: the manifests have no Dataset {name}; they have {}",
            known.join(", ")
        );
        anyhow::ensure!(path.exists(), "--data {name}={}: there is no such file or folder", path.display());
        folders.insert(name.clone(), path.clone());
    }
    Ok(folders)
}

fn text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("cannot read manifests from standard input")?;
    } else {
        bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))
}
