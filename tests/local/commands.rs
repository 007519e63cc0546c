//! Commands that make nothing: `validate`, `crds`; exit codes; the examples.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    manifests::{COUNTED, WHOLE},
    program::Desk,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn validate_tells_every_problem_with_its_place() {
    let desk = Desk::new(&WHOLE.replace("epochs: 2", "epochs: many").replace("k: [5, 10]", "k: [0]"));
    desk.write(
        "more.yaml",
        "apiVersion: recmesh.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: away}\nspec:\n  tokenizerRef: {name: idz}\n  \
         retrieve: {modelRef: {name: retriever}}\n  speed: 9\n",
    );
    let told = desk.run(&["validate", "-f", "manifest.yaml", "-f", "more.yaml"]);
    let told = told.refused(2, &["epochs", "k", "speed", "TrainingJob/train-retriever", "Pipeline/away"]);
    let problems: Vec<&str> = told.err.lines().filter(|line| !line.starts_with("recmesh:")).collect();
    for problem in &problems {
        let mut place = problem.splitn(4, ':');
        let file = place.next().unwrap();
        assert!(["manifest.yaml", "more.yaml"].contains(&file), "{problem}");
        assert!(place.next().unwrap().parse::<u32>().is_ok() && place.next().unwrap().parse::<u32>().is_ok());
    }
    assert!(problems.iter().any(|line| line.starts_with("more.yaml:7:3:")), "{problems:#?}");
    assert!(told.err.contains(&format!("{} problem(s)", problems.len())), "{}", told.err);
    assert!(!desk.path(".recmesh").exists());
    for subcommand in ["train", "up"] {
        desk.with_manifest(subcommand, &[]).refused(2, &["epochs"]);
    }

    // References are looked at once every manifest has its shape.
    let desk =
        Desk::new(&WHOLE.replace("fallback: {modelRef: {name: popular}}", "fallback: {modelRef: {name: popula}}"));
    desk.with_manifest("validate", &[]).refused(2, &["Pipeline/home", "popula", "popular"]);
}

#[test]
fn validate_says_when_nothing_is_wrong() {
    let desk = Desk::new(WHOLE);
    assert_eq!(desk.with_manifest("validate", &[]).good().out, "no problems; 7 jobs, 1 pipelines\n");
    let told = desk.shell("$RECMESH validate -f - < manifest.yaml").good();
    assert!(told.out.contains("no problems"));
}

#[test]
fn arguments_and_manifests_that_cannot_be_read_are_named() {
    let desk = Desk::new(COUNTED);
    desk.run(&["validate", "-f", "absent.yaml"]).refused(2, &["absent.yaml"]);
    fs::write(desk.path("bytes.yaml"), [0xff, 0xfe]).unwrap();
    desk.run(&["validate", "-f", "bytes.yaml"]).refused(2, &["bytes.yaml", "UTF-8"]);
    desk.write("empty.yaml", "");
    desk.run(&["train", "-f", "empty.yaml"]).refused(2, &["empty.yaml"]);
    desk.write("broken.yaml", "kind: [Dataset\n");
    desk.run(&["train", "-f", "broken.yaml"]).refused(2, &["broken.yaml:"]);
    desk.run(&["train"]).refused(2, &["--file"]);
    desk.train(&["--threads", "0"]).refused(2, &["--threads"]);
    desk.with_manifest("up", &["--listen", "nowhere"]).refused(2, &["--listen"]);
    desk.run(&[]).refused(2, &["Usage"]);
    desk.train(&["--log", "=,="]).refused(2, &["=,="]);
}

#[test]
fn crds_are_the_committed_ones() {
    let told = Desk::new(COUNTED).run(&["crds"]).good();
    let documents = |text: &str| -> BTreeSet<String> {
        let documents = text.split("---\n").map(|document| {
            let lines = document.lines().filter(|line| !line.starts_with('#'));
            lines.collect::<Vec<_>>().join("\n").trim().to_owned()
        });
        documents.filter(|document| !document.is_empty()).collect()
    };
    let mut committed = BTreeSet::new();
    for entry in fs::read_dir(root().join("crds/yaml")).unwrap() {
        committed.extend(documents(&fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    assert_eq!(committed.len(), 7);
    let odd: Vec<String> = documents(&told.out).symmetric_difference(&committed).cloned().collect();
    assert!(odd.is_empty(), "run `make crds`:\n{}", odd.join("\n---\n"));
}

#[test]
fn every_example_is_valid() {
    let desk = Desk::new(COUNTED);
    let mut seen = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let told = desk.run(&["validate", "-f", path.to_str().unwrap()]).good();
        assert!(told.out.starts_with("no problems; "), "{}: {}", path.display(), told.out);
        seen += 1;
    }
    assert!(seen >= 5, "{seen} examples");
}

#[test]
fn a_suspended_job_is_not_run_and_not_passed_over() {
    let desk = Desk::new(&WHOLE.replacen("  epochs: 2\n", "  epochs: 2\n  suspend: true\n", 1));
    desk.with_manifest("validate", &[]).good();
    for subcommand in ["train", "up"] {
        let told = desk.with_manifest(subcommand, &[]);
        told.refused(2, &["TrainingJob/train-retriever spec.suspend: the job is suspended"]);
    }
    assert!(!desk.path(".recmesh").exists(), "nothing was begun");
}
