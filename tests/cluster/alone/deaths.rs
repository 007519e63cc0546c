//! The operator is killed at random points of 200 applies, updates and deletes. In: the same changes in two namespaces,
//! in one of which the operator dies again and again. Out: both end the same, to the letter.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    control::{MADE, Tended, settled},
    harness::{OURS, Object, Space},
};

const CHANGES: usize = 200;
/// A life ends after one of so many changes.
const LIFE: u64 = 6;

/// Numbers that are the same in every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One change of one resource.
#[derive(Clone)]
enum Change {
    Apply(Value),
    Delete(String, String),
}

/// A resource in one of its variants. References never change; what they name may be missing for a while.
fn resource(index: u64, variant: u64) -> Value {
    let which = index % 16;
    let world = json!({"name": format!("world-{}", which % 2)});
    let (kind, name, spec) = match which {
        0 | 1 => (
            "Dataset",
            format!("world-{which}"),
            json!({"source": {"planted": {"users": 100, "items": 50, "seed": variant}}}),
        ),
        2 | 3 => (
            "Tokenizer",
            format!("ids-{}", which - 2),
            json!({"datasetRef": world, "algorithm": {"rqKMeans": {"levels": 2, "codebookSize": 8 + variant, "vectors": {"collaborative": {"dims": 8}}}}}),
        ),
        4 | 5 => (
            "RetrievalModel",
            format!("popular-{}", which - 4),
            json!({"datasetRef": world, "algorithm": {"popularity": {}}, "replicas": 1 + variant % 2}),
        ),
        6 | 7 => (
            "RetrievalModel",
            format!("next-{}", which - 6),
            json!({"datasetRef": world, "algorithm": {"sasRec": {"dim": 8, "blocks": 1 + variant % 2}}}),
        ),
        8 | 9 => (
            "TrainingJob",
            format!("train-{}", which - 8),
            json!({"modelRef": {"kind": "RetrievalModel", "name": format!("next-{}", which - 8)}, "epochs": 1 + variant}),
        ),
        10 | 11 => (
            "EvaluationJob",
            format!("test-{}", which - 10),
            json!({"modelRef": {"kind": "RetrievalModel", "name": format!("popular-{}", which - 10)}, "k": [10 + variant]}),
        ),
        12 | 13 => (
            "EvaluationJob",
            format!("trained-{}", which - 12),
            json!({"modelRef": {"kind": "RetrievalModel", "name": format!("next-{}", which - 12)}, "bootstrap": 10 + variant}),
        ),
        _ => (
            "Pipeline",
            format!("home-{}", which - 14),
            json!({
                "tokenizerRef": {"name": format!("ids-{}", which - 14)},
                "retrieve": {"modelRef": {"name": format!("next-{}", which - 14)}},
                "fallback": {"modelRef": {"name": format!("popular-{}", which - 14)}},
                "maxConcurrency": 100 + variant,
            }),
        ),
    };
    json!({"apiVersion": "recmesh.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The changes; at their end everything that others need is there, and so can settle.
fn changes() -> Vec<Change> {
    let mut chance = Chance(20);
    let mut all: Vec<Change> = Vec::new();
    while all.len() < CHANGES - 16 {
        let object = resource(chance.below(16), chance.below(4));
        if chance.below(4) == 0 {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            all.push(Change::Delete(object["kind"].as_str().unwrap().to_owned(), name));
        } else {
            all.push(Change::Apply(object));
        }
    }
    all.extend((0..16).map(|index| Change::Apply(resource(index, chance.below(4)))));
    all
}

async fn carry_out(space: &Space, change: Change) {
    match change {
        Change::Apply(object) => drop(space.apply_object(object).await),
        Change::Delete(kind, name) => drop(space.api(&kind).delete(&name, &Default::default()).await),
    }
}

/// What counts of an object: everything but moments, versions of the store, and what Kubernetes adds by itself.
fn kept(object: &Object, namespace: &str) -> Value {
    let mut kept = json!({"labels": object.labels(), "spec": object.data["spec"], "data": object.data["data"]});
    let ours = object.types.as_ref().is_some_and(|types| types.api_version.starts_with("recmesh.dev"));
    let owners: Vec<String> =
        object.owner_references().iter().map(|owner| format!("{}/{}", owner.kind, owner.name)).collect();
    kept["owners"] = json!(owners);
    if ours {
        kept["status"] = object.data["status"].clone();
    }
    scrub(&mut kept, namespace);
    kept
}

fn scrub(value: &mut Value, namespace: &str) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| {
                key != "lastTransitionTime" && key != "observedGeneration" && !key.ends_with("controller-uid")
            });
            map.values_mut().for_each(|value| scrub(value, namespace));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| scrub(value, namespace)),
        Value::String(text) => *text = text.replace(namespace, "NAMESPACE"),
        _ => {}
    }
}

