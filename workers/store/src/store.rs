//! The folder of artifacts: `<root>/<kind>/<name>/<version>/`. In: artifact ids. Out: drafts and checked artifacts.
//!
//! Several processes may use one store: versions appear by rename and never change. A store that cannot be written,
//! such as a read-only mount, can still be opened and read. In front of an object store the folder is a cache: what is
//! there is also beyond, so that it is opened without asking; everything else is asked beyond.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use recmesh_contract::{ArtifactId, ArtifactKind, Name, Version};

use crate::{
    Artifact, Bucket, Draft, Garbage, Manifest, Result, StoreError, artifact::read_manifest, draft, gc,
    manifest::MANIFEST, remote::Remote,
};

/// Checkpoints of running jobs, by artifact.
const CHECKPOINTS: &str = ".checkpoints";

/// A folder of artifacts; clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// Where checkpoints are kept, when not in the root.
    checkpoints: Option<PathBuf>,
    /// Where artifacts are kept, when the root is a cache.
    remote: Option<Arc<dyn Remote>>,
}

impl Store {
    /// Opens the store at `root`, makes the folder if needed, and removes drafts whose process is gone.
    ///
    /// # Errors
    /// When the folder cannot be made or is no folder.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(StoreError::io(root, "create"))?;
        let root = fs::canonicalize(root).map_err(StoreError::io(root, "open"))?;
        draft::sweep(&root)?;
        Ok(Self { root, checkpoints: None, remote: None })
    }

    /// Opens the store at `root` to read it: makes and removes nothing.
    ///
    /// # Errors
    /// When `root` is not there or is no folder.
    pub fn open_existing(root: &Path) -> Result<Self> {
        let found = fs::canonicalize(root).map_err(StoreError::io(root, "open"))?;
        fs::read_dir(&found).map_err(StoreError::io(root, "list"))?;
        Ok(Self { root: found, checkpoints: None, remote: None })
    }

    /// Opens the store in `bucket` with the folder `cache` in front of it, which keeps what is fetched and all
    /// checkpoints. `settings` are credentials and addresses, by the names of environment variables; unknown ones are
    /// passed over. The bucket is not asked yet.
    ///
    /// # Errors
    /// When the program was built without object stores, settings are wrong, or the cache cannot be made.
    pub fn open_bucket(
        bucket: &Bucket,
        settings: impl IntoIterator<Item = (String, String)>,
        cache: &Path,
    ) -> Result<Self> {
        #[cfg(feature = "object-store")]
        return Ok(Self::open(cache)?.in_front_of(Arc::new(crate::objects::Objects::open(bucket, settings)?)));
        #[cfg(not(feature = "object-store"))]
        {
            let _ = (settings, cache);
            Err(StoreError::NoObjectStores { uri: bucket.to_string() })
        }
    }

    #[cfg(feature = "object-store")]
    pub(crate) fn in_front_of(self, remote: Arc<dyn Remote>) -> Self {
        Self { remote: Some(remote), ..self }
    }

    /// The same store, with checkpoints in a folder of their own: on a disk of the node, say.
    ///
    /// # Errors
    /// When the folder cannot be made or is no folder.
    pub fn with_checkpoints(self, folder: &Path) -> Result<Self> {
        let Self { root: checkpoints, .. } = Self::open(folder)?;
        Ok(Self { checkpoints: Some(checkpoints), ..self })
    }

    /// The store's folder, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an artifact is or would be.
    #[must_use]
    pub fn path(&self, id: &ArtifactId) -> PathBuf {
        folder_of(&self.root, id)
    }

    /// Whether the artifact was committed; says nothing of its digests. An object store that cannot be asked counts as
    /// one without it: drafting it asks again and says what is wrong.
    #[must_use]
    pub fn contains(&self, id: &ArtifactId) -> bool {
        match &self.remote {
            None => self.path(id).join(MANIFEST).is_file(),
            Some(remote) => !matches!(remote.manifest(id), Ok(None) | Err(StoreError::Io { .. })),
        }
    }

    /// The manifest of an artifact, or `None` when it is not there.
    pub(crate) fn manifest(&self, id: &ArtifactId) -> Result<Option<Manifest>> {
        match &self.remote {
            Some(remote) => remote.manifest(id),
            None if self.contains(id) => read_manifest(&self.path(id), id).map(Some),
            None => Ok(None),
        }
    }

    /// Every committed artifact, by kind, name and version.
    ///
    /// # Errors
    /// When a folder or the object store cannot be listed.
    pub fn list(&self) -> Result<Vec<ArtifactId>> {
        if let Some(remote) = &self.remote {
            return remote.list();
        }
        let mut ids = versions(&self.root)?;
        ids.retain(|id| self.contains(id));
        Ok(ids)
    }

    /// Starts an artifact.
    ///
    /// # Errors
    /// When the store cannot be written, or the object store cannot be asked; [`StoreError::Damaged`] when the version is
    /// there and has no sound manifest, because committing could not replace it.
    pub fn draft(&self, id: &ArtifactId) -> Result<Draft> {
        Draft::new(&self.root, id, self.path(id), self.remote.clone())
    }

    /// Opens an artifact after checking the digest of every file. What is only in the object store is fetched first, and
    /// so is what was damaged in the cache.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when it is not there; [`StoreError::Damaged`], naming the file and the reason, when it
    /// is not exactly what its manifest says; and when it cannot be fetched.
    pub fn open_artifact(&self, id: &ArtifactId) -> Result<Artifact> {
        let (found, remote) = match (Artifact::open(self.path(id), id), &self.remote) {
            (Err(found @ (StoreError::Absent { .. } | StoreError::Damaged { .. })), Some(remote)) => (found, remote),
            (opened, _) => return opened,
        };
        if matches!(found, StoreError::Damaged { .. }) {
            draft::discard(&self.root, &self.path(id), id)?;
        }
        let draft = Draft::of_cache(&self.root, id, self.path(id))?;
        remote.fetch(id, draft.path())?;
        draft.keep()?;
        Artifact::open(self.path(id), id)
    }

    /// Removes an artifact, whole or damaged, in one step; nothing happens when it is not there. Its checkpoints stay.
    /// Caches of other machines keep it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remove(&self, id: &ArtifactId) -> Result<()> {
        if let Some(remote) = &self.remote {
            remote.remove(id)?;
        }
        draft::discard(&self.root, &self.path(id), id)
    }

    /// Every artifact that is neither in `keep` nor, over any number of steps, an input of one that is; also the
    /// checkpoints of artifacts that are committed or not kept. An artifact that is still to be made may be in `keep`.
    ///
    /// # Errors
    /// When the manifest of a kept artifact, or a folder, cannot be read.
    pub fn garbage(&self, keep: &BTreeSet<ArtifactId>) -> Result<Garbage> {
        gc::find(self, keep)
    }

    /// Removes what [`Store::garbage`] finds, and gives it back.
    ///
    /// # Errors
    /// The same, with nothing removed; or when the store cannot be written.
    pub fn gc(&self, keep: &BTreeSet<ArtifactId>) -> Result<Garbage> {
        let garbage = self.garbage(keep)?;
        gc::remove(self, &garbage)?;
        Ok(garbage)
    }

    /// The folder for the checkpoints of the job that makes `id`; not made by this.
    #[must_use]
    pub fn checkpoint_folder(&self, id: &ArtifactId) -> PathBuf {
        folder_of(&self.checkpoint_root(), id)
    }

    /// Every artifact that has a checkpoint folder.
    pub(crate) fn checkpoints(&self) -> Result<Vec<ArtifactId>> {
        versions(&self.checkpoint_root())
    }

    /// Removes the checkpoints of an artifact; nothing happens when there are none.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remove_checkpoints(&self, id: &ArtifactId) -> Result<()> {
        // Discarding is a rename, so it happens on the checkpoints' own disk.
        draft::discard(self.checkpoints.as_ref().unwrap_or(&self.root), &self.checkpoint_folder(id), id)
    }

    fn checkpoint_root(&self) -> PathBuf {
        self.checkpoints.clone().unwrap_or_else(|| self.root.join(CHECKPOINTS))
    }
}

fn folder_of(root: &Path, id: &ArtifactId) -> PathBuf {
    root.join(id.kind.folder()).join(id.name.as_str()).join(id.version.as_str())
}

/// Every `<kind>/<name>/<version>` folder; entries with other names are not the store's and are passed over.
fn versions(root: &Path) -> Result<Vec<ArtifactId>> {
    let mut ids = Vec::new();
    for kind in ArtifactKind::ALL {
        let of_kind = root.join(kind.folder());
        for name in entries(&of_kind)? {
            let versions = of_kind.join(&name);
            let Ok(name) = Name::new(name) else { continue };
            let found = entries(&versions)?;
            let found = found.iter().filter_map(|version| Version::parse(version));
            ids.extend(found.map(|version| ArtifactId { kind, name: name.clone(), version }));
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

fn entries(folder: &Path) -> Result<Vec<String>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        other => other.map_err(StoreError::io(folder, "list"))?,
    };
    let mut names = Vec::new();
    for entry in listed {
        let name = entry.map_err(StoreError::io(folder, "list"))?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}
