//! Damaged artifacts: refused by name, never used and never replaced unasked; `--retrain` makes them anew.

use std::fs;

use super::{manifests::WHOLE, program::Desk};

/// Damages a file of a finished store, and asserts that the program names it and the way out, and that this works.
fn check(begin: &str, end: &str, name: &str, damage: impl Fn(&mut Vec<u8>)) {
    let desk = Desk::new(WHOLE);
    desk.train(&[]).good();
    let sound = desk.artifacts();
    let path = desk.artifact(begin, end);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();

    let file = path.file_name().unwrap().to_str().unwrap();
    for (subcommand, more) in [("train", &[][..]), ("up", &["--listen", "127.0.0.1:0"])] {
        desk.with_manifest(subcommand, more).refused(1, &[file, &format!("--retrain {name}")]);
    }
    assert_ne!(desk.artifacts(), sound, "a refusal repairs nothing");
    let told = desk.train(&["--retrain", name]).good();
    let made: Vec<&str> = told.err.lines().filter(|line| line.contains(" done in ")).collect();
    assert_eq!(made.len(), 1, "one artifact is made anew: {}", told.err);
    assert!(desk.artifacts() == sound, "with the same bytes");
}

#[test]
fn a_flipped_bit_of_a_model_is_found() {
    check("retrieval-models/retriever/", "/model.safetensors", "retriever", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

#[test]
fn a_truncated_catalog_is_found() {
    check("tokenizers/ids/", "/catalog.bin", "ids", |bytes| bytes.truncate(bytes.len() - 1));
}

#[test]
fn an_emptied_data_set_is_found() {
    check("datasets/world/", "/dataset.safetensors", "world", Vec::clear);
}

#[test]
fn an_unreadable_manifest_is_found() {
    check("ranking-models/ranker/", "/manifest.json", "ranker", |bytes| bytes[0] = b'}');
}

#[test]
fn retraining_needs_no_damage_and_knows_the_job_by_either_name() {
    let desk = Desk::new(WHOLE);
    desk.train(&[]).good();
    let sound = desk.artifacts();
    for name in ["retriever", "train-retriever"] {
        let told = desk.train(&["--retrain", name]).good();
        let line = told.err.lines().find(|line| line.starts_with("TrainingJob/train-retriever")).unwrap();
        assert!(line.contains(" done in "), "{}", told.err);
        assert!(desk.artifacts() == sound);
    }
    desk.train(&["--retrain", "nobody"]).refused(2, &["--retrain nobody", "train-retriever"]);
}

#[test]
fn a_damaged_checkpoint_is_named_and_retraining_starts_from_nothing() {
    let desk = Desk::new(WHOLE);
    desk.train(&[]).good();
    let sound = desk.artifacts();
    assert_eq!(desk.hidden(".checkpoints"), Vec::<String>::new(), "a finished job keeps no checkpoints");
    let version = desk.artifact("retrieval-models/retriever/", "/model.json");
    let version = version.parent().unwrap().strip_prefix(desk.path(".recmesh/artifacts")).unwrap().to_owned();
    fs::remove_dir_all(desk.path(".recmesh/artifacts").join(&version)).unwrap();
    let checkpoints = desk.path(".recmesh/artifacts/.checkpoints").join(version);
    fs::create_dir_all(&checkpoints).unwrap();
    fs::write(checkpoints.join("checkpoint.json"), "{").unwrap();
    desk.train(&[]).refused(1, &["checkpoint.json", "damaged", "--retrain retriever"]);
    desk.train(&["--retrain", "retriever"]).good();
    assert!(desk.artifacts() == sound);
}
