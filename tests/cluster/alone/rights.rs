//! The chart's rights are enough and none is too many. In: an operator that does all it can do, with exactly these
//! rights. Out: from the audit log, what it was refused and which right it never used.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    control::Tended,
    harness::{Audit, Entry, Object, condition, rights},
};

/// Rights that the audit log cannot show.
const UNSEEN: [(&str, &str); 8] = [
    // Watches begin with a streamed list; an API server that does not stream is asked for a list.
    ("", " list"),
    // A resource is read by itself only when it cannot be decoded, which `definitions` shows.
    ("recmesh.dev/datasets", " get"),
    ("recmesh.dev/tokenizers", " get"),
    ("recmesh.dev/retrievalmodels", " get"),
    ("recmesh.dev/rankingmodels", " get"),
    ("recmesh.dev/trainingjobs", " get"),
    ("recmesh.dev/evaluationjobs", " get"),
    ("recmesh.dev/pipelines", " get"),
];

/// `group/resource verb` for everything that the operator's roles allow.
fn granted(objects: &[Value]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for role in objects.iter().filter(|object| object["kind"] == "Role") {
        if !role["metadata"]["name"].as_str().unwrap().contains("-operator") {
            continue;
        }
        for rule in role["rules"].as_array().unwrap() {
            let words = |field: &str| -> Vec<String> {
                let list = rule[field].as_array().unwrap_or_else(|| panic!("{rule}"));
                list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
            };
            for group in words("apiGroups") {
                for resource in words("resources") {
                    all.extend(words("verbs").iter().map(|verb| format!("{group}/{resource} {verb}")));
                }
            }
        }
    }
    assert!(all.len() > 50 && !all.iter().any(|right| right.contains('*')), "{all:#?}");
    all
}

/// Everything that the operator can be asked to do.
async fn everything(tended: &Tended) {
    let space = &tended.space;
    tended.serve_quickstart().await;
    let patch = |kind: &str, name: &str, patch: &str| {
        space.kubectl().run(&["patch", kind, name, "--type=merge", "--patch", patch]).good();
    };
    let serves_another = async |former: &Value| {
        let met = |it: Option<&Object>| {
            it.is_some_and(|it| it.data["status"]["release"]["name"] != *former && condition(it, "Ready").0 == "True")
        };
        space.when("Pipeline", "home", "serves another release", met).await.data["status"]["release"]["name"].clone()
    };
    // More than one worker, stable names, an autoscaler; then a new version, so that all of them go; then none of it.
    patch("retrievalmodel", "retriever", r#"{"spec":{"replicas":2,"affinity":"user"}}"#);
    patch(
        "rankingmodel",
        "ranker",
        r#"{"spec":{"replicas":2,"autoscaling":{"maxReplicas":3,"metric":{"cpu":{"percent":60}}}}}"#,
    );
    space.when_all("StatefulSet", "", "there is one", |held| held.len() == 1).await;
    space.when_all("HorizontalPodAutoscaler", "", "there is one", |held| held.len() == 1).await;
    space
        .when_all("PodDisruptionBudget", "app.kubernetes.io/component=worker", "there are", |held| held.len() == 2)
        .await;
    let first = space.ready("Pipeline", "home").await.data["status"]["release"]["name"].clone();
    patch("dataset", "world", r#"{"spec":{"source":{"planted":{"seed":9}}}}"#);
    serves_another(&first).await;
    patch("retrievalmodel", "retriever", r#"{"spec":{"replicas":1,"affinity":"none"}}"#);
    patch("rankingmodel", "ranker", r#"{"spec":{"replicas":1,"autoscaling":null}}"#);
    for kind in ["StatefulSet", "HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        space.when_all(kind, "app.kubernetes.io/managed-by=recmesh-operator", "are gone", |held| held.is_empty()).await;
    }
    // A route that nobody needs any more.
    patch("pipeline", "home", r#"{"spec":{"rank":null,"weights":null}}"#);
    space.ready("Pipeline", "home").await;
    patch("dataset", "world", r#"{"spec":{"source":{"planted":{"seed":10}}}}"#);
    space.ready("Pipeline", "home").await;
}

#[tokio::test]
async fn the_operators_rights_are_enough_and_none_is_unused() {
    let audit = Audit::begin();
    let mut tended = Tended::new("rights").await;
    everything(&tended).await;
    // Watches are written down when they begin; the rest at the answer. A stop releases the lease.
    assert!(tended.operator.take().unwrap().stop().success());
    let entries: Vec<Entry> = audit.of(&tended.space.cluster, &tended.release.operator().user).await;
    let (used, refused) = rights(&entries);
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let granted = granted(tended.release.objects());
    let beyond: Vec<_> = used.difference(&granted).filter(|right| !right.starts_with('/') || right.len() > 3).collect();
    let unused: Vec<_> = granted
        .difference(&used)
        .filter(|right| !UNSEEN.iter().any(|(part, verb)| right.ends_with(&format!("{part}{verb}"))))
        .collect();
    println!("measured: {} rights granted, {} used", granted.len(), used.intersection(&granted).count());
    assert!(unused.is_empty(), "never used: {unused:#?}; used beyond the roles: {beyond:#?}");
}
