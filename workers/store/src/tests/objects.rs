//! Artifacts in an object store: what is sent comes back elsewhere with the same digests, what is damaged is refused by
//! name, and what was not sent whole is not there. Each test runs over memory and over a folder.

use std::{fs, path::Path, sync::Arc, thread};

use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem, memory::InMemory, path::Path as Key,
};
use recmesh_contract::ArtifactKind;
use tempfile::TempDir;

use super::*;
use crate::{ArtifactFlaw, Bucket, Place, Provider, StoreError, objects::Objects, remote::Remote};

/// An object store and folders for caches.
struct World {
    folder: TempDir,
    objects: Arc<dyn ObjectStore>,
    bucket: Bucket,
}

impl World {
    fn all() -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        let memory = Bucket { provider: Provider::S3, name: "models".to_owned(), prefix: "team/a".to_owned() };
        let place = folder.path().join("objects");
        fs::create_dir(&place).unwrap();
        let files = Bucket {
            provider: Provider::Files,
            name: String::new(),
            prefix: place.to_str().unwrap().trim_start_matches('/').to_owned(),
        };
        let local = LocalFileSystem::new_with_prefix(&place).unwrap();
        [
            Self { folder: tempfile::tempdir().unwrap(), objects: Arc::new(InMemory::new()), bucket: memory },
            Self { folder, objects: Arc::new(local), bucket: files },
        ]
    }

    fn remote(&self) -> Arc<Objects> {
        Arc::new(Objects::over(Arc::clone(&self.objects), self.bucket.clone(), true).unwrap())
    }

    /// A machine with a cache of this name.
    fn machine(&self, cache: &str) -> Store {
        Store::open(&self.folder.path().join(cache)).unwrap().in_front_of(self.remote())
    }

    fn key(&self, id: &ArtifactId, file: &str) -> Key {
        let prefix = if self.bucket.provider == Provider::Files { "" } else { "team/a" };
        Key::from(prefix).join(id.kind.folder()).join(id.name.as_str()).join(id.version.as_str()).join(file)
    }

    fn at(&self, id: &ArtifactId, file: &str) -> String {
        format!("{}/{}/{}/{}/{file}", self.bucket, id.kind.folder(), id.name, id.version)
    }

    fn put(&self, id: &ArtifactId, file: &str, bytes: Vec<u8>) {
        let (objects, key) = (Arc::clone(&self.objects), self.key(id, file));
        wait(async move { objects.put(&key, PutPayload::from(bytes)).await.unwrap() });
    }

    fn delete(&self, id: &ArtifactId, file: &str) {
        let (objects, key) = (Arc::clone(&self.objects), self.key(id, file));
        wait(async move { objects.delete(&key).await.unwrap() });
    }

    fn has(&self, id: &ArtifactId, file: &str) -> bool {
        let (objects, key) = (Arc::clone(&self.objects), self.key(id, file));
        wait(async move { objects.head(&key).await.is_ok() })
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn model() -> ArtifactId {
    id(ArtifactKind::RetrievalModel, "m", "1")
}

/// Names and contents of a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

/// Drafts and their locks; nothing but the one lock file stays.
fn drafts(store: &Store) -> usize {
    fs::read_dir(store.root().join(".drafts"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name() != "lock")
        .count()
}

#[test]
fn what_one_machine_commits_another_opens_as_a_local_store_would() {
    for world in World::all() {
        let (here, there) = (world.machine("here"), world.machine("there"));
        let local = Store::open(&world.folder.path().join("local")).unwrap();
        // Several pieces, the last one shorter.
        let bytes: Vec<u8> = (0..20_000_000u32).map(|byte| (byte % 251) as u8).collect();
        assert!(!here.contains(&model()) && here.list().unwrap().is_empty());
        let sent = commit(&here, &model(), &[], &bytes).unwrap();
        let kept = commit(&local, &model(), &[], &bytes).unwrap();
        assert_eq!(sent.manifest(), kept.manifest());
        assert!(there.contains(&model()) && !there.path(&model()).exists());
        assert_eq!(there.list().unwrap(), [model()]);
        let fetched = there.open_artifact(&model()).unwrap();
        assert_eq!(fetched.manifest(), kept.manifest());
        assert_eq!(fetched.metrics(), kept.metrics());
        assert_eq!(fetched.path(), there.path(&model()));
        assert_eq!(contents(fetched.path()), contents(kept.path()));
        assert_eq!((drafts(&here), drafts(&there)), (0, 0));
    }
}

#[test]
fn what_is_cached_is_opened_without_asking() {
    for world in World::all() {
        let (here, there) = (world.machine("here"), world.machine("there"));
        commit(&here, &model(), &[], b"weights").unwrap();
        there.open_artifact(&model()).unwrap();
        world.delete(&model(), "model.safetensors");
        there.open_artifact(&model()).unwrap();
        assert!(here.contains(&model()));
    }
}

#[test]
fn what_is_damaged_is_refused_by_name_and_leaves_nothing() {
    for world in World::all() {
        let here = world.machine("here");
        let there = world.machine("there");
        let file = "model.safetensors";
        let refused = |expect: ArtifactFlaw, file: &str| {
            let error = there.open_artifact(&model()).unwrap_err();
            match error {
                StoreError::Damaged { path, flaw } => {
                    assert_eq!((path.to_str().unwrap(), flaw), (world.at(&model(), file).as_str(), expect));
                }
                other => panic!("{other}"),
            }
            assert!(!there.path(&model()).exists());
            assert_eq!(drafts(&there), 0);
        };
        commit(&here, &model(), &[], b"weights").unwrap();
        world.put(&model(), file, b"WEIGHTS".to_vec());
        refused(ArtifactFlaw::Digest, file);
        world.put(&model(), file, b"weigh".to_vec());
        refused(ArtifactFlaw::Size { found: 5, expected: 7 }, file);
        world.delete(&model(), file);
        refused(ArtifactFlaw::Missing, file);
        world.put(&model(), file, b"weights".to_vec());
        there.open_artifact(&model()).unwrap();

        let manifest = String::from_utf8(fs::read(there.path(&model()).join("manifest.json")).unwrap()).unwrap();
        there.remove(&model()).unwrap();
        world.put(&model(), "manifest.json", manifest.replace("\"size\": 7", "\"size\": 8").into_bytes());
        refused(ArtifactFlaw::Digest, "manifest.json");
        // Making it again could not replace it, which is said before the work and not after.
        assert!(there.contains(&model()));
        assert!(matches!(there.draft(&model()), Err(StoreError::Damaged { .. })));
    }
}

#[test]
fn without_its_manifest_an_artifact_is_absent() {
    for world in World::all() {
        let (here, there) = (world.machine("here"), world.machine("there"));
        let error = there.open_artifact(&model()).unwrap_err();
        assert!(matches!(error, StoreError::Absent { .. }), "{error}");
        assert!(error.to_string().contains(world.at(&model(), "").trim_end_matches('/')), "{error}");
        commit(&here, &model(), &[], b"weights").unwrap();
        world.delete(&model(), "manifest.json");
        assert!(!there.contains(&model()) && there.list().unwrap().is_empty());
        assert!(matches!(there.open_artifact(&model()), Err(StoreError::Absent { .. })));
        // Whoever has it in a cache sends it again by committing it.
        commit(&here, &model(), &[], b"weights").unwrap();
        there.open_artifact(&model()).unwrap();
    }
}

#[test]
fn many_fetch_at_once() {
    for world in World::all() {
        commit(&world.machine("here"), &model(), &[], &vec![7; 100_000]).unwrap();
        let shared = world.machine("shared");
        let machines: Vec<Store> =
            (0..4).map(|_| shared.clone()).chain((0..4).map(|_| world.machine("shared"))).collect();
        thread::scope(|scope| {
            let opened: Vec<_> =
                machines.iter().map(|machine| scope.spawn(|| machine.open_artifact(&model()))).collect();
            for one in opened {
                assert_eq!(one.join().unwrap().unwrap().manifest().files.len(), 4);
            }
        });
        assert_eq!(drafts(&shared), 0);
    }
}

#[test]
fn what_was_not_sent_whole_is_not_there() {
    let [_, world] = World::all();
    let (here, there) = (world.machine("here"), world.machine("there"));
    // A folder where the object would be: files before it are sent, this one cannot be.
    let obstacle = world.folder.path().join("objects").join(world.key(&model(), "model.safetensors").as_ref());
    fs::create_dir_all(obstacle.join("x")).unwrap();
    let error = commit(&here, &model(), &[], b"weights").unwrap_err().to_string();
    assert!(error.starts_with(&world.at(&model(), "model.safetensors: cannot write: ")), "{error}");
    assert!(world.has(&model(), "config.json"), "it failed midway");
    assert!(!here.contains(&model()) && !there.contains(&model()) && there.list().unwrap().is_empty());
    assert!(!here.path(&model()).exists() && drafts(&here) == 0);
    fs::remove_dir_all(&obstacle).unwrap();
    commit(&here, &model(), &[], b"weights").unwrap();
    assert_eq!(fs::read(there.open_artifact(&model()).unwrap().path().join("model.safetensors")).unwrap(), b"weights");
}

#[test]
fn a_version_never_changes() {
    for world in World::all() {
        let (here, there) = (world.machine("here"), world.machine("there"));
        let first = commit(&here, &model(), &[], b"weights").unwrap();
        let again = commit(&there, &model(), &[], b"weights").unwrap();
        assert_eq!(again.manifest(), first.manifest());
        match commit(&there, &model(), &[], b"others").unwrap_err() {
            StoreError::Differs { path, part } => {
                assert_eq!(
                    (path.join("").to_str().unwrap(), part.as_str()),
                    (world.at(&model(), "").as_str(), "model.safetensors")
                );
            }
            other => panic!("{other}"),
        }
        // Two that both saw no manifest: the first one stays.
        let folder = tempfile::tempdir().unwrap();
        let other = commit(&Store::open(folder.path()).unwrap(), &model(), &[], b"others").unwrap();
        assert_eq!(world.remote().send(&model(), other.path(), other.manifest()).unwrap(), *first.manifest());
        assert_eq!(
            fs::read(world.machine("third").open_artifact(&model()).unwrap().path().join("model.safetensors")).unwrap(),
            b"weights"
        );
    }
}

#[test]
fn a_damaged_cache_is_fetched_anew() {
    for world in World::all() {
        let here = world.machine("here");
        let path = commit(&here, &model(), &[], b"weights").unwrap().path().join("model.safetensors");
        fs::write(&path, b"WEIGHTS").unwrap();
        here.open_artifact(&model()).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"weights");
        assert_eq!(drafts(&here), 0);
    }
}

#[test]
fn removal_and_garbage_reach_the_object_store() {
    for world in World::all() {
        let here = world.machine("here");
        let (data, old) = (id(ArtifactKind::Dataset, "d", "1"), id(ArtifactKind::RetrievalModel, "m", "0"));
        commit(&here, &data, &[], b"rows").unwrap();
        commit(&here, &old, &[&data], b"old").unwrap();
        commit(&here, &model(), &[&data], b"weights").unwrap();
        fs::create_dir_all(here.checkpoint_folder(&model())).unwrap();
        let there = world.machine("there");
        assert_eq!(there.gc(&[model()].into()).unwrap().artifacts, std::slice::from_ref(&old));
        assert_eq!(there.list().unwrap(), [data.clone(), model()]);
        assert!(["manifest.json", "model.safetensors", "config.json"].iter().all(|file| !world.has(&old, file)));
        here.remove(&data).unwrap();
        here.remove(&data).unwrap();
        assert!(!here.contains(&data) && !here.path(&data).exists());
        assert!(here.checkpoint_folder(&model()).starts_with(here.root()), "checkpoints stay local");
    }
}

#[test]
fn other_objects_are_passed_over() {
    let [world, _] = World::all();
    commit(&world.machine("here"), &model(), &[], b"weights").unwrap();
    let objects = Arc::clone(&world.objects);
    wait(async {
        for key in ["team/a/manifest.json", "team/ab/datasets/d/1/manifest.json", "team/a/datasets/D/1/manifest.json"] {
            objects.put(&Key::from(key), PutPayload::from_static(b"{}")).await.unwrap();
        }
    });
    assert_eq!(world.machine("there").list().unwrap(), [model()]);
}

#[test]
fn works_inside_another_runtime() {
    let [world, _] = World::all();
    wait(async {
        let here = world.machine("here");
        commit(&here, &model(), &[], b"weights").unwrap();
        drop(here);
    });
}

#[test]
fn a_folder_is_opened_by_its_uri() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("file://{}/objects", folder.path().display());
    let Place::Bucket(bucket) = Place::parse(Path::new(&uri)).unwrap() else { panic!("{uri}") };
    let machine = |cache: &str| Store::open_bucket(&bucket, [], &folder.path().join(cache)).unwrap();
    commit(&machine("here"), &model(), &[], b"weights").unwrap();
    assert_eq!(machine("there").open_artifact(&model()).unwrap().id(), &model());
    assert!(
        folder.path().join("objects/retrieval-models/m").is_dir(),
        "{:?}",
        fs::read_dir(folder.path().join("objects"))
    );
}

#[test]
fn settings_that_contradict_themselves_are_refused_without_their_values() {
    let Place::Bucket(bucket) = Place::parse(Path::new("s3://models/a")).unwrap() else { panic!() };
    let folder = tempfile::tempdir().unwrap();
    let half = [("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned()), ("PATH".to_owned(), "/bin".to_owned())];
    let error = Store::open_bucket(&bucket, half, folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("s3://models/a: cannot connect: ") && error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}
