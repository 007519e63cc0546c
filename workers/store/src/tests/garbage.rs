//! Garbage collection removes exactly what nothing kept was made from.

use std::{collections::BTreeSet, fs};

use recmesh_contract::{ArtifactId, ArtifactKind};

use super::{commit, id};
use crate::{Garbage, Store, StoreError};

#[test]
fn keeps_inputs_of_inputs_and_removes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let data = ["1", "2"].map(|version| id(ArtifactKind::Dataset, "movies", version));
    let tokens = id(ArtifactKind::Tokenizer, "rq", "1");
    let models = ["1", "2"].map(|version| id(ArtifactKind::RetrievalModel, "lazy", version));
    for dataset in &data {
        commit(&store, dataset, &[], b"rows").unwrap();
    }
    commit(&store, &tokens, &[&data[0]], b"codes").unwrap();
    commit(&store, &models[0], &[&tokens], b"weights").unwrap();
    commit(&store, &models[1], &[&data[1]], b"weights").unwrap();
    let planned = id(ArtifactKind::RankingModel, "mmoe", "1");
    let dropped = id(ArtifactKind::RankingModel, "mmoe", "0");
    for job in [&planned, &dropped, &models[0]] {
        fs::create_dir_all(store.checkpoint_folder(job)).unwrap();
        fs::write(store.checkpoint_folder(job).join("step-1"), b"").unwrap();
    }

    let keep = BTreeSet::from([models[0].clone(), planned.clone()]);
    let garbage = store.garbage(&keep).unwrap();
    assert_eq!(garbage.artifacts, [data[1].clone(), models[1].clone()]);
    assert_eq!(garbage.checkpoints, [models[0].clone(), dropped.clone()]);
    assert!(store.contains(&data[1]) && store.checkpoint_folder(&dropped).exists(), "looking removes nothing");
    assert_eq!(store.gc(&keep).unwrap(), garbage);
    let mut left = [data[0].clone(), tokens, models[0].clone()];
    left.sort();
    assert_eq!(store.list().unwrap(), left);
    let checkpoints = [&planned, &dropped, &models[0]].map(|job| store.checkpoint_folder(job).exists());
    assert_eq!(checkpoints, [true, false, false], "only the job that is still to run keeps its checkpoints");
    assert_eq!(store.gc(&keep).unwrap(), Garbage::default());
    assert_eq!(store.gc(&BTreeSet::new()).unwrap().artifacts, left);
}

#[test]
fn an_unreadable_manifest_of_what_is_kept_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let [data, other, model] =
        [(ArtifactKind::Dataset, "a"), (ArtifactKind::Dataset, "b"), (ArtifactKind::RetrievalModel, "m")]
            .map(|(kind, name)| id(kind, name, "1"));
    commit(&store, &data, &[], b"rows").unwrap();
    commit(&store, &other, &[], b"rows").unwrap();
    let made = commit(&store, &model, &[&data], b"weights").unwrap();
    fs::write(made.path().join("manifest.json"), b"{").unwrap();
    let error = store.gc(&BTreeSet::from([model.clone()])).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(store.list().unwrap(), [data, other.clone(), model.clone()]);
    store.remove(&model).unwrap();
    store.remove(&model).unwrap();
    assert_eq!(store.gc(&BTreeSet::from([other.clone()])).unwrap().artifacts.len(), 1);
    let left: Vec<ArtifactId> = store.list().unwrap();
    assert_eq!(left, [other]);
}
