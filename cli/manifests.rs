//! Manifests from files to what they mean, or every problem they have.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Result;
use recmesh_crds::{Located, ManifestError, Resource};
use recmesh_plan::Valid;

use crate::{
    args::{Manifests, Place},
    console::{self, Refused, Wrong},
};

/// Manifests that passed every check, and where they stood.
pub struct Checked {
    /// What they mean.
    pub valid: Valid,
    /// The folder of the first manifest: where data sets lie unless `--data` says otherwise.
    pub folder: PathBuf,
    /// Jobs that may not run now, as their manifests say.
    waiting: Vec<ManifestError>,
}

/// Reads and checks manifests; prints every problem and refuses when there is one.
///
/// # Errors
/// [`Wrong`] when a file cannot be read, or [`Refused`].
pub fn read(manifests: &Manifests) -> Result<Checked> {
    let mut files = Vec::new();
    for path in &manifests.files {
        files.push((path.display().to_string(), text(path)?));
    }
    let mut waiting = Vec::new();
    let checked = recmesh_crds::parse(&files).and_then(|resources| {
        waiting.extend(resources.iter().filter_map(suspended));
        recmesh_plan::validate(resources)
    });
    let valid = checked.or_else(refuse)?;
    let parent = manifests.files.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
    Ok(Checked { valid, folder: parent.to_owned(), waiting })
}

/// Refuses manifests with a job that may not run now: everything is made or nothing is.
///
/// # Errors
/// [`Refused`] when there is one.
pub fn runnable(checked: &Checked) -> Result<()> {
    if checked.waiting.is_empty() { Ok(()) } else { refuse(checked.waiting.clone()) }
}

fn suspended(at: &Located) -> Option<ManifestError> {
    let Resource::TrainingJob(job) = &at.resource else { return None };
    job.spec.suspend.then(|| at.error("/spec/suspend", "the job is suspended: remove this field to train here"))
}

/// Prints every problem.
fn refuse<T>(problems: Vec<ManifestError>) -> Result<T> {
    for problem in &problems {
        console::warn(&problem.to_string());
    }
    Err(Refused(problems.len()).into())
}

/// Where each data set's files lie.
///
/// # Errors
/// [`Wrong`] when `--data` names a data set that the manifests do not have, names one twice, or nothing lies there.
pub fn folders(checked: &Checked, place: &Place) -> Result<BTreeMap<String, PathBuf>> {
    let known: Vec<String> = checked.valid.datasets.keys().map(ToString::to_string).collect();
    let mut folders: BTreeMap<String, PathBuf> =
        known.iter().map(|name| (name.clone(), checked.folder.clone())).collect();
    for (name, path) in &place.data {
        let wrong = |what: String| Err(Wrong(format!("--data {name}={}: {what}", path.display())).into());
        if !folders.contains_key(name) {
            return wrong(format!("the manifests have no Dataset {name}; they have {}", known.join(", ")));
        }
        if place.data.iter().filter(|(other, _)| other == name).count() > 1 {
            return wrong(format!("Dataset {name} is given more than once"));
        }
        if !path.exists() {
            return wrong("there is no such file or folder".to_owned());
        }
        folders.insert(name.clone(), path.clone());
    }
    Ok(folders)
}

fn text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map_err(|error| Wrong(format!("cannot read manifests from standard input: {error}")))?;
    } else {
        bytes = fs::read(path).map_err(|error| Wrong(format!("cannot read {}: {error}", path.display())))?;
    }
    Ok(String::from_utf8(bytes).map_err(|_| Wrong(format!("{} is not UTF-8 text", path.display())))?)
}
