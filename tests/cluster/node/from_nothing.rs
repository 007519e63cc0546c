//! The documentation's way from nothing to an answer, and back to nothing.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use kube::{ResourceExt, runtime::watcher};
use serde_json::json;

use super::{
    client::Client,
    installation::{GATEWAYS, Installation, OPERATORS, PATIENCE, release},
    pods,
};
use crate::{
    control::{settled, sum},
    harness::{Cluster, OURS, RELEASE, documents},
};

const QUICKSTART: &str = "examples/quickstart.yaml";

/// Who must be ready before whom.
const ORDER: [(&str, &str); 8] = [
    ("Dataset/world", "Tokenizer/ids"),
    ("Tokenizer/ids", "TrainingJob/train-retriever"),
    ("Dataset/world", "TrainingJob/train-ranker"),
    ("TrainingJob/train-retriever", "RetrievalModel/retriever"),
    ("TrainingJob/train-ranker", "RankingModel/ranker"),
    ("RetrievalModel/retriever", "Pipeline/home"),
    ("RankingModel/ranker", "Pipeline/home"),
    ("RetrievalModel/popular", "Pipeline/home"),
];

#[tokio::test(flavor = "multi_thread")]
async fn to_an_answer_and_back() {
    let it = Installation::none().await;
    let space = &it.space;
    let began = Instant::now();
    it.install().good();
    let installed = began.elapsed();
    pods::all_ready(space, OPERATORS, 2).await;
    pods::all_ready(space, GATEWAYS, 2).await;

    let file = Cluster::file(QUICKSTART);
    let file = file.to_str().unwrap();
    let applied = Instant::now();
    space.kubectl().run(&["apply", "-f", file]).good();
    space.kubectl().run(&["wait", "--for=condition=Ready", "pipeline/home", "--timeout=10m"]).good();
    let mut client = Client::new(it.address().await);
    let answer = client.recommend(&json!({"user": "u42", "k": 10})).unwrap();
    let answered = applied.elapsed();
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["items"].as_array().unwrap().len(), 10, "{body}");
    let home = space.get("Pipeline", "home").await;
    assert_eq!(body["release"]["name"], release(&home), "the release that the status tells");
    println!(
        "\nmeasured: helm install --wait {:.1} s; from kubectl apply of {QUICKSTART} to the first recommendation {:.1} s; \
         from helm install to it {:.1} s",
        installed.as_secs_f64(),
        answered.as_secs_f64(),
        (began.elapsed()).as_secs_f64(),
    );

    let moments = all_settle(&it).await;
    for (first, second) in ORDER {
        assert!(moments[first] <= moments[second], "{second} before {first}: {moments:#?}");
    }
    for (resource, moment) in &moments {
        println!("measured: {resource} settled at {moment}");
    }
    println!("measured: everything settled {:.1} s after kubectl apply", applied.elapsed().as_secs_f64());
    println!("{}", space.kubectl().run(&["get", "recmesh"]).good().out);
    println!("{}", it.helm(&["test", RELEASE, "--timeout", "2m"]).good().out);

    let began = Instant::now();
    space.kubectl().run(&["delete", "-f", file, "--timeout=60s"]).good();
    pods::when(space, "recmesh.dev/name", "all pods of jobs and workers are gone", |held| held.is_empty()).await;
    let deleted = began.elapsed();
    it.helm(&["uninstall", RELEASE, "--wait", "--timeout", "2m"]).good();
    println!(
        "measured: kubectl delete and the end of all pods {:.1} s, helm uninstall {:.1} s",
        deleted.as_secs_f64(),
        (began.elapsed() - deleted).as_secs_f64(),
    );
    nothing_is_left(&it).await;
}

/// Waits until every resource of the quickstart is where it should end; when each got there.
async fn all_settle(it: &Installation) -> BTreeMap<String, String> {
    let manifests = documents(&fs::read_to_string(Cluster::file(QUICKSTART)).unwrap());
    let mut moments = BTreeMap::new();
    for kind in OURS {
        let count = manifests.iter().filter(|manifest| manifest["kind"] == kind).count();
        let held = it
            .space
            .watch(kind, watcher::Config::default(), "all settle", PATIENCE, |held| {
                held.len() == count && held.values().all(|object| settled(kind, object))
            })
            .await;
        for object in held.values() {
            let conditions = object.data["status"]["conditions"].as_array().unwrap();
            let condition = conditions.iter().find(|condition| condition["type"] == sum(kind)).unwrap();
            let since = condition["lastTransitionTime"].as_str().unwrap().to_owned();
            moments.insert(format!("{kind}/{}", object.name_any()), since);
        }
    }
    moments
}

/// Nothing is left in the namespace but what Kubernetes itself and the test put there; nothing of ours over the cluster
/// but definitions, which stay by the chart's default; and the artifacts.
async fn nothing_is_left(it: &Installation) {
    let kubectl = it.space.kubectl();
    let kinds = kubectl.run(&["api-resources", "--namespaced", "--verbs=list,delete", "-o", "name"]).good().out;
    let left = |line: &&str| {
        let theirs = ["configmap/kube-root-ca.crt", "serviceaccount/default", "persistentvolumeclaim/recmesh-store"];
        // What happened is history, which the cluster forgets by itself.
        !line.is_empty() && !theirs.contains(line) && !line.starts_with("event")
    };
    let mut gone = false;
    // Endpoints and their slices, tokens and replica sets follow their owners a moment later; asking is the pace.
    let until = Instant::now() + Duration::from_secs(60);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let mut there = String::new();
    while !gone && Instant::now() < until {
        there = kubectl.run(&["get", &kinds.join(","), "-o", "name", "--ignore-not-found"]).good().out;
        gone = !there.lines().any(|line| left(&line));
    }
    assert!(gone, "left in the namespace: {:#?}", there.lines().filter(left).collect::<Vec<_>>());
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let there = kubectl.run(&["get", kinds, "-o", "name"]).good().out;
    let ours: Vec<&str> = there.lines().filter(|line| line.contains("recmesh")).collect();
    assert!(ours.is_empty(), "left over the cluster: {ours:?}");
    let kept = kubectl.run(&["get", "crds", "-o", "name"]).good().out;
    assert_eq!(kept.lines().filter(|line| line.ends_with(".recmesh.dev")).count(), OURS.len(), "{kept}");
    let folder = it.volume_folder().join("retrieval-models/retriever");
    assert!(fs::read_dir(&folder).unwrap().next().is_some(), "{} is empty", folder.display());
}
