//! Requests: the manifest, files in both directions, lists, removal.
//!
//! In: an artifact's id and a local folder. Out: a folder whose every digest was checked while it was written, or objects
//! with the manifest last. Large files travel in pieces, several at a time, so that no request takes long and each can
//! be tried again by itself.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, WriteMultipart, path::Path as Key};
use recmesh_contract::{ArtifactId, ArtifactKind, Name, Version};

use super::told;
use crate::{
    ArtifactFlaw, Bucket, FileEntry, Manifest, Provider, Result, StoreError, digest::Sha256Pieces, manifest::MANIFEST,
};

/// Bytes of a piece; object stores want at least 5 MiB.
const PIECE: u64 = 8 << 20;
/// Pieces of a file at most; S3 allows 10 000.
const PIECES: u64 = 9_000;
/// Pieces on their way at once.
const AT_ONCE: usize = 4;

/// What requests need.
pub struct Room {
    pub store: Arc<dyn ObjectStore>,
    pub bucket: Bucket,
    /// Whether credentials were given: what to look at first when they are refused.
    pub credentials: bool,
}

impl Room {
    /// The place, as people write it.
    pub fn at(&self) -> PathBuf {
        PathBuf::from(self.bucket.to_string())
    }

    /// Where an artifact is or would be, as people write it.
    pub fn folder(&self, id: &ArtifactId) -> PathBuf {
        self.at().join(id.kind.folder()).join(id.name.as_str()).join(id.version.as_str())
    }

    /// The manifest of an artifact, or `None` when it is not there.
    pub async fn manifest(&self, id: &ArtifactId) -> Result<Option<Manifest>> {
        let file = self.folder(id).join(MANIFEST);
        // Read whole and not only looked for: the answer to a look does not say that the bucket is missing.
        let bytes = match self.store.get(&self.key(id, MANIFEST)).await {
            Err(error) if told::absent(&error) => return Ok(None),
            Err(error) => return Err(self.told(&file, "read", error)),
            Ok(found) => found.bytes().await.map_err(|error| self.told(&file, "read", error))?,
        };
        Manifest::parse(&bytes, id).map(Some).map_err(|flaw| StoreError::damaged(&file, flaw))
    }

