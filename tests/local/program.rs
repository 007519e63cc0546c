//! Runs the program in a folder of its own. In: a manifest, arguments. Out: what it said and left.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use crate::told::Told;
use tempfile::TempDir;

/// The manifest's name in every folder.
const MANIFEST: &str = "manifest.yaml";

/// A folder with a manifest; the state folder comes to lie in it.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    /// A fresh folder with a manifest.
    pub fn new(manifest: &str) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        desk.write(MANIFEST, manifest);
        desk
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The program with arguments, in the folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recmesh"));
        command.args(words).current_dir(self.folder.path()).env_remove("RECMESH_LOG");
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, words: &[&str]) -> Told {
        self.command(words).output().unwrap().into()
    }

    /// Runs a subcommand over the folder's manifest.
    pub fn with_manifest(&self, subcommand: &str, more: &[&str]) -> Told {
        self.run(&[&[subcommand, "-f", MANIFEST], more].concat())
    }

    /// `recmesh train` over the folder's manifest.
    pub fn train(&self, more: &[&str]) -> Told {
        self.with_manifest("train", more)
    }

    /// Runs a shell line; `$RECMESH` is the program.
    pub fn shell(&self, line: &str) -> Told {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("RECMESH", env!("CARGO_BIN_EXE_recmesh")).env_remove("RECMESH_LOG");
        command.current_dir(self.folder.path()).output().unwrap().into()
    }

    /// Every file of every finished artifact by its path below the store.
    pub fn artifacts(&self) -> BTreeMap<String, Vec<u8>> {
        let store = self.path(".recmesh/artifacts");
        let mut files = BTreeMap::new();
        collect(&store, &store, &mut files);
        files
    }

    /// The path of the only artifact file whose path below the store begins and ends like this.
    pub fn artifact(&self, begin: &str, end: &str) -> PathBuf {
        let all = self.artifacts();
        let fits: Vec<_> = all.keys().filter(|path| path.starts_with(begin) && path.ends_with(end)).collect();
        assert_eq!(fits.len(), 1, "{begin}…{end}: {fits:?}");
        self.path(".recmesh/artifacts").join(fits[0])
    }

    /// Names of the files below a folder of the store that begins with a dot, locks left out.
    pub fn hidden(&self, folder: &str) -> Vec<String> {
        let folder = self.path(".recmesh/artifacts").join(folder);
        let mut files = BTreeMap::new();
        collect(&folder, &folder, &mut files);
        files.into_keys().filter(|name| !name.ends_with("lock")).collect()
    }
}

/// Files below `folder` by their path below `root`; names with a leading dot are passed over.
fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Sends a signal by name.
pub fn signal(child: &Child, name: &str) {
    let line = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
}
