//! An artifact in the making: a temporary folder that becomes a version by one rename.
//!
//! In: files written into [`Draft::path`], then the lineage. Out: the version, durable; in front of an object store it is
//! there before it is here. A draft that is dropped goes away; one whose process was killed has lost its lock and goes
//! away when the store is next opened.

use std::{
    fs::{self, File, TryLockError},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use recmesh_contract::ArtifactId;
use recmesh_sections::sync_folder;
use serde::Serialize;

use crate::{
    Artifact, FileEntry, Lineage, Manifest, Result, StoreError,
    artifact::read_manifest,
    digest::sha256_file,
    manifest::{CONFIG, MANIFEST, METRICS, plain},
    remote::Remote,
};

/// Folder of drafts and of what is being removed, in the store's root so that a rename is enough.
const DRAFTS: &str = ".drafts";
/// Held while drafts are made or swept, so that none is swept between its making and its locking.
const LOCK: &str = "lock";

/// An artifact in the making.
#[derive(Debug)]
pub struct Draft {
    root: PathBuf,
    id: ArtifactId,
    folder: PathBuf,
    lock: PathBuf,
    target: PathBuf,
    remote: Option<Arc<dyn Remote>>,
    /// Locked as long as this process works on the draft.
    _locked: File,
}

impl Draft {
    pub(crate) fn new(root: &Path, id: &ArtifactId, target: PathBuf, remote: Option<Arc<dyn Remote>>) -> Result<Self> {
        // Said before the work is done: what stands there could not be replaced by it. An empty folder could.
        if let Some(remote) = &remote {
            remote.manifest(id)?;
        } else if fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some()) {
            read_manifest(&target, id)?;
        }
        Self::begin(root, id, target, remote)
    }

    /// A draft of what is fetched: it gets the files of an artifact as they are, and ends with [`Draft::keep`].
    pub(crate) fn of_cache(root: &Path, id: &ArtifactId, target: PathBuf) -> Result<Self> {
        Self::begin(root, id, target, None)
    }

    fn begin(root: &Path, id: &ArtifactId, target: PathBuf, remote: Option<Arc<dyn Remote>>) -> Result<Self> {
        let drafts = root.join(DRAFTS);
        fs::create_dir_all(&drafts).map_err(StoreError::io(&drafts, "create"))?;
        let _all = lock_all(&drafts)?;
        let folder = drafts.join(fresh_name(id));
        let lock = lock_path(&folder);
        let locked = File::create_new(&lock).map_err(StoreError::io(&lock, "create"))?;
        locked.lock().map_err(StoreError::io(&lock, "lock"))?;
        fs::create_dir(&folder).map_err(StoreError::io(&folder, "create"))?;
        Ok(Self { root: root.to_owned(), id: id.clone(), folder, lock, target, remote, _locked: locked })
    }

    /// The folder to write files into: plain files, other names than `config.json`, `metrics.json`, `manifest.json`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes parameters, results and manifest, makes everything durable and puts the version in its place. When the
    /// same version with the same contents is there already, that one is checked and given back.
    ///
    /// # Errors
    /// When the draft holds anything but plain files, a metric is not finite, the version is there with other
    /// contents, or the operating system or the object store refuses; the store is then as it was.
    pub fn commit(self, lineage: Lineage) -> Result<Artifact> {
        if let Some(metric) = lineage.metrics.iter().find(|metric| !metric.value.is_finite()) {
            let (id, name) = (Box::new(self.id.clone()), metric.name.clone());
            return Err(StoreError::NotFinite { id, name, value: metric.value });
        }
        for name in [CONFIG, METRICS, MANIFEST] {
            let path = self.folder.join(name);
            if path.exists() {
                return Err(StoreError::NotPlain { path, what: "a file that committing writes" });
            }
        }
        write_json(&self.folder.join(CONFIG), &lineage.config)?;
        write_json(&self.folder.join(METRICS), &lineage.metrics)?;
        let manifest = Manifest::seal(&self.id, self.files()?, &lineage);
        recmesh_sections::write_atomic(&self.folder.join(MANIFEST), &manifest.bytes())?;

        if let Some(remote) = &self.remote {
            let there = remote.send(&self.id, &self.folder, &manifest)?;
            if let Some(part) = manifest.difference(&there) {
                return Err(StoreError::Differs { path: remote.path(&self.id), part });
            }
            // Another version of the code made the same before.
            recmesh_sections::write_atomic(&self.folder.join(MANIFEST), &there.bytes())?;
            let cached = read_manifest(&self.target, &self.id);
            if !cached.is_ok_and(|cached| manifest.difference(&cached).is_none()) {
                // The cache counts for nothing beside what was just sent.
                discard(&self.root, &self.target, &self.id)?;
            }
        }
        if !self.rename()? {
            let there = read_manifest(&self.target, &self.id)?;
            if let Some(part) = manifest.difference(&there) {
                return Err(StoreError::Differs { path: self.target.clone(), part });
            }
        }
        Artifact::open(self.target.clone(), &self.id)
    }

    /// Puts a folder that is an artifact already in its place, unless somebody was faster.
    pub(crate) fn keep(self) -> Result<()> {
        self.rename().map(drop)
    }

    /// Puts the folder in its place, durably; false when something stands there.
    fn rename(&self) -> Result<bool> {
        let parent = self.target.parent().unwrap_or(&self.target);
        fs::create_dir_all(parent).map_err(StoreError::io(parent, "create"))?;
        let renamed = match fs::rename(&self.folder, &self.target) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => false,
            Err(error) => return Err(StoreError::io(&self.target, "rename into place")(error)),
        };
        // The version's name, and the names of the folders above it that may be new.
        for folder in self.target.ancestors().skip(1).take(3) {
            sync_folder(folder)?;
        }
        Ok(renamed)
    }

    /// Every file with its digest, by name, each made durable.
    fn files(&self) -> Result<Vec<FileEntry>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(StoreError::io(&self.folder, "list"))? {
            let entry = entry.map_err(StoreError::io(&self.folder, "list"))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(StoreError::io(&path, "stat"))?;
            let what = match entry.file_name().into_string() {
                _ if kind.is_dir() => "a folder",
                _ if !kind.is_file() => "a link or device",
                Ok(name) if plain(&name) => {
                    File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::io(&path, "sync"))?;
                    let (size, sha256) = sha256_file(&path)?;
                    files.push(FileEntry { name, size, sha256 });
                    continue;
                }
                _ => "a name other than letters, digits, '.', '-' and '_'",
            };
            return Err(StoreError::NotPlain { path, what });
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a commit the folder is gone. Whatever cannot be removed now is swept when the store is next opened.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.lock);
    }
}

