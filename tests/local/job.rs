//! `recmesh job`: one job a process, its report, its last word and its exit codes.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use recmesh_contract::{
    ArtifactId, ArtifactKind, JobReport, JobState,
    config::{JobConfig, JobWork},
};
use recmesh_plan::{JobKey, Valid};

use super::{
    manifests::{LONG, WHOLE, counted_over},
    process::{Process, get},
    program::Desk,
};
use crate::told::Told;

/// The manifests, checked and tied.
pub fn valid(manifests: &str) -> Valid {
    let files = [("manifest.yaml".to_owned(), manifests.to_owned())];
    recmesh_plan::validate(recmesh_crds::parse(&files).unwrap()).unwrap()
}

/// Does every job of the manifests, each in a process of its own, and hands the versions on as the operator does.
pub fn all(desk: &Desk, valid: &Valid) -> (BTreeMap<JobKey, ArtifactId>, Vec<JobReport>) {
    let (mut made, mut reports) = (BTreeMap::new(), vec![]);
    for job in recmesh_plan::plan(valid).jobs {
        let config = recmesh_plan::job_config(valid, &job.key, &made, &|_| desk.path("data")).unwrap();
        let (_, report) = run(desk, &config, &[]);
        made.insert(job.key, report.produced.clone().unwrap());
        reports.push(report);
    }
    (made, reports)
}

const WORDS: [&str; 9] =
    ["job", "--config", "job.json", "--store", "store", "--listen", "127.0.0.1:0", "--termination-message", "last"];

/// One job that must succeed, and its last word.
#[track_caller]
fn run(desk: &Desk, config: &JobConfig, more: &[&str]) -> (Told, JobReport) {
    desk.write("job.json", &serde_json::to_string(config).unwrap());
    let told = desk.run(&[&WORDS, more].concat()).good();
    (told, last_word(desk))
}

