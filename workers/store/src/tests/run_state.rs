//! A run's state survives a kill, belongs to one process, and a damaged file is refused with the way out.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{self, Command, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use recmesh_contract::{ArtifactKind, JobReport, JobState, Name, Release, Resources};

use super::{id, metric};
use crate::{Holder, RunState, StoreError};

fn report(kind: &str, name: &str, state: JobState) -> JobReport {
    JobReport {
        kind: kind.into(),
        name: Name::new(name).unwrap(),
        state,
        produced: Some(id(ArtifactKind::Dataset, name, "1")),
        metrics: vec![metric(0.1 + 0.2)],
        resources: Resources { wall_seconds: 1.5, cpu_seconds: 2.5, peak_bytes: 1 << 40 },
        message: None,
    }
}

fn release(version: &str) -> Release {
    let models = BTreeMap::from([("retrieve".to_owned(), format!("sasrec@{version}"))]);
    Release::new("home", models, "rq@1".into(), "sha256:00".into())
}

fn fill(state: &RunState) {
    state.put_report(&report("TrainingJob", "b", JobState::Running)).unwrap();
    state.put_report(&report("TrainingJob", "a", JobState::Complete)).unwrap();
    state.put_report(&report("Dataset", "b", JobState::Reused)).unwrap();
    state.put_report(&report("TrainingJob", "b", JobState::Failed)).unwrap();
    let home = Name::new("home").unwrap();
    state.put_release(&home, &release("1")).unwrap();
    state.put_release(&home, &release("2")).unwrap();
}

fn check(state: &RunState) {
    let expected = [
        report("Dataset", "b", JobState::Reused),
        report("TrainingJob", "a", JobState::Complete),
        report("TrainingJob", "b", JobState::Failed),
    ];
    assert_eq!(state.reports().unwrap(), expected);
    assert_eq!(state.releases().unwrap(), [(Name::new("home").unwrap(), release("2"))]);
}

#[test]
fn remembers_after_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let state = RunState::open(&path).unwrap();
    assert_eq!((state.reports().unwrap(), state.releases().unwrap()), (vec![], vec![]));
    fill(&state);
    drop(state);
    check(&RunState::open(&path).unwrap());
}

#[test]
fn a_digest_counts_for_one_length_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let state = RunState::open(folder.path()).unwrap();
    let [a, b] = ["/data/a.csv", "/data/b.csv"].map(Path::new);
    let time = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
    assert_eq!(state.get_digest(a, 5, time).unwrap(), None);
    state.put_digest(a, 5, time, "aa").unwrap();
    assert_eq!(state.get_digest(a, 5, time).unwrap().as_deref(), Some("aa"));
    assert_eq!(state.get_digest(b, 5, time).unwrap(), None);
    assert_eq!(state.get_digest(a, 6, time).unwrap(), None);
    assert_eq!(state.get_digest(a, 5, time + Duration::from_nanos(1)).unwrap(), None);
    state.put_digest(a, 6, time, "bb").unwrap();
    assert_eq!(state.get_digest(a, 5, time).unwrap(), None);
}

#[test]
fn one_process_at_a_time_and_others_may_ask_who() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(RunState::holder(folder.path()).unwrap(), None);
    let state = RunState::open(folder.path()).unwrap();
    let error = RunState::open(folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Held { pid: Some(pid), .. } if pid == process::id()), "{text}");
    assert!(text.starts_with(folder.path().to_str().unwrap()) && text.contains(&process::id().to_string()), "{text}");
    assert_eq!(state.address(), None);
    state.put_address("127.0.0.1:8080").unwrap();
    let holder = Holder { pid: process::id(), address: Some("127.0.0.1:8080".into()) };
    assert_eq!(RunState::holder(folder.path()).unwrap(), Some(holder));
    assert_eq!(state.address().as_deref(), Some("127.0.0.1:8080"));
    drop(state);
    assert_eq!(RunState::holder(folder.path()).unwrap(), None);
    assert_eq!(RunState::open(folder.path()).unwrap().address(), None);
}

/// Set for the process that is going to be killed.
const CHILD: &str = "RECMESH_TEST_RUN_STATE";

/// Not a test of its own: the process that `survives_a_kill` starts and kills.
#[test]
fn killed_child() {
    let Some(folder) = env::var_os(CHILD) else { return };
    let state = RunState::open(Path::new(&folder)).unwrap();
    fill(&state);
    state.put_address("127.0.0.1:1").unwrap();
    println!("\nready");
    let _ = std::io::stdin().read(&mut [0]);
    panic!("should have been killed");
}

#[test]
fn survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["tests::run_state::killed_child", "--exact", "--nocapture"])
        .env(CHILD, folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "the child failed");
    let error = RunState::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Held { pid: Some(pid), .. } if pid == child.id()), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(folder.path().join("run.json").exists(), "the killed process could not take its record along");
    assert_eq!(RunState::holder(folder.path()).unwrap(), None);
    check(&RunState::open(folder.path()).unwrap());
}

#[test]
fn a_damaged_file_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    fill(&RunState::open(folder.path()).unwrap());
    let path = folder.path().join("run.redb");
    let whole = fs::read(&path).unwrap();
    let problem = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        RunState::open(folder.path()).unwrap_err().to_string()
    };
    for error in [problem(b"garbage that is no database"), problem(&[7; 9000]), problem(&whole[..whole.len() / 2])] {
        assert!(error.contains("run.redb: ") && error.contains("remove the file"), "{error}");
    }
    let written: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    for &at in written.iter().step_by(written.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5a;
        fs::write(&path, bytes).unwrap();
        // Pages that are free may hold anything; whatever is in use is refused.
        match RunState::open(folder.path()) {
            Ok(state) => check(&state),
            Err(error) => assert!(error.to_string().contains("run.redb: "), "{error}"),
        }
    }
    let mut bytes = whole.clone();
    for at in (0..whole.len()).filter(|&at| whole[at..].starts_with(b"peakBytes")) {
        bytes[at] = b'P';
    }
    assert_ne!(bytes, whole);
    assert!(problem(&bytes).contains("corrupted"), "records in use are covered by checksums");
    assert_eq!(RunState::holder(folder.path()).unwrap(), None);
    fs::remove_file(&path).unwrap();
    assert_eq!(RunState::open(folder.path()).unwrap().reports().unwrap(), []);
}
