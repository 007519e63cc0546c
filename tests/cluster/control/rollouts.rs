//! A new version beside the old one: traffic moves when every gateway has warmed it, never before, and a revert drops it.

use kube::ResourceExt;
use recmesh_contract::config::RouteFile;
use serde_json::Value;

use super::{Tended, others::message};
use crate::harness::{Gateway, Object, Space, condition};

const WORKER: &str = "app.kubernetes.io/component=worker";

/// What gateways are told of the quickstart's pipeline.
fn route(map: Option<&Object>) -> Option<RouteFile> {
    serde_json::from_str(map?.data["data"]["route.json"].as_str()?).ok()
}

fn change(space: &Space, kind: &str, name: &str, patch: &str) {
    space.kubectl().run(&["patch", kind, name, "--type=merge", "--patch", patch]).good();
}

/// The release that answers, as the pipeline's status has it.
async fn release(space: &Space) -> String {
    let home = space.get("Pipeline", "home").await;
    home.data["status"]["release"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Workloads of workers: name to uid.
type Workloads = std::collections::BTreeMap<String, String>;

async fn workloads(space: &Space) -> Workloads {
    let all = space.list("Deployment", WORKER).await;
    all.into_iter().map(|object| (object.name_any(), object.uid().unwrap())).collect()
}

/// The quickstart while its next version waits for a gateway to warm it.
struct Rolling {
    /// The release that answers.
    first: String,
    /// Its workloads.
    old: Workloads,
    /// What gateways are told.
    told: RouteFile,
}

/// Changes the data of the quickstart, which serves, and waits for the candidate. No gateway warms it.
async fn roll(tended: &Tended) -> Rolling {
    let space = &tended.space;
    let (first, old) = (release(space).await, workloads(space).await);
    tended.gateway.never_warms("home@");
    change(space, "dataset", "world", r#"{"spec":{"source":{"planted":{"seed":9}}}}"#);
    let rolling = |map: Option<&Object>| route(map).is_some_and(|route| route.candidate.is_some());
    let map = space.when("ConfigMap", "home-route", "has a candidate", rolling).await;
    Rolling { first, old, told: route(Some(&map)).unwrap() }
}

#[tokio::test]
async fn traffic_moves_when_the_new_version_is_warm() {
    let tended = Tended::new("rollout").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    let Rolling { first, old, told } = roll(&tended).await;
    assert_eq!(told.current.as_ref().unwrap().release.name, first, "the old version answers");
    let second = told.candidate.unwrap().release.name;
    assert_ne!(second, first);
    // Old and new workers, side by side, all ready.
    let ready = |object: &Object| object.data["status"]["readyReplicas"] == object.data["spec"]["replicas"];
    space
        .when_all("Deployment", WORKER, "old and new are ready", |held| {
            held.len() > old.len() && held.values().all(ready)
        })
        .await;
    let said = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Ready") == ("False", "RollingOut"));
    let home = space.when("Pipeline", "home", "is rolling out", said).await;
    assert_eq!(condition(&home, "Serving").0, "True", "the old version goes on: {}", message(&home, "Serving"));
    assert_eq!(release(space).await, first);

    tended.gateway.warms_again();
    space.ready("Pipeline", "home").await;
    assert_eq!(release(space).await, second);
    space
        .when_all("Deployment", WORKER, "the old are gone", |held| old.keys().all(|name| !held.contains_key(name)))
        .await;
}

#[tokio::test]
async fn every_gateway_must_be_warm() {
    let tended = Tended::untended("gateways", &[]).await;
    let space = &tended.space;
    let gateways = Gateway::several(space, 2).await;
    gateways[1].never_warms("home@");
    let operator = tended.release.start(space, "operator");
    space.apply_file("examples/quickstart.yaml").await;
    let half = |it: Option<&Object>| {
        let stages = it.and_then(|it| it.data["status"]["stages"].as_array());
        stages.is_some_and(|stages| stages.iter().all(|stage| stage["gateways"] == 2 && stage["readyWorkers"] == 1))
            && it.is_some_and(|it| condition(it, "Ready") == ("False", "Warming"))
    };
    space.when("Pipeline", "home", "waits for the second gateway", half).await;
    let map = space.get("ConfigMap", "home-route").await;
    assert!(route(Some(&map)).unwrap().current.is_none(), "nothing answers before both are warm");
    gateways[1].warms_again();
    space.ready("Pipeline", "home").await;
    drop(operator);
}

#[tokio::test]
async fn a_revert_drops_the_new_version_and_leaves_the_old_alone() {
    let tended = Tended::new("revert").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    let Rolling { first, old, .. } = roll(&tended).await;
    change(space, "dataset", "world", r#"{"spec":{"source":{"planted":{"seed":7}}}}"#);
    let back = |map: Option<&Object>| route(map).is_some_and(|route| route.candidate.is_none());
    space.when("ConfigMap", "home-route", "has no candidate", back).await;
    space.ready("Pipeline", "home").await;
    assert_eq!(release(space).await, first);
    let held = space.when_all("Deployment", WORKER, "only the old are left", |held| held.keys().eq(old.keys())).await;
    for (name, uid) in &old {
        assert_eq!(held[name].uid().as_ref(), Some(uid), "{name} was made anew");
    }
}

#[tokio::test]
async fn a_version_whose_training_fails_never_takes_traffic() {
    let tended = Tended::new("broken").await;
    let space = &tended.space;
    // The name of its training job makes it fail; first the model is made by another.
    tended.serve_quickstart().await;
    let (first, old) = (release(space).await, workloads(space).await);
    space.kubectl().run(&["delete", "trainingjob", "train-ranker"]).good();
    space
        .apply(
            "apiVersion: recmesh.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: failing-ranker}\n\
             spec: {modelRef: {kind: RankingModel, name: ranker}, epochs: 9}\n",
        )
        .await;
    let failed = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Complete") == ("False", "JobFailed"));
    space.when("TrainingJob", "failing-ranker", "has failed", failed).await;
    let home = space.get("Pipeline", "home").await;
    assert_eq!(condition(&home, "Serving").0, "True", "{}", message(&home, "Serving"));
    assert_eq!(release(space).await, first);
    assert_eq!(workloads(space).await, old);
}

/// Without devices to spare the running workers load the new weights beside the old ones.
#[tokio::test]
async fn in_place_the_same_workers_swap_their_weights() {
    let tended = Tended::new("inplace").await;
    let space = &tended.space;
    let text = std::fs::read_to_string(crate::harness::Cluster::file("examples/quickstart.yaml")).unwrap();
    for mut object in crate::harness::documents(&text) {
        if matches!(object["kind"].as_str(), Some("RetrievalModel" | "RankingModel" | "Tokenizer")) {
            object["spec"]["rollout"] = Value::from("inPlace");
        }
        space.apply_object(object).await;
    }
    space.ready("Pipeline", "home").await;
    let (first, before) = (release(space).await, workloads(space).await);
    tended.gateway.never_warms("home@");
    change(space, "dataset", "world", r#"{"spec":{"source":{"planted":{"seed":9}}}}"#);
    let both = |map: Option<&Object>| {
        let text = map.and_then(|map| map.data["data"]["config.json"].as_str()).unwrap_or("{}");
        let config: Value = serde_json::from_str(text).unwrap();
        config["pools"].as_array().is_some_and(|pools| pools.len() == 2)
    };
    space.when("ConfigMap", "rank-ranker", "tells both versions", both).await;
    assert_eq!(workloads(space).await, before, "the same workers");
    tended.gateway.warms_again();
    let other = |it: Option<&Object>| {
        it.is_some_and(|it| it.data["status"]["release"]["name"] != *first && condition(it, "Ready").0 == "True")
    };
    space.when("Pipeline", "home", "serves another release", other).await;
    space.when("ConfigMap", "rank-ranker", "tells the new version only", |map| map.is_some() && !both(map)).await;
    assert_eq!(workloads(space).await, before);
}

#[tokio::test]
async fn workers_scale_and_keep_their_names_where_asked() {
    let tended = Tended::new("scaling").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    let first = release(space).await;
    space.kubectl().run(&["scale", "retrievalmodel/retriever", "--replicas=3"]).good();
    let three = |held: &crate::harness::Held| {
        held.values()
            .any(|it| it.name_any().starts_with("retrieve-retriever-") && it.data["status"]["readyReplicas"] == 3)
    };
    space.when_all("Deployment", WORKER, "three are ready", three).await;
    space.ready("Pipeline", "home").await;
    assert_eq!(release(space).await, first, "more workers are no other version");
    let counted = |it: Option<&Object>| it.is_some_and(|it| it.data["status"]["replicas"] == 3);
    space.when("RetrievalModel", "retriever", "counts its workers", counted).await;

    change(space, "retrievalmodel", "retriever", r#"{"spec":{"affinity":"user"}}"#);
    let stable = |held: &crate::harness::Held| held.values().any(|it| it.data["status"]["readyReplicas"] == 3);
    space.when_all("StatefulSet", WORKER, "three with names of their own", stable).await;
    space
        .when_all("Deployment", WORKER, "none without", |held| {
            !held.keys().any(|name| name.starts_with("retrieve-retriever-"))
        })
        .await;
    space.ready("Pipeline", "home").await;
}

#[tokio::test]
async fn without_gateways_a_pipeline_says_so() {
    let tended = Tended::with("nogateway", &["gateway.enabled=false"]).await;
    let space = &tended.space;
    space.apply_file("examples/quickstart.yaml").await;
    let said = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Ready") == ("False", "NoGateway"));
    let home = space.when("Pipeline", "home", "has no gateway", said).await;
    assert!(!message(&home, "Ready").is_empty());
}
