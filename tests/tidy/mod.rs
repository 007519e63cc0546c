//! Rules of the tree: who imports whom, what a source file looks like, which words stay in their room.

use std::{
    fs,
    path::{Path, PathBuf},
};

mod arrows;
mod files;
mod modules;
mod rooms;

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Folders of every crate but the root's, relative to it.
const CRATES: [&str; 17] = [
    "crds",
    "gateway",
    "operator",
    "operator/plan",
    "workers/catalog",
    "workers/contract",
    "workers/data",
    "workers/evaluation",
    "workers/jobs",
    "workers/kernels",
    "workers/learning",
    "workers/models",
    "workers/pool",
    "workers/sections",
    "workers/store",
    "workers/telemetry",
    "workers/wire",
];

/// Every `.rs` file below a folder, sorted.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && !name.to_string_lossy().starts_with('.')) {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
