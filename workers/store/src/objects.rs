//! Artifacts in an object store: `<prefix>/<kind>/<name>/<version>/<file>`, one object a file.
//!
//! ```text
//! draft ─► files ─► manifest.json, only where there is none      manifest.json ─► files, digests checked ─► draft
//! ```
//!
//! An artifact is there when its `manifest.json` is: it is sent last and removed first. Callers block; requests run on
//! threads of this module's own, so that it can be used from inside another runtime and outside of any.

mod connect;
mod told;
mod transfer;

use std::{
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use object_store::ObjectStore;
use recmesh_contract::ArtifactId;
use tokio::runtime::{Builder, Runtime};

use self::transfer::Room;
use crate::{Bucket, Manifest, Result, StoreError, remote::Remote};

/// Threads for requests, which mostly wait.
const THREADS: usize = 2;

/// A place in an object store.
pub struct Objects {
    room: Arc<Room>,
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Objects {
    /// Connects to `bucket` as `settings` say; asks nothing of it yet.
    pub fn open(bucket: &Bucket, settings: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let (store, credentials) = connect::connect(bucket, settings)?;
        Self::over(store, bucket.clone(), credentials)
    }

    /// The same over a store that is connected already. `credentials`: whether some were given.
    pub fn over(store: Arc<dyn ObjectStore>, bucket: Bucket, credentials: bool) -> Result<Self> {
        let at = PathBuf::from(bucket.to_string());
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("objects").enable_all().build();
        let runtime = Some(runtime.map_err(StoreError::io(&at, "start threads for"))?);
        Ok(Self { room: Arc::new(Room { store, bucket, credentials }), runtime })
    }

    /// Does it on this module's threads and waits for it.
    fn wait<T, F>(&self, work: impl FnOnce(Arc<Room>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (tell, told) = mpsc::sync_channel(1);
        let work = work(Arc::clone(&self.room));
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Somebody listens for as long as the caller's thread lives.
                let _ = tell.send(work.await);
            });
        }
        let lost = |_| StoreError::io(&self.room.at(), "use")(io::Error::other("the request ended without an answer"));
        told.recv().map_err(lost)?
    }
}

impl Remote for Objects {
    fn path(&self, id: &ArtifactId) -> PathBuf {
        self.room.folder(id)
    }

    fn manifest(&self, id: &ArtifactId) -> Result<Option<Manifest>> {
        let id = id.clone();
        self.wait(|room| async move { room.manifest(&id).await })
    }

    fn list(&self) -> Result<Vec<ArtifactId>> {
        self.wait(|room| async move { room.list().await })
    }

    fn fetch(&self, id: &ArtifactId, folder: &Path) -> Result<()> {
        let (id, folder) = (id.clone(), folder.to_owned());
        self.wait(|room| async move { room.fetch(&id, &folder).await })
    }

    fn send(&self, id: &ArtifactId, folder: &Path, manifest: &Manifest) -> Result<Manifest> {
        let (id, folder, manifest) = (id.clone(), folder.to_owned(), manifest.clone());
        self.wait(|room| async move { room.send(&id, &folder, manifest).await })
    }

    fn remove(&self, id: &ArtifactId) -> Result<()> {
        let id = id.clone();
        self.wait(|room| async move { room.remove(&id).await })
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the store itself, which holds credentials.
        f.debug_tuple("Objects").field(&self.room.bucket).finish()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Waiting for threads is not allowed everywhere, and nobody waits for a request any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
