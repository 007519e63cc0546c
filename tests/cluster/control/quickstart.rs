//! From `kubectl apply` of the quickstart to ready, in the order of reference; and nothing left after `kubectl delete`.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{ResourceExt, runtime::watcher};

use super::{Tended, made, settled, sum};
use crate::harness::{Cluster, documents};

/// Who must be ready before whom: a resource and what it is made from or serves with.
const ORDER: [(&str, &str); 12] = [
    ("Dataset/world", "Tokenizer/ids"),
    ("Tokenizer/ids", "TrainingJob/train-retriever"),
    ("Dataset/world", "TrainingJob/train-ranker"),
    ("Dataset/world", "TrainingJob/train-baseline"),
    ("TrainingJob/train-retriever", "RetrievalModel/retriever"),
    ("TrainingJob/train-ranker", "RankingModel/ranker"),
    ("TrainingJob/train-baseline", "EvaluationJob/baseline-test"),
    ("TrainingJob/train-retriever", "EvaluationJob/retriever-test"),
    ("Dataset/world", "RetrievalModel/popular"),
    ("RetrievalModel/retriever", "Pipeline/home"),
    ("RankingModel/ranker", "Pipeline/home"),
    ("RetrievalModel/popular", "Pipeline/home"),
];

#[tokio::test]
async fn becomes_ready_in_the_order_of_reference() {
    let tended = Tended::new("order").await;
    let space = &tended.space;
    let moments: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    space.apply_file("examples/quickstart.yaml").await;
    let manifests = documents(&fs::read_to_string(Cluster::file("examples/quickstart.yaml")).unwrap());
    let kinds: Vec<&str> = crate::harness::OURS.to_vec();
    for kind in kinds {
        let count = manifests.iter().filter(|manifest| manifest["kind"] == kind).count();
        let all = watcher::Config::default();
        let held = space
            .watch(kind, all, "all settle", Duration::from_secs(120), |held| {
                held.len() == count && held.values().all(|object| settled(kind, object))
            })
            .await;
        for object in held.values() {
            let conditions = object.data["status"]["conditions"].as_array().unwrap();
            let condition = conditions.iter().find(|condition| condition["type"] == sum(kind)).unwrap();
            let since = condition["lastTransitionTime"].as_str().unwrap().to_owned();
            moments.lock().unwrap().insert(format!("{kind}/{}", object.name_any()), since);
        }
    }
    let moments = moments.lock().unwrap();
    for (first, second) in ORDER {
        assert!(moments[first] <= moments[second], "{second} before {first}: {moments:#?}");
    }
}

#[tokio::test]
async fn kubectl_waits_and_shows() {
    let tended = Tended::new("wait").await;
    let space = &tended.space;
    let file = Cluster::file("examples/quickstart.yaml");
    space.kubectl().run(&["apply", "-f", file.to_str().unwrap()]).good();
    space.kubectl().run(&["wait", "--for=condition=Ready", "pipeline/home", "--timeout=120s"]).good();
    space.kubectl().run(&["wait", "--for=condition=Complete", "trainingjob", "--all", "--timeout=60s"]).good();
    let table = space.kubectl().run(&["get", "pipeline", "home"]).good().out;
    assert!(table.contains("True") && table.contains("home@"), "{table}");
}

#[tokio::test]
async fn kubectl_delete_leaves_nothing_behind() {
    let tended = Tended::new("delete").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    assert!(made(space).await.values().any(|names| !names.is_empty()));
    let file = Cluster::file("examples/quickstart.yaml");
    space.kubectl().run(&["delete", "-f", file.to_str().unwrap(), "--timeout=60s"]).good();
    for kind in super::MADE.into_iter().chain(["ReplicaSet", "Pod", "EndpointSlice"]) {
        let ours = match kind {
            "Pod" | "ReplicaSet" | "EndpointSlice" => "recmesh.dev/name",
            _ => "app.kubernetes.io/managed-by=recmesh-operator",
        };
        space.when_all(kind, ours, "all are gone", |held| held.is_empty()).await;
    }
    for kind in crate::harness::OURS {
        assert!(space.list(kind, "").await.is_empty(), "{kind}");
    }
}
