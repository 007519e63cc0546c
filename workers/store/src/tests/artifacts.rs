//! Drafts become versions whole; versions never change; every change on disk is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use recmesh_contract::{ArtifactId, ArtifactKind};

use super::{commit, id, lineage, metric};
use crate::{Lineage, Store, StoreError, write_atomic};

fn model() -> ArtifactId {
    id(ArtifactKind::RetrievalModel, "sasrec", "1")
}

fn store(folder: &Path) -> Store {
    Store::open(&folder.join("store")).unwrap()
}

/// What is in the folder of drafts, apart from its lock.
fn drafts(store: &Store) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.root().join(".drafts")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap() != "lock").collect()
}

#[test]
fn a_commit_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = (store(folder.path()), model());
    assert!(!store.contains(&id));
    let made = commit(&store, &id, &[], b"weights").unwrap();
    assert!(store.contains(&id));
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&id));
    assert_eq!(drafts(&store), [] as [PathBuf; 0]);

    let opened = store.open_artifact(&id).unwrap();
    assert_eq!((opened.id(), opened.path()), (&id, store.path(&id).as_path()));
    assert!(opened.path().ends_with(format!("retrieval-models/sasrec/{}", id.version)));
    assert_eq!(opened.manifest(), made.manifest());
    assert_eq!(opened.metrics(), [metric(0.125)]);
    assert_eq!(opened.config()["width"], 64);
    let names: Vec<_> = opened.manifest().files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["config.json", "empty.bin", "metrics.json", "model.safetensors"]);
    let weights = &opened.manifest().files[3];
    assert_eq!(weights.size, 7);
    assert_eq!(weights.sha256, "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c");
    assert_eq!(opened.manifest().seed, Some(7));
    let json = fs::read_to_string(opened.path().join("manifest.json")).unwrap();
    for part in ["\"formatVersion\": 1", "\"dataDigest\": \"sha256:00\"", "\"kind\": \"retrievalModel\"", "codeVersion"]
    {
        assert!(json.contains(part), "{json}");
    }
}

#[test]
fn the_same_work_makes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let made = ["a", "b"].map(|name| {
        let store = Store::open(&folder.path().join(name)).unwrap();
        let artifact = commit(&store, &model(), &[], b"weights").unwrap();
        fs::read(artifact.path().join("manifest.json")).unwrap()
    });
    assert_eq!(made[0], made[1]);
}

#[test]
fn an_equal_commit_changes_nothing_and_a_differing_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = (store(folder.path()), model());
    let first = commit(&store, &id, &[], b"weights").unwrap();
    let again = commit(&store, &id, &[], b"weights").unwrap();
    assert_eq!(first.manifest(), again.manifest());

    let error = commit(&store, &id, &[], b"other").unwrap_err();
    assert!(matches!(&error, StoreError::Differs { part, .. } if part == "model.safetensors"), "{error}");
    assert!(error.to_string().contains(id.version.as_str()), "{error}");
    let error = commit(&store, &id, &[&super::id(ArtifactKind::Dataset, "d", "1")], b"weights").unwrap_err();
    assert!(error.to_string().contains("another list of inputs"), "{error}");
    assert_eq!(fs::read(first.path().join("model.safetensors")).unwrap(), b"weights");
    assert_eq!(drafts(&store), [] as [PathBuf; 0]);
}

/// Hours of work must not end at a folder that nobody can replace.
#[test]
fn a_version_without_its_manifest_is_refused_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = (store(folder.path()), model());
    let made = commit(&store, &id, &[], b"weights").unwrap();
    fs::remove_file(made.path().join("manifest.json")).unwrap();
    assert!(!store.contains(&id));
    let error = store.draft(&id).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("manifest.json: file is missing; remove the folder"), "{error}");
    assert_eq!(drafts(&store), [] as [PathBuf; 0]);
    store.remove(&id).unwrap();
    fs::create_dir_all(store.path(&id)).unwrap();
    commit(&store, &id, &[], b"weights").unwrap();
}

