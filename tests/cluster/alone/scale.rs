//! What 1,000 resources of mixed kinds cost the operator: memory, processor time, writes, wall time. Trainings are
//! suspended and pods of jobs find no node, so nothing runs.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::{
    control::Tended,
    harness::{Audit, Cluster, Held, OURS, Object, Process, Usage},
};

/// Of each kind but the last, which fills up to the whole.
const EACH: usize = 143;
const ALL: usize = 1000;
/// What is allowed.
const WRITES: usize = 3;
const MEMORY: u64 = 60_000_000;
const PROCESSOR: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(120);

fn resources() -> Vec<Value> {
    let mut all = Vec::new();
    for number in 0..EACH {
        let world = json!({"name": format!("world-{number}")});
        let model = format!("next-{number}");
        for (kind, name, spec) in [
            ("Dataset", format!("world-{number}"), json!({"source": {"planted": {"seed": number}}})),
            ("Tokenizer", format!("ids-{number}"), json!({"datasetRef": world, "algorithm": {"atomic": {}}})),
            ("RetrievalModel", model.clone(), json!({"datasetRef": world, "algorithm": {"sasRec": {"dim": 8}}})),
            (
                "RankingModel",
                format!("rank-{number}"),
                json!({
                    "datasetRef": world, "algorithm": {"mmoe": {}},
                    "tasks": [{"name": "click", "when": {"column": "click", "atLeast": 1}}],
                }),
            ),
            (
                "TrainingJob",
                format!("train-{number}"),
                json!({
                    "modelRef": {"kind": "RetrievalModel", "name": model}, "suspend": true,
                }),
            ),
            ("EvaluationJob", format!("test-{number}"), json!({"modelRef": {"kind": "RetrievalModel", "name": model}})),
            (
                "Pipeline",
                format!("home-{number}"),
                json!({
                    "tokenizerRef": {"name": format!("ids-{number}")}, "retrieve": {"modelRef": {"name": model}},
                }),
            ),
        ] {
            all.push(
                json!({"apiVersion": "recmesh.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}),
            );
        }
    }
    all.truncate(ALL);
    all
}

/// Processor time of the API server so far.
fn api_server() -> Duration {
    let pids = Cluster::logs().join("../pids/kube-apiserver");
    let line = fs::read_to_string(pids).unwrap();
    Usage::of(line.split_whitespace().next().unwrap().parse().unwrap()).cpu
}

#[tokio::test]
async fn a_thousand_resources_are_cheap() {
    let tended = Tended::untended("scale", &["pods.nodeSelector.nowhere=here"]).await;
    let space = &tended.space;
    let resources = resources();
    let count = resources.len();
    assert_eq!(count, ALL);
    stream::iter(resources).for_each_concurrent(16, |object| async { drop(space.apply_object(object).await) }).await;

    let audit = Audit::begin();
    let server = api_server();
    let begun = Instant::now();
    let operator = tended.release.start(space, "operator");
    for kind in OURS {
        let told = |object: &Object| object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation;
        let met = |held: &Held| held.values().all(told);
        space.watch(kind, watcher::Config::default(), "all have a status", DEADLINE, met).await;
    }
    let (wall, usage) = (begun.elapsed(), operator.usage());
    // What is still under way, such as pods that find no node, is told apart.
    let unschedulable =
        |object: &Object| object.data["status"]["conditions"][0]["reason"].as_str() == Some("Unschedulable");
    let met = |held: &Held| held.values().all(unschedulable);
    space.watch("Dataset", watcher::Config::default(), "no node takes their pods", DEADLINE, met).await;
    let (settled, after) = (begun.elapsed(), operator.usage());
    let server = api_server() - server;

    let user = &tended.release.operator().user;
    let entries = audit.of(&space.cluster, user).await;
    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.object_ref.subresource == "status" && entry.writes()) {
        *writes.entry(format!("{} {}", entry.object_ref.resource, entry.object_ref.name)).or_default() += 1;
    }
    let most = writes.values().max().copied().unwrap_or(0);
    println!(
        "measured: {count} resources have a status after {:.1} s, {:.2} s of the operator's processor time and {:.1} MB at \
         most; settled after {:.1} s and {:.2} s, {:.1} MB; API server {:.1} s of processor time; {} requests, {} writes, \
         at most {most} of one status",
        wall.as_secs_f64(),
        usage.cpu.as_secs_f64(),
        usage.peak as f64 / 1e6,
        settled.as_secs_f64(),
        after.cpu.as_secs_f64(),
        after.peak as f64 / 1e6,
        server.as_secs_f64(),
        entries.len(),
        entries.iter().filter(|entry| entry.writes()).count(),
    );
    assert_eq!(writes.len(), count, "every resource has a status");
    let many: Vec<_> = writes.iter().filter(|(_, writes)| **writes > WRITES).collect();
    assert!(many.is_empty(), "statuses that were written more than {WRITES} times: {many:?}");
    let refused: Vec<_> = entries.iter().filter(|entry| entry.response_status.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(after.peak < MEMORY, "{after:?}");
    // Processor time is a property of the program that is shipped, not of a build without optimisation.
    if Process::is_shipped() {
        assert!(usage.cpu < PROCESSOR, "{usage:?}");
    }
}
