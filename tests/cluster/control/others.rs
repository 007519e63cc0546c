//! Others at work in the same cluster: a second manager of a resource, a namespace that is being deleted, references
//! that come late, jobs that fail or wait.

use std::time::Duration;

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use serde_json::json;

use super::{Tended, made};
use crate::harness::{Audit, Held, Object, USER, condition};

/// Server-side apply by two people: each owns what they wrote, a conflict says who, and the operator acts on the whole.
#[tokio::test]
async fn a_second_manager_may_share_a_resource() {
    let tended = Tended::new("shared").await;
    let space = &tended.space;
    space.apply(&dataset("world", 7)).await;
    space.ready("Dataset", "world").await;
    let theirs = json!({
        "apiVersion": "recmesh.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": "world"},
        "spec": {"source": {"planted": {"seed": 8}}},
    });
    let second = PatchParams::apply("second");
    let refused = space.api("Dataset").patch("world", &second, &Patch::Apply(&theirs)).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains(USER) && said.contains("seed"), "{said}");
    let before = space.get("Dataset", "world").await.data["status"]["version"].clone();
    space.api("Dataset").patch("world", &second.force(), &Patch::Apply(&theirs)).await.unwrap();
    let after = space.ready("Dataset", "world").await;
    assert_ne!(after.data["status"]["version"], before, "what the second manager wrote makes another version");
    let managers: Vec<_> = after.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
    for manager in [USER, "second", "recmesh-operator"] {
        assert!(managers.iter().any(|it| it == manager), "{managers:?}");
    }
    // The operator owns nothing but the status.
    for entry in after.managed_fields().iter().filter(|entry| entry.manager.as_deref() == Some("recmesh-operator")) {
        assert_eq!(entry.subresource.as_deref(), Some("status"), "{entry:?}");
    }
}

#[tokio::test]
async fn a_namespace_that_is_deleted_goes_with_everything_in_it() {
    let mut tended = Tended::new("leaving").await;
    tended.serve_quickstart().await;
    let audit = Audit::begin();
    let space = &tended.space;
    let rights = space.kubectl();
    rights.run(&["delete", "namespace", &space.name, "--timeout=60s"]).good();
    let operator = tended.operator.as_mut().unwrap();
    operator.assert_alive();
    // While a namespace ends nothing can be made in it; whoever tries again and again is heard of here.
    let tried = audit.of(&space.cluster, &tended.release.operator().user).await;
    let refused = tried.iter().filter(|entry| entry.writes() && !entry.done()).count();
    assert!(refused <= 150, "{refused} writes were refused while the namespace was deleted");
    let log = operator.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn a_reference_may_come_late() {
    let tended = Tended::new("late").await;
    let space = &tended.space;
    let tokenizer = "apiVersion: recmesh.dev/v1alpha1\nkind: Tokenizer\nmetadata: {name: ids}\n\
                     spec: {datasetRef: {name: world}, algorithm: {atomic: {}}}\n";
    space.apply(tokenizer).await;
    let missing = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Ready") == ("False", "ReferenceMissing"));
    let waiting = space.when("Tokenizer", "ids", "its data set is missing", missing).await;
    assert!(message(&waiting, "Ready").contains("world"), "{}", message(&waiting, "Ready"));
    space.apply(&dataset("world", 7)).await;
    space.ready("Tokenizer", "ids").await;
}

#[tokio::test]
async fn a_failing_job_says_why_and_the_next_specification_gets_another() {
    let tended = Tended::new("failing").await;
    let space = &tended.space;
    space.apply(&dataset("failing-world", 7)).await;
    let failed = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Ready") == ("False", "JobFailed"));
    // The Job controller tries three times more, with growing pauses.
    let named = watcher::Config::default().fields("metadata.name=failing-world");
    let met = |held: &Held| failed(held.get("failing-world"));
    let mut held = space.watch("Dataset", named, "has failed", Duration::from_secs(200), met).await;
    let told = held.remove("failing-world").unwrap();
    assert!(message(&told, "Ready").contains("name the column of users"), "{}", message(&told, "Ready"));
    let events = space.list("Event", "").await;
    let said = events.iter().any(|event| event.data["reason"] == "JobFailed" && event.data["type"] == "Warning");
    assert!(said, "no event says that the job has failed");
}

#[tokio::test]
async fn a_changed_data_set_makes_everything_after_it_anew() {
    let tended = Tended::new("anew").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    let release = space.get("Pipeline", "home").await.data["status"]["release"]["name"].clone();
    let old = made(space).await;
    space
        .kubectl()
        .run(&["patch", "dataset", "world", "--type=merge", "--patch", r#"{"spec":{"source":{"planted":{"seed":9}}}}"#])
        .good();
    let other = |it: Option<&Object>| {
        it.is_some_and(|it| it.data["status"]["release"]["name"] != release && condition(it, "Ready").0 == "True")
    };
    space.when("Pipeline", "home", "serves another release", other).await;
    // What belongs to the former release goes, nothing else stays.
    for kind in ["Deployment", "Service", "PodDisruptionBudget"] {
        let count = old[kind].len();
        let names = old[kind].clone();
        space
            .when_all(kind, "app.kubernetes.io/component=worker", "the old are gone", |held| {
                held.len() == count && names.iter().all(|name| !held.contains_key(name))
            })
            .await;
    }
}

#[tokio::test]
async fn a_suspended_training_waits_and_goes_on() {
    let tended = Tended::new("suspended").await;
    let space = &tended.space;
    space.apply(&dataset("world", 7)).await;
    space.apply(&model("counted", "sasRec: {dim: 8, blocks: 1}")).await;
    space.apply(&training("train", "counted", true)).await;
    let suspended = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Complete") == ("False", "Suspended"));
    space.when("TrainingJob", "train", "is suspended", suspended).await;
    space.apply(&training("train", "counted", false)).await;
    space.condition("TrainingJob", "train", "Complete", "True").await;
    space.ready("RetrievalModel", "counted").await;
}

/// A data set without files.
pub fn dataset(name: &str, seed: u32) -> String {
    format!(
        "apiVersion: recmesh.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: {name}}}\n\
         spec: {{source: {{planted: {{users: 100, items: 50, seed: {seed}}}}}}}\n"
    )
}

/// A retrieval model over the data set `world`.
pub fn model(name: &str, algorithm: &str) -> String {
    format!(
        "apiVersion: recmesh.dev/v1alpha1\nkind: RetrievalModel\nmetadata: {{name: {name}}}\n\
         spec: {{datasetRef: {{name: world}}, algorithm: {{{algorithm}}}}}\n"
    )
}

/// A training job of a retrieval model.
pub fn training(name: &str, model: &str, suspend: bool) -> String {
    format!(
        "apiVersion: recmesh.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}}}\n\
         spec: {{modelRef: {{kind: RetrievalModel, name: {model}}}, epochs: 1, suspend: {suspend}}}\n"
    )
}

/// A condition's message.
pub fn message(object: &Object, of: &str) -> String {
    let conditions = object.data.pointer("/status/conditions").and_then(|list| list.as_array());
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == of);
    found.and_then(|condition| condition["message"].as_str()).unwrap_or_default().to_owned()
}