#[test]
fn a_draft_holds_plain_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let refused = |fill: &dyn Fn(&Path), part: &str| {
        let draft = store.draft(&model()).unwrap();
        fill(draft.path());
        let error = draft.commit(Lineage::default()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(
        &|path| fs::create_dir(path.join("nested")).unwrap(),
        "nested: an artifact holds plain files only, not a folder",
    );
    refused(&|path| std::os::unix::fs::symlink("/etc/hosts", path.join("link")).unwrap(), "link: an artifact holds");
    refused(&|path| fs::write(path.join(".hidden"), b"").unwrap(), "a name other than letters");
    refused(&|path| fs::write(path.join("a b"), b"").unwrap(), "a name other than letters");
    refused(&|path| fs::write(path.join("manifest.json"), b"").unwrap(), "a file that committing writes");
    let draft = store.draft(&model()).unwrap();
    let error = draft.commit(Lineage { metrics: vec![metric(f64::NAN)], ..lineage(&[]) }).unwrap_err().to_string();
    assert!(error.contains("metric ndcg@10 of artifact retrieval-models/sasrec/"), "{error}");
    assert!(store.list().unwrap().is_empty() && drafts(&store).is_empty());
}

#[test]
fn damage_is_refused_with_file_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = model();
    let error = store.open_artifact(&id).unwrap_err();
    assert!(matches!(error, StoreError::Absent { .. }), "{error}");
    let damaged = |change: &dyn Fn(&Path), file: &str, reason: &str| {
        store.remove(&id).unwrap();
        let artifact = commit(&store, &id, &[], b"weights").unwrap();
        change(artifact.path());
        let error = store.open_artifact(&id).unwrap_err().to_string();
        assert!(error.contains(&format!("{}/{file}: ", id.version)) && error.contains(reason), "{error}");
        assert!(error.contains("remove the folder"), "{error}");
    };
    let weights = "model.safetensors";
    damaged(&|path| fs::remove_file(path.join(weights)).unwrap(), weights, "file is missing");
    damaged(&|path| fs::write(path.join(weights), b"weight").unwrap(), weights, "has 6 bytes, the manifest says 7");
    damaged(&|path| fs::write(path.join(weights), b"weighty").unwrap(), weights, "SHA-256 differs");
    damaged(&|path| fs::write(path.join("more.bin"), b"").unwrap(), "more.bin", "file is not in the manifest");
    damaged(&|path| fs::create_dir(path.join("more")).unwrap(), "more", "file is not in the manifest");
    damaged(&|path| fs::remove_file(path.join("manifest.json")).unwrap(), "manifest.json", "file is missing");
    damaged(&|path| fs::write(path.join("metrics.json"), b"[]").unwrap(), "metrics.json", "the manifest says");
    let link = |path: &Path| {
        fs::rename(path.join(weights), folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), path.join(weights)).unwrap();
    };
    damaged(&link, weights, "is no plain file");
    let edit = |from: &'static str, to: &'static str| {
        move |path: &Path| {
            let file = path.join("manifest.json");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(&file, text.replacen(from, to, 1)).unwrap();
        }
    };
    damaged(&edit("\"formatVersion\": 1", "\"formatVersion\": 2"), "manifest.json", "format version 2 is not readable");
    damaged(&edit("\"seed\": 7", "\"seed\": 8"), "manifest.json", "SHA-256 differs");
    damaged(&edit("\"seed\": 7", "\"seed\": 7, \"x\": 1"), "manifest.json", "unknown field `x`");
    damaged(&edit("}", ""), "manifest.json", "manifest is unreadable");
}

#[test]
fn every_changed_byte_and_every_truncation_of_a_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = (store(folder.path()), model());
    let path = commit(&store, &id, &[], b"weights").unwrap().path().join("manifest.json");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        // White space between words may change: JSON says the same with it, and the seal is over what it says.
        let same = serde_json::from_slice::<serde_json::Value>(&changed).ok() == serde_json::from_slice(&whole).ok();
        assert_eq!(store.open_artifact(&id).is_ok(), same, "byte {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(store.open_artifact(&id).is_ok(), at == whole.len() - 1, "{at} bytes");
    }
}

#[test]
fn a_version_moved_to_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = (store(folder.path()), model());
    commit(&store, &id, &[], b"weights").unwrap();
    let other = super::id(ArtifactKind::RetrievalModel, "sasrec", "2");
    fs::rename(store.path(&id), store.path(&other)).unwrap();
    let error = store.open_artifact(&other).unwrap_err().to_string();
    assert!(error.contains(&format!("manifest is that of {id}")), "{error}");
}

#[test]
fn leftovers_of_killed_processes_go_and_living_drafts_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let living = store.draft(&model()).unwrap();
    fs::write(living.path().join("model.safetensors"), b"half").unwrap();
    let dead = store.root().join(".drafts/datasets-d-000000000000-1-0");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("rows.bin"), b"half").unwrap();
    fs::write(dead.with_extension("lock"), b"").unwrap();
    fs::create_dir(store.root().join(".drafts/being-removed")).unwrap();
    fs::write(store.root().join(".drafts/alone.lock"), b"").unwrap();

    let again = Store::open(store.root()).unwrap();
    let mut expected = [living.path().to_owned(), living.path().with_extension("lock")];
    let mut found = drafts(&again);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    living.commit(lineage(&[])).unwrap();
    drop(store.draft(&model()).unwrap());
    assert_eq!(drafts(&again), [] as [PathBuf; 0]);
}

#[test]
fn what_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Store::open(&file.join("store")).unwrap_err().to_string();
    assert!(error.contains("file/store: cannot create"), "{error}");
    let error = write_atomic(&file.join("x.json"), b"x").unwrap_err().to_string();
    assert!(error.contains("file/x.json: cannot create"), "{error}");
    let store = store(folder.path());
    fs::write(store.root().join("retrieval-models"), b"in the way").unwrap();
    let error = commit(&store, &model(), &[], b"weights").unwrap_err().to_string();
    assert!(error.contains("retrieval-models/sasrec: cannot create"), "{error}");
}

#[test]
fn a_read_only_store_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (store, id) = (store(folder.path()), model());
    commit(&store, &id, &[], b"weights").unwrap();
    let allow = |mode| {
        for path in [store.root().to_owned(), store.root().join(".drafts"), store.root().join(".drafts/lock")] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    allow(0o555);
    let refused = store.draft(&id).map(drop);
    let read = Store::open(store.root()).and_then(|store| store.open_artifact(&id));
    allow(0o755);
    read.unwrap();
    match refused {
        Ok(()) => println!("not checked: this user may write to read-only folders"),
        Err(error) => assert!(error.to_string().contains(".drafts"), "{error}"),
    }
}
