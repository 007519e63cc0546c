//! What `train -o json` tells of every job and metric; gates; the names that manifests may use are those reported.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{manifests::WHOLE, program::Desk};

fn jobs(out: &str) -> Vec<Value> {
    let told: Value = serde_json::from_str(out).unwrap();
    told["jobs"].as_array().unwrap().clone()
}

#[test]
fn the_json_tells_everything_needed_to_read_a_number() {
    let told = Desk::new(WHOLE).train(&["-o", "json"]).good();
    let jobs = jobs(&told.out);
    let names: Vec<String> =
        jobs.iter().map(|job| format!("{}/{}", job["kind"], job["name"]).replace('"', "")).collect();
    assert_eq!(
        names,
        [
            "Dataset/world",
            "Tokenizer/ids",
            "TrainingJob/train-retriever",
            "RetrievalModel/popular",
            "TrainingJob/train-ranker",
            "EvaluationJob/retriever-test",
            "EvaluationJob/ranker-test"
        ]
    );
    for job in &jobs {
        let resources = &job["resources"];
        assert!(resources["wallSeconds"].as_f64().unwrap() > 0.0, "{job}");
        assert!(resources["cpuSeconds"].as_f64().unwrap() >= 0.0, "{job}");
        assert!(resources["peakBytes"].as_u64().unwrap() > 1 << 20, "{job}");
        assert_eq!(job["state"], "complete", "{job}");
    }
    let bounded = |metric: &Value| {
        let bound = |at: usize| metric["interval"][at].as_f64().unwrap_or_else(|| panic!("{metric}"));
        let value = metric["value"].as_f64().unwrap();
        assert!(bound(0) <= value && value <= bound(1), "{metric}");
    };
    let (retriever, ranker) = (&jobs[5]["metrics"], &jobs[6]["metrics"]);
    let mut maskings = BTreeSet::new();
    for metric in retriever.as_array().unwrap() {
        assert_eq!(metric["split"], "test", "{metric}");
        maskings.insert(metric["masking"].as_str().unwrap());
        let name = metric["name"].as_str().unwrap();
        if !name.starts_with("itemCoverage") && name != "illegalIdRate" {
            bounded(metric);
        }
        assert!(name != "illegalIdRate" || metric["value"] == 0.0, "{metric}");
    }
    assert_eq!(maskings, ["masked", "raw"].into());
    for metric in ranker.as_array().unwrap() {
        assert_eq!(metric["split"], "test", "{metric}");
        assert!(["click", "like"].contains(&metric["of"].as_str().unwrap()), "{metric}");
        bounded(metric);
    }
}

/// The names that evaluations report, as gates write them.
fn reported(out: &str) -> Vec<BTreeSet<String>> {
    let jobs = jobs(out);
    let evaluations = jobs.iter().filter(|job| job["kind"] == "EvaluationJob");
    let name = |metric: &Value| {
        let of = metric.get("of").and_then(Value::as_str).map(|of| format!("/{of}")).unwrap_or_default();
        format!("{}{of}", metric["name"].as_str().unwrap())
    };
    evaluations.map(|job| job["metrics"].as_array().unwrap().iter().map(name).collect()).collect()
}

#[test]
fn the_names_that_gates_may_use_are_those_reported() {
    // One row a user for testing, and then several.
    for manifest in
        [WHOLE.to_owned(), WHOLE.replace("seed: 7}}\n", "seed: 7}}\n  split: {time: {validation: 0.2, test: 0.3}}\n")]
    {
        let told = Desk::new(&manifest).train(&["-o", "json"]).good();
        let gated = manifest.replace("  bootstrap: 50\n", "  bootstrap: 50\n  gates: [{metric: nothing, min: 0}]\n");
        let refused = Desk::new(&gated).with_manifest("validate", &[]).refused(2, &["nothing will not be reported"]);
        let known: Vec<BTreeSet<String>> = refused
            .err
            .lines()
            .filter_map(|line| line.split_once("these will: "))
            .map(|(_, names)| names.split(", ").map(str::to_owned).collect())
            .collect();
        assert_eq!(known, reported(&told.out));
    }
}

#[test]
fn a_missed_gate_fails_the_run_each_time() {
    let gated = |least: f64| {
        let gates = format!("name: ranker}}\n  bootstrap: 50\n  gates: [{{metric: auc/click, min: {least}}}]\n");
        WHOLE.replace("name: ranker}\n  bootstrap: 50\n", &gates)
    };
    let desk = Desk::new(&gated(0.999));
    let missed = ["gate missed", "auc/click", "0.999"];
    desk.train(&[]).refused(1, &missed);
    let told = desk.train(&["-o", "json"]).refused(1, &missed);
    assert_eq!(jobs(&told.out).len(), 7, "the results are told all the same");
    desk.write("manifest.yaml", &gated(0.001));
    desk.train(&[]).good();
}
