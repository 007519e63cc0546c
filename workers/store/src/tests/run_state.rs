//! A run's state survives a kill, belongs to one process, and a damaged file is refused with the way out.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{self, Command, Stdio},
};

use recmesh_contract::{ArtifactKind, JobReport, JobState, Name, Release, Resources};

use super::{id, metric};
use crate::{Records, RunState, StoreError, holder::Holder};

fn report(kind: &str, name: &str, state: JobState) -> JobReport {
    JobReport {
        kind: kind.into(),
        name: Name::new(name).unwrap(),
        state,
        produced: Some(id(ArtifactKind::Dataset, name, "1")),
        metrics: vec![metric(0.1 + 0.2)],
        omitted: 0,
        digest: None,
        progress: None,
        quantization: None,
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
    for version in ["1", "2"] {
        state.put_releases(&BTreeMap::from([(Name::new("home").unwrap(), release(version))])).unwrap();
    }
}

fn check(state: &RunState) {
    let expected = [
        report("Dataset", "b", JobState::Reused),
        report("TrainingJob", "a", JobState::Complete),
        report("TrainingJob", "b", JobState::Failed),
    ];
    assert_eq!(state.reports().unwrap(), expected);
    assert_eq!(state.releases().unwrap(), BTreeMap::from([(Name::new("home").unwrap(), release("2"))]));
}

#[test]
fn remembers_after_it_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let state = RunState::open(&path).unwrap();
    assert_eq!((state.reports().unwrap(), state.releases().unwrap()), (vec![], BTreeMap::new()));
    fill(&state);
    drop(state);
    check(&RunState::open(&path).unwrap());
}

#[test]
fn records_are_read_while_the_state_is_held_and_after() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Records::read(folder.path()).unwrap(), Records::default());
    let state = RunState::open(folder.path()).unwrap();
    fill(&state);
    let told = Records::read(folder.path()).unwrap();
    assert_eq!(told, Records { reports: state.reports().unwrap(), releases: state.releases().unwrap() });
    assert_eq!((told.reports.len(), told.releases.len()), (3, 1));

    let other = BTreeMap::from([(Name::new("away").unwrap(), release("3"))]);
    state.put_releases(&other).unwrap();
    assert_eq!(state.releases().unwrap(), other, "a pipeline that is not told serves no longer");
    assert_eq!(Records::read(folder.path()).unwrap().releases, other);
    drop(state);
    fs::remove_file(folder.path().join("records.json")).unwrap();
    drop(RunState::open(folder.path()).unwrap());
    assert_eq!(Records::read(folder.path()).unwrap().releases, other, "opening makes up for a kill");
    fs::write(folder.path().join("records.json"), "{").unwrap();
    assert!(Records::read(folder.path()).unwrap_err().to_string().contains("records.json: "));
}

#[test]
fn a_job_runs_only_while_somebody_holds_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = RunState::open(folder.path()).unwrap();
    state.put_report(&report("Dataset", "a", JobState::Complete)).unwrap();
    state.put_report(&report("TrainingJob", "b", JobState::Running)).unwrap();
    let states = || -> Vec<JobState> {
        Records::read(folder.path()).unwrap().reports.iter().map(|report| report.state).collect()
    };
    assert_eq!(states(), [JobState::Complete, JobState::Running]);
    drop(state);
    assert_eq!(states(), [JobState::Complete, JobState::Failed]);
    let message = Records::read(folder.path()).unwrap().reports.remove(1).message.unwrap();
    assert!(message.contains("start it again"), "{message}");
}

#[test]
fn one_process_at_a_time_and_others_may_ask_who() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Holder::read(folder.path()).unwrap(), None);
    let state = RunState::open(folder.path()).unwrap();
    let error = RunState::open(folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Held { pid: Some(pid), .. } if pid == process::id()), "{text}");
    assert!(text.starts_with(folder.path().to_str().unwrap()) && text.contains(&process::id().to_string()), "{text}");
    let holder = Holder { pid: process::id() };
    assert_eq!(Holder::read(folder.path()).unwrap(), Some(holder));
    drop(state);
    assert_eq!(Holder::read(folder.path()).unwrap(), None);
    RunState::open(folder.path()).unwrap();
}

/// Set for the process that is going to be killed.
const CHILD: &str = "RECMESH_TEST_RUN_STATE";

/// Not a test of its own: the process that `survives_a_kill` starts and kills.
#[test]
fn killed_child() {
    let Some(folder) = env::var_os(CHILD) else { return };
    let state = RunState::open(Path::new(&folder)).unwrap();
    fill(&state);
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
    assert_eq!(Holder::read(folder.path()).unwrap(), None);
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
    assert_eq!(Holder::read(folder.path()).unwrap(), None);
    fs::remove_file(&path).unwrap();
    assert_eq!(RunState::open(folder.path()).unwrap().reports().unwrap(), []);
}
