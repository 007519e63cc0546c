//! Training that is stopped on its way (killed, asked to stop, out of disk) and then goes on to the same bytes.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Stdio},
    sync::OnceLock,
};

use super::{
    manifests::LONG,
    program::{Desk, signal},
};

/// Blocks a file may have while the disk is "full": more than the run's records, less than a checkpoint.
const FULL: &str = "ulimit -c 0; ulimit -f 1000";

/// A training that has written a checkpoint and is far from its end.
fn training(desk: &Desk) -> (Child, BufReader<ChildStderr>) {
    let mut child = desk
        .command(&["train", "-f", "manifest.yaml", "--threads", "1", "--log", "recmesh=debug", "--log-format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"done\":7") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "it ended before its seventh step");
    }
    (child, err)
}

/// The store of a run that nothing stopped.
fn uninterrupted() -> &'static BTreeMap<String, Vec<u8>> {
    static MADE: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    MADE.get_or_init(|| {
        let desk = Desk::new(LONG);
        desk.train(&["--threads", "1"]).good();
        desk.artifacts()
    })
}

#[track_caller]
fn goes_on(desk: &Desk) {
    let told = desk.train(&["--threads", "1"]).good();
    assert!(told.err.contains("Dataset/world"), "{}", told.err);
    assert!(desk.artifacts() == *uninterrupted(), "a run that was stopped ends with the same bytes");
    assert_eq!(desk.hidden(".checkpoints"), Vec::<String>::new());
    assert_eq!(desk.hidden(".drafts"), Vec::<String>::new());
}

#[test]
fn killed_training_goes_on_to_the_same_bytes() {
    let desk = Desk::new(LONG);
    let (mut child, _) = training(&desk);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed on its way");
    assert!(desk.artifacts().keys().all(|path| path.starts_with("datasets/")), "no half model");
    let checkpoints = desk.hidden(".checkpoints");
    assert!(checkpoints.iter().any(|path| path.ends_with("/checkpoint.json")), "{checkpoints:?}");
    assert!(desk.run(&["gc"]).good().out.starts_with("0 "), "the checkpoint is still of use");
    assert_eq!(desk.hidden(".checkpoints"), checkpoints);
    goes_on(&desk);
}

#[test]
fn training_that_is_asked_to_stop_keeps_its_last_step() {
    for name in ["TERM", "INT"] {
        let desk = Desk::new(LONG);
        let (mut child, mut err) = training(&desk);
        signal(&child, name);
        let mut said = String::new();
        err.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains("TrainingJob/train-model: stopped after step "), "{last}");
        assert!(last.contains("checkpoint keeps") && last.contains("same command goes on"), "{last}");
        let step = last.split("step ").nth(1).unwrap().split(',').next().unwrap();
        let checkpoints = desk.hidden(".checkpoints");
        assert!(
            checkpoints.iter().any(|path| path.ends_with(&format!("/state-{step}.safetensors"))),
            "{checkpoints:?}"
        );
        let told = desk.run(&["get"]).good().out;
        assert!(told.contains("Failed") && told.contains("TrainingJob/train-model failed: stopped after"), "{told}");
        for dry in [&["gc", "--dry-run"][..], &["gc"]] {
            let told = desk.run(dry).good().out;
            assert!(told.starts_with("0 "), "the checkpoint is still of use: {told}");
        }
        assert_eq!(desk.hidden(".checkpoints"), checkpoints);
        if name == "TERM" {
            goes_on(&desk);
        }
    }
}

#[test]
fn a_full_disk_is_named_with_the_file_and_the_next_run_goes_on() {
    let desk = Desk::new(LONG);
    let told = desk.shell(&format!("trap '' XFSZ; {FULL}; exec $RECMESH train -f manifest.yaml --threads 1"));
    told.refused(1, &["TrainingJob/train-model", "cannot write the checkpoint", "/state-5.safetensors", "disk"]);
    goes_on(&desk);
}

#[test]
fn death_within_a_write_leaves_nothing_that_misleads() {
    let desk = Desk::new(LONG);
    let told = desk.shell(&format!("{FULL}; $RECMESH train -f manifest.yaml --threads 1; echo ended $?"));
    let code: i32 = told.out.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(code > 128, "the system ended it within a write: {told:#?}");
    goes_on(&desk);
}