/// Removes drafts whose process is gone, and what was being removed when its process was killed. A store that cannot
/// be written is left as it is.
pub fn sweep(root: &Path) -> Result<()> {
    let drafts = root.join(DRAFTS);
    if !drafts.is_dir() {
        return Ok(());
    }
    let _all = match lock_all(&drafts) {
        Err(StoreError::Io { source, .. }) if read_only(&source) => return Ok(()),
        other => other?,
    };
    for entry in fs::read_dir(&drafts).map_err(StoreError::io(&drafts, "list"))? {
        let path = entry.map_err(StoreError::io(&drafts, "list"))?.path();
        let is_lock = path.extension().is_some_and(|extension| extension == LOCK);
        if path.file_name().is_some_and(|name| name == LOCK) {
            continue;
        }
        let (folder, lock) = if is_lock { (path.with_extension(""), path) } else { (path.clone(), lock_path(&path)) };
        if !held(&lock)? {
            remove_folder(&folder)?;
            forgive_absence(fs::remove_file(&lock)).map_err(StoreError::io(&lock, "remove"))?;
        }
    }
    Ok(())
}

/// Takes a folder out of the store in one step and then deletes it.
pub fn discard(root: &Path, folder: &Path, id: &ArtifactId) -> Result<()> {
    let drafts = root.join(DRAFTS);
    fs::create_dir_all(&drafts).map_err(StoreError::io(&drafts, "create"))?;
    let _all = lock_all(&drafts)?;
    let away = drafts.join(fresh_name(id));
    match fs::rename(folder, &away) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io(folder, "remove")(error)),
        Ok(()) => remove_folder(&away),
    }
}

fn lock_all(drafts: &Path) -> Result<File> {
    let path = drafts.join(LOCK);
    let file = File::options().create(true).append(true).open(&path).map_err(StoreError::io(&path, "open"))?;
    file.lock().map_err(StoreError::io(&path, "lock"))?;
    Ok(file)
}

/// Whether a living process holds the lock file; no lock file, no holder.
fn held(lock: &Path) -> Result<bool> {
    let file = match File::open(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other.map_err(StoreError::io(lock, "open"))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(StoreError::io(lock, "lock")(error)),
    }
}

fn fresh_name(id: &ArtifactId) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // Process ids repeat between containers that share a store; a random number hardly does. It names only a folder
    // that goes away, never anything in an artifact.
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{}-{}-{}-{count}-{random:016x}", id.kind.folder(), id.name, id.version, process::id())
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.with_extension(LOCK)
}

fn remove_folder(folder: &Path) -> Result<()> {
    forgive_absence(fs::remove_dir_all(folder)).map_err(StoreError::io(folder, "remove"))
}

fn forgive_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(value).map_err(io::Error::other).map_err(StoreError::io(path, "write"))?;
    Ok(recmesh_sections::write_atomic(path, &[&bytes, b"\n".as_slice()].concat())?)
}