    /// Every artifact that has a manifest.
    pub async fn list(&self) -> Result<Vec<ArtifactId>> {
        let prefix = self.prefix();
        let under = (!self.prefix_text().is_empty()).then_some(&prefix);
        let mut objects = self.store.list(under);
        let mut ids = Vec::new();
        while let Some(object) = objects.try_next().await.map_err(|error| self.told(&self.at(), "list", error))? {
            let Some(parts) = object.location.prefix_match(&prefix) else { continue };
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            ids.extend(artifact(&parts));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Writes an artifact into a folder, the manifest last.
    pub async fn fetch(&self, id: &ArtifactId, folder: &Path) -> Result<()> {
        let Some(manifest) = self.manifest(id).await? else {
            return Err(StoreError::Absent { id: Box::new(id.clone()), path: self.folder(id) });
        };
        for file in &manifest.files {
            self.fetch_file(id, file, &folder.join(&file.name)).await?;
        }
        Ok(recmesh_sections::write_atomic(&folder.join(MANIFEST), &manifest.bytes())?)
    }

    async fn fetch_file(&self, id: &ArtifactId, entry: &FileEntry, to: &Path) -> Result<()> {
        let (from, key) = (self.folder(id).join(&entry.name), self.key(id, &entry.name));
        let found = match self.store.head(&key).await {
            Err(error) if told::absent(&error) => return Err(StoreError::damaged(&from, ArtifactFlaw::Missing)),
            found => found.map_err(|error| self.told(&from, "read", error))?.size,
        };
        if found != entry.size {
            return Err(StoreError::damaged(&from, ArtifactFlaw::Size { found, expected: entry.size }));
        }
        let ranges = (0..entry.size).step_by(PIECE as usize).map(|start| start..entry.size.min(start + PIECE));
        let mut pieces = stream::iter(ranges).map(|range| self.store.get_range(&key, range)).buffered(AT_ONCE);
        let mut file = File::create_new(to).map_err(StoreError::io(to, "create"))?;
        let mut hash = Sha256Pieces::default();
        while let Some(piece) = pieces.try_next().await.map_err(|error| self.told(&from, "read", error))? {
            hash.take(&piece);
            file.write_all(&piece).map_err(StoreError::io(to, "write"))?;
        }
        if hash.end() != entry.sha256 {
            return Err(StoreError::damaged(&from, ArtifactFlaw::Digest));
        }
        file.sync_all().map_err(StoreError::io(to, "sync"))
    }

    /// Sends a sealed draft, the manifest last and only where there is none, and gives the manifest that is there then.
    pub async fn send(&self, id: &ArtifactId, folder: &Path, manifest: Manifest) -> Result<Manifest> {
        if let Some(there) = self.manifest(id).await? {
            return Ok(there);
        }
        for file in &manifest.files {
            self.send_file(id, file, &folder.join(&file.name)).await?;
        }
        let (to, key) = (self.folder(id).join(MANIFEST), self.key(id, MANIFEST));
        let put = |mode: PutMode| self.store.put_opts(&key, PutPayload::from(manifest.bytes()), mode.into());
        let sent = match put(PutMode::Create).await {
            // A store without conditional requests; that there was no manifest was seen above.
            Err(object_store::Error::NotImplemented { .. }) => put(PutMode::Overwrite).await,
            other => other,
        };
        match sent {
            Ok(_) => Ok(manifest),
            // Somebody was faster, or the answer to our own first try was lost.
            Err(object_store::Error::AlreadyExists { .. }) => Ok(self.manifest(id).await?.unwrap_or(manifest)),
            Err(error) => Err(self.told(&to, "write", error)),
        }
    }

    async fn send_file(&self, id: &ArtifactId, entry: &FileEntry, from: &Path) -> Result<()> {
        let (to, key) = (self.folder(id).join(&entry.name), self.key(id, &entry.name));
        let wrote = |error| self.told(&to, "write", error);
        let mut file = File::open(from).map_err(StoreError::io(from, "open"))?;
        if entry.size <= PIECE {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(StoreError::io(from, "read"))?;
            return self.store.put(&key, bytes.into()).await.map(drop).map_err(wrote);
        }
        let piece = usize::try_from(PIECE.max(entry.size.div_ceil(PIECES))).unwrap_or(usize::MAX);
        let begun = self.store.put_multipart(&key).await.map_err(wrote)?;
        let mut upload = WriteMultipart::new_with_chunk_size(begun, piece);
        let mut bytes = vec![0; piece];
        let problem = loop {
            match file.read(&mut bytes) {
                Ok(0) => return upload.finish().await.map(drop).map_err(wrote),
                Ok(read) => upload.write(&bytes[..read]),
                Err(error) => break StoreError::io(from, "read")(error),
            }
            if let Err(error) = upload.wait_for_capacity(AT_ONCE).await {
                break wrote(error);
            }
        };
        // Pieces that lie around cost money; that they could not be removed is not what went wrong.
        let _ = upload.abort().await;
        Err(problem)
    }

    /// Removes an artifact, the manifest first.
    pub async fn remove(&self, id: &ArtifactId) -> Result<()> {
        let folder = self.folder(id);
        match self.store.delete(&self.key(id, MANIFEST)).await {
            Err(error) if !told::absent(&error) => return Err(self.told(&folder.join(MANIFEST), "remove", error)),
            _ => {}
        }
        let under = self.artifact_key(id);
        let keys = self.store.list(Some(&under)).map_ok(|object| object.location).boxed();
        let gone =
            self.store.delete_stream(keys).filter(|gone| std::future::ready(!gone.as_ref().is_err_and(told::absent)));
        gone.try_for_each(|_| std::future::ready(Ok(()))).await.map_err(|error| self.told(&folder, "remove", error))
    }

    fn prefix_text(&self) -> &str {
        // A folder is the store's root already.
        if self.bucket.provider == Provider::Files { "" } else { &self.bucket.prefix }
    }

    fn prefix(&self) -> Key {
        Key::from(self.prefix_text())
    }

    fn artifact_key(&self, id: &ArtifactId) -> Key {
        self.prefix().join(id.kind.folder()).join(id.name.as_str()).join(id.version.as_str())
    }

    fn key(&self, id: &ArtifactId, file: &str) -> Key {
        self.artifact_key(id).join(file)
    }

    fn told(&self, at: &Path, verb: &'static str, error: object_store::Error) -> StoreError {
        told::told(&self.bucket, self.credentials, at, verb, &error)
    }
}

/// The artifact whose manifest has this key; other objects are not the store's, or not whole.
fn artifact(parts: &[String]) -> Option<ArtifactId> {
    let [kind, name, version, file] = parts else { return None };
    let kind = ArtifactKind::ALL.into_iter().find(|known| known.folder() == kind && file == MANIFEST)?;
    Some(ArtifactId { kind, name: Name::new(name.clone()).ok()?, version: Version::parse(version)? })
}