/// Waits until every resource has settled and nothing former is left, and returns what there is.
async fn end_state(space: &Space) -> BTreeMap<String, Value> {
    for kind in OURS {
        space.when_all(kind, "", "all settle", |held| held.values().all(|object| settled(kind, object))).await;
    }
    let mut wanted = Vec::new();
    for map in space.list("ConfigMap", "recmesh.dev/route").await {
        let file: Value = serde_json::from_str(map.data["data"]["route.json"].as_str().unwrap()).unwrap();
        wanted.extend(
            file["pools"].as_object().unwrap().values().map(|place| place["service"].as_str().unwrap().to_owned()),
        );
    }
    wanted.sort();
    wanted.dedup();
    for kind in ["Deployment", "Service"] {
        let worker = "app.kubernetes.io/component=worker";
        space.when_all(kind, worker, "only the routes' pools", |held| held.keys().eq(wanted.iter())).await;
    }
    // What is done and told may go after a while.
    let may_go = |job: &Object| job.data["spec"]["ttlSecondsAfterFinished"].is_i64();
    space.when_all("Job", "", "all may go", |held| held.values().all(may_go)).await;
    let mut state = BTreeMap::new();
    for kind in OURS.into_iter().chain(MADE) {
        let ours = if OURS.contains(&kind) { "" } else { "app.kubernetes.io/managed-by=recmesh-operator" };
        for object in space.list(kind, ours).await {
            state.insert(format!("{kind}/{}", object.name_any()), kept(&object, &space.name));
        }
    }
    state
}

#[tokio::test]
async fn an_operator_that_is_killed_ends_where_one_that_is_not_ends() {
    let alone = ["operator.replicas=1", "leaderElection.enabled=false"];
    let calm = Tended::with("calm", &alone).await;
    for change in changes() {
        carry_out(&calm.space, change).await;
    }
    let expected = end_state(&calm.space).await;

    let stormy = Tended::untended("stormy", &alone).await;
    let mut chance = Chance(21);
    let mut lives = 1;
    let mut operator = stormy.release.start(&stormy.space, "life-1");
    for change in changes() {
        carry_out(&stormy.space, change).await;
        if chance.below(LIFE) == 0 {
            operator.kill();
            lives += 1;
            operator = stormy.release.start(&stormy.space, &format!("life-{lives}"));
        }
    }
    let found = end_state(&stormy.space).await;
    let names = |state: &BTreeMap<String, Value>| state.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    let mut differences = String::new();
    for (name, expected) in &expected {
        let (found, expected) =
            (serde_yaml::to_string(&found[name]).unwrap(), serde_yaml::to_string(expected).unwrap());
        let only = |one: &str, other: &str| -> Vec<String> {
            one.lines().filter(|line| !other.lines().any(|it| it == *line)).map(str::to_owned).collect()
        };
        if found != expected {
            let (calm, stormy) = (only(&expected, &found), only(&found, &expected));
            differences += &format!("{name}: in one life {calm:#?}, in many {stormy:#?}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    println!("measured: {CHANGES} changes, {lives} lives, {} objects the same as in one life", expected.len());
}