#[track_caller]
fn last_word(desk: &Desk) -> JobReport {
    let text = fs::read_to_string(desk.path("last")).unwrap();
    assert!(text.len() <= 4096, "{}", text.len());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A data set of one file.
fn csv(path: &str) -> String {
    let format = "format: {delimited: {}}, columns: {user: u, item: i, time: t}";
    format!("  source: {{interactions: {{path: {path}, {format}}}}}\n")
}

/// The only job of the manifests that is of this kind, after those that it needs.
fn config_of(desk: &Desk, manifests: &str, kind: &str) -> JobConfig {
    let valid = valid(manifests);
    let mut made = BTreeMap::new();
    for job in recmesh_plan::plan(&valid).jobs {
        let config = recmesh_plan::job_config(&valid, &job.key, &made, &|_| desk.path("data")).unwrap();
        if job.key.kind.as_str() == kind {
            return config;
        }
        made.insert(job.key, run(desk, &config, &[]).1.produced.unwrap());
    }
    panic!("no {kind}")
}

#[test]
fn jobs_one_by_one_make_what_train_makes() {
    let desk = Desk::new(WHOLE);
    desk.train(&["--threads", "1"]).good();
    let valid = valid(WHOLE);
    let (made, reports) = all(&desk, &valid);
    let files = |store: &str| {
        // What was asked for names folders, which are others here; what was made does not.
        let named = "-type f -not -path './.*/*' -not -name config.json -not -name manifest.json";
        let line = format!("cd {store} && find . {named} | sort | xargs sha256sum");
        let output = Command::new("sh").args(["-c", &line]).current_dir(desk.path("")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(files("store").lines().count() > 15);
    assert!(files("store") == files(".recmesh/artifacts"), "the same bytes, whoever runs the job");
    assert!(reports.iter().all(|report| report.state == JobState::Complete && report.resources.wall_seconds > 0.0));
    assert!(reports.iter().any(|report| report.kind == "EvaluationJob" && report.metrics.len() > 5));

    let (again, reused) = all(&desk, &valid);
    assert_eq!(made, again);
    for (first, second) in reports.iter().zip(&reused) {
        assert_eq!(second.state, JobState::Reused);
        assert_eq!((&first.digest, &first.metrics), (&second.digest, &second.metrics));
    }
    let tokenizer = reports.iter().find(|report| report.kind == "Tokenizer").unwrap();
    let folder = desk.path("store").join(tokenizer.produced.as_ref().unwrap().to_string());
    let catalog = recmesh_catalog::Catalog::open(&folder.join(recmesh_jobs::CATALOG)).unwrap();
    assert_eq!(tokenizer.digest.as_deref(), Some(catalog.digest()));
}

#[test]
fn a_data_set_of_files_tells_their_digest() {
    let desk = Desk::new("");
    fs::create_dir(desk.path("data")).unwrap();
    let manifests = counted_over(&csv("a.csv"));
    let rows = |extra: &str| {
        let rows = (0..60).map(|i| format!("u{},i{},{i}\n", i % 6, i % 7)).collect::<String>();
        desk.write("data/a.csv", &format!("u,i,t\n{rows}{extra}"));
    };
    rows("");
    let config = config_of(&desk, &manifests, "Dataset");
    let (_, first) = run(&desk, &config, &[]);
    assert!(first.digest.as_ref().is_some_and(|digest| digest.starts_with("sha256:") && digest.len() == 71));
    rows("u1,i1,99\n");
    let (_, second) = run(&desk, &config, &[]);
    assert_ne!((first.digest, first.produced), (second.digest, second.produced), "other rows, another version");
}

/// A training that has made its seventh step, the report's address, and its folder.
fn training(more: &[&str]) -> (Desk, Process, std::net::SocketAddr) {
    let desk = Desk::new("");
    let config = config_of(&desk, LONG, "TrainingJob");
    desk.write("job.json", &serde_json::to_string(&config).unwrap());
    let mut job = Process::start(&desk, &[&WORDS[..], &["--threads", "1", "--log", "info"], more].concat());
    let admin = job.until("admin on http://").parse().unwrap();
    loop {
        let report: JobReport = serde_json::from_slice(&get(admin, "/report").body).unwrap();
        assert_eq!((report.state, report.kind.as_str()), (JobState::Running, "TrainingJob"));
        if let Some(progress) = report.progress.filter(|progress| progress.checkpoint.is_some()) {
            assert_eq!(progress.step, "training");
            assert!(progress.percent.is_some() && progress.eta_seconds.is_some(), "{progress:?}");
            assert!(progress.note.contains("loss"), "{progress:?}");
            assert!(report.resources.peak_bytes > 0);
            return (desk, job, admin);
        }
    }
}

#[test]
fn a_training_tells_how_far_it_is_stops_when_asked_and_goes_on() {
    let (desk, job, admin) = training(&[]);
    assert_eq!(get(admin, "/livez").status, 200);
    assert!(get(admin, "/metrics").text().ends_with("# EOF\n"));
    job.signal("TERM");
    let told = job.end();
    assert_eq!(told.code, Some(3), "{told:?}");
    let word = last_word(&desk);
    assert_eq!((word.state, word.produced), (JobState::Failed, None));
    let message = word.message.unwrap();
    assert!(message.contains("which a checkpoint keeps; another try goes on after it"), "{message}");
    assert!(word.progress.unwrap().checkpoint.is_some());
    // Another try.
    let told = desk.run(&[&WORDS[..], &["--threads", "1"]].concat()).good();
    assert!(!told.err.contains("stopped"), "{told:?}");
    let word = last_word(&desk);
    assert_eq!(word.state, JobState::Complete);
    let whole = Desk::new(LONG);
    whole.train(&["--threads", "1"]).good();
    let model = word.produced.unwrap();
    let model = format!("{}/{}/{}/model.safetensors", model.kind.folder(), model.name, model.version);
    let bytes = |path: &Path| fs::read(path).unwrap();
    assert!(
        bytes(&desk.path("store").join(&model)) == bytes(&whole.path(".recmesh/artifacts").join(&model)),
        "the same bytes as of a run that nothing stopped"
    );
}

#[test]
fn checkpoints_may_lie_elsewhere() {
    let (desk, job, _) = training(&["--checkpoints", "scratch"]);
    job.signal("KILL");
    job.end();
    let there = |folder: &str| desk.path(folder).join("retrieval-models").join("model").exists();
    assert!(there("scratch") && !there("store/.checkpoints"));
    desk.run(&[&WORDS[..], &["--checkpoints", "scratch"]].concat()).good();
    let versions = fs::read_dir(desk.path("scratch/retrieval-models/model")).map_or(0, Iterator::count);
    assert_eq!(versions, 0, "they go when they are not needed any more");
}

#[test]
fn what_no_other_try_can_mend_ends_with_two() {
    let desk = Desk::new("");
    desk.run(&WORDS).refused(2, &["cannot read job.json"]);
    desk.write("job.json", "{\"name\": \"a\", \"work\": {\"count\": {\"algorithmus\": {}}}}");
    desk.run(&WORDS).refused(2, &["job.json: work.count.algorithmus: unknown field"]);
    assert!(fs::read_to_string(desk.path("last")).unwrap().contains("unknown field"));
    // The file is not there.
    let valid = valid(&counted_over(&csv("none.csv")));
    let job = &recmesh_plan::plan(&valid).jobs[0].key;
    let config = recmesh_plan::job_config(&valid, job, &BTreeMap::new(), &|_| desk.path("data")).unwrap();
    assert!(matches!(config.work, JobWork::Dataset { .. }));
    desk.write("job.json", &serde_json::to_string(&config).unwrap());
    desk.run(&WORDS).refused(2, &["none.csv"]);
    let word = last_word(&desk);
    assert_eq!((word.state, word.kind.as_str()), (JobState::Failed, "Dataset"));
    assert!(word.message.unwrap().contains("none.csv"));
}

#[test]
fn what_another_try_may_mend_ends_with_one() {
    let desk = Desk::new("");
    let config = config_of(&desk, WHOLE, "Tokenizer");
    desk.write("job.json", &serde_json::to_string(&config).unwrap());
    // Eight blocks of a file: more than a lock, less than a catalog.
    let told = desk.shell(&format!("ulimit -c 0; ulimit -f 8; trap '' XFSZ; exec $RECMESH {}", WORDS.join(" ")));
    assert_eq!(told.code, Some(1), "{told:?}");
    assert_eq!(last_word(&desk).state, JobState::Failed);
    // An input that is not in the store yet.
    let JobWork::Tokenizer { mut dataset, algorithm, folder, vectors } = config.work else { panic!() };
    dataset.version = recmesh_contract::Version::of([b"another".as_slice()]);
    assert_eq!(dataset.kind, ArtifactKind::Dataset);
    let work = JobWork::Tokenizer { dataset, algorithm, folder, vectors };
    desk.write("job.json", &serde_json::to_string(&JobConfig { work, ..config }).unwrap());
    desk.run(&WORDS).refused(1, &["there is no artifact datasets/world/"]);
}
