//! The state folder: same bytes from the same manifest, what `get` shows, what `gc` keeps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    manifests::{PLAIN, WHOLE},
    program::Desk,
    server::Server,
};

/// Paths that differ between two stores.
fn differences(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

#[test]
fn two_runs_from_nothing_make_the_same_bytes_whatever_the_threads() {
    let [one, other, third] = ["1", "3", "3"].map(|threads| {
        let desk = Desk::new(WHOLE);
        desk.train(&["--threads", threads]).good();
        desk.artifacts()
    });
    assert!(one.len() > 25, "{:?}", one.keys());
    assert_eq!(differences(&one, &other), Vec::<String>::new(), "1 thread against 3");
    assert_eq!(differences(&other, &third), Vec::<String>::new(), "3 threads against 3");
}

#[test]
fn a_change_remakes_what_depends_on_it_and_no_more() {
    let desk = Desk::new(WHOLE);
    desk.train(&[]).good();
    desk.write("manifest.yaml", &WHOLE.replace("expertUnits: 8", "expertUnits: 4"));
    let told = desk.train(&[]).good();
    let made: Vec<&str> = told.err.lines().filter(|line| line.contains(" done in ")).collect();
    let made: Vec<&str> = made.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(made, ["TrainingJob/train-ranker", "EvaluationJob/ranker-test"], "{}", told.err);
}

#[test]
fn get_shows_resources_and_releases() {
    let desk = Desk::new(&format!("{WHOLE}{PLAIN}"));
    desk.run(&["get"]).refused(1, &[".recmesh", "no state folder"]);
    Server::start(&desk).stop("TERM").good();

    let told = desk.run(&["get"]).good();
    let table: Vec<Vec<&str>> = told.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[0], ["KIND", "NAME", "STATE", "VERSION", "SECONDS"]);
    let job =
        table.iter().find(|row| row.get(1) == Some(&"train-retriever")).expect("the training job by its own name");
    assert_eq!((job[0], job[2], job[3].len()), ("TrainingJob", "Complete", 12));
    assert!(told.out.contains("PIPELINE") && told.out.contains("home@") && told.out.contains("plain@"), "{}", told.out);

    let json: Value = serde_json::from_str(&desk.run(&["get", "-o", "json"]).good().out).unwrap();
    assert_eq!(json["resources"].as_array().unwrap().len(), 7);
    let release = &json["releases"][0];
    assert_eq!(release["pipeline"], "home");
    assert!(release["release"]["models"]["retrieve"].as_str().unwrap().starts_with("retriever@"));

    // A second run takes all from the store; what making it took is still told.
    desk.train(&[]).good();
    let again = desk.run(&["get", "-o", "json"]).good().out;
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["resources"], json["resources"]);
}

#[test]
fn a_pipeline_that_is_no_longer_declared_serves_no_longer() {
    let desk = Desk::new(&format!("{WHOLE}{PLAIN}"));
    Server::start(&desk).stop("TERM").good();
    assert!(desk.run(&["get"]).good().out.contains("plain@"));
    desk.write("manifest.yaml", WHOLE);
    Server::start(&desk).stop("TERM").good();
    let told = desk.run(&["get"]).good().out;
    assert!(told.contains("home@") && !told.contains("plain@"), "{told}");
}

#[test]
fn gc_removes_what_no_release_and_no_newest_version_needs() {
    let desk = Desk::new(WHOLE);
    desk.run(&["gc"]).refused(1, &["no state folder"]);
    Server::start(&desk).stop("TERM").good();
    let served = desk.artifacts();
    assert!(desk.run(&["gc"]).good().out.contains("0 removed"));

    // The release in force still serves the first ranker, so only the second one of three can go.
    for units in ["4", "6"] {
        desk.write("manifest.yaml", &WHOLE.replace("expertUnits: 8", &format!("expertUnits: {units}")));
        desk.train(&[]).good();
    }
    let before = desk.artifacts();
    let rankers = |files: &BTreeMap<String, Vec<u8>>| {
        files.keys().filter(|path| path.starts_with("ranking-models/") && path.ends_with("manifest.json")).count()
    };
    assert_eq!(rankers(&before), 3);
    let named = desk.run(&["gc", "--dry-run"]).good().out;
    assert_eq!(named.lines().last(), Some("3 would be removed"), "a ranker and two evaluations: {named}");
    assert_eq!(desk.artifacts(), before, "a dry run removes nothing");
    let removed = desk.run(&["gc"]).good().out;
    assert_eq!(removed.replace(" removed", " would be removed"), named);
    let after = desk.artifacts();
    assert_eq!(rankers(&after), 2);
    let lost: Vec<&String> =
        served.keys().filter(|path| !after.contains_key(*path) && !path.starts_with("evaluations/")).collect();
    assert!(lost.is_empty(), "{lost:?}");

    desk.write("manifest.yaml", WHOLE);
    let server = Server::start(&desk);
    let again: Vec<String> =
        server.err().lines().filter(|line| line.contains(" done in ")).map(str::to_owned).collect();
    assert_eq!(again.len(), 1, "only the evaluation that nothing needed is made again: {again:?}");
}
