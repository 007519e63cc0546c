//! What the operator makes stays as it should be: deleted by hand it comes back, changed by hand it is put right, and
//! every object has the labels, the owner and the pod security that it must have.

use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{MADE, Tended, made, others::dataset};
use crate::harness::{Object, Space, USER};

#[tokio::test]
async fn deleted_by_hand_they_come_back() {
    let tended = Tended::new("deleted").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    let before = made(space).await;
    for (kind, names) in &before {
        for name in names {
            let old = space.get(kind, name).await.uid().unwrap();
            let deleted = space.api(kind).delete(name, &DeleteParams::background()).await;
            deleted.unwrap_or_else(|e| panic!("{kind} {name}: {e}"));
            if *kind == "Job" {
                // Its work is done and told; nothing is made twice.
                space
                    .when(kind, name, "is gone", |object| object.is_none_or(|object| object.uid().unwrap() != old))
                    .await;
                continue;
            }
            let anew = |object: Option<&Object>| object.is_some_and(|object| object.uid().unwrap() != old);
            space.when(kind, name, "is made anew", anew).await;
        }
    }
    space.ready("Pipeline", "home").await;
    let mut after = made(space).await;
    let mut before = before;
    before.remove("Job");
    after.remove("Job");
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_job_deleted_while_it_runs_is_made_again() {
    let tended = Tended::new("rerun").await;
    let space = &tended.space;
    space.apply(&dataset("endless-world", 7)).await;
    let running = space.when("Dataset", "endless-world", "runs", |it| reason(it) == "JobRunning").await;
    let job = running.data["status"]["job"].as_str().unwrap().to_owned();
    let old = space.get("Job", &job).await.uid().unwrap();
    space.api("Job").delete(&job, &DeleteParams::background()).await.unwrap();
    space.when("Job", &job, "is made anew", |job| job.is_some_and(|job| job.uid().unwrap() != old)).await;
}

#[tokio::test]
async fn changed_by_hand_they_are_put_right() {
    let tended = Tended::new("changed").await;
    let space = &tended.space;
    tended.serve_quickstart().await;
    // A budget is for more than one worker.
    space.kubectl().run(&["scale", "retrievalmodel/retriever", "--replicas=2"]).good();
    let worker = "app.kubernetes.io/component=worker";
    space.when_all("PodDisruptionBudget", worker, "there is one", |held| !held.is_empty()).await;
    for (kind, patch, place) in [
        (
            "Deployment",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "evil"}]}}}}),
            "/spec/template/spec/containers/0/image",
        ),
        (
            "Deployment",
            json!({"spec": {"template": {"spec": {"automountServiceAccountToken": true}}}}),
            "/spec/template/spec/automountServiceAccountToken",
        ),
        ("Service", json!({"spec": {"selector": {"recmesh.dev/pool": "other"}}}), "/spec/selector"),
        ("ConfigMap", json!({"data": {"config.json": "{}"}}), "/data"),
        ("PodDisruptionBudget", json!({"spec": {"maxUnavailable": 7}}), "/spec/maxUnavailable"),
        (
            "Deployment",
            json!({"metadata": {"labels": {"recmesh.dev/name": "other"}}}),
            "/metadata/labels/recmesh.dev~1name",
        ),
    ] {
        let all = space.list(kind, "app.kubernetes.io/component=worker").await;
        let first = all.first().unwrap_or_else(|| panic!("no {kind} of a worker"));
        let name = first.name_any();
        let right = read(first, place);
        let hand = PatchParams { field_manager: Some(USER.into()), ..PatchParams::default() };
        let strategy = if kind == "PodDisruptionBudget" || kind == "ConfigMap" {
            Patch::Merge(&patch)
        } else {
            Patch::Strategic(&patch)
        };
        let wrong = space.api(kind).patch(&name, &hand, &strategy).await.unwrap();
        assert_ne!(read(&wrong, place), right, "{kind} {name}: the patch changed nothing at {place}");
        space.when(kind, &name, place, |object| object.is_some_and(|object| read(object, place) == right)).await;
    }
}

/// What others add to an object of ours stays there: only what is ours is put right.
#[tokio::test]
async fn what_others_add_stays() {
    let tended = Tended::new("added").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    let deployment = space.list("Deployment", "app.kubernetes.io/component=worker").await.remove(0);
    let name = deployment.name_any();
    let note = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"example.org/note": "ours"}, "labels": {"team": "search"}},
    });
    space.apply_object(note).await;
    // Something of ours is changed, so the operator writes the object once more.
    let scaled = json!({"spec": {"template": {"spec": {"enableServiceLinks": true}}}});
    let hand = PatchParams { field_manager: Some(USER.into()), ..PatchParams::default() };
    space.api("Deployment").patch(&name, &hand, &Patch::Merge(&scaled)).await.unwrap();
    let links = "/spec/template/spec/enableServiceLinks";
    let right = read(&deployment, links);
    let back = space.when("Deployment", &name, links, |it| it.is_some_and(|it| read(it, links) == right)).await;
    assert_eq!(back.annotations()["example.org/note"], "ours");
    assert_eq!(back.labels()["team"], "search");
}

#[tokio::test]
async fn edited_conditions_are_put_right() {
    let tended = Tended::new("conditions").await;
    tended.serve_quickstart().await;
    for (kind, name) in [
        ("Pipeline", "home"),
        ("Dataset", "world"),
        ("Tokenizer", "ids"),
        ("RetrievalModel", "retriever"),
        ("RankingModel", "ranker"),
        ("TrainingJob", "train-ranker"),
        ("EvaluationJob", "popular-test"),
    ] {
        let edit = |status: &mut Value| {
            status["conditions"][0]["status"] = json!("False");
            status["conditions"][0]["message"] = json!("edited");
        };
        edit_status(&tended.space, kind, name, edit).await;
    }
}

/// What was made is known by the job that made it, not by whoever writes a status.
#[tokio::test]
async fn an_edited_version_is_put_right() {
    let tended = Tended::new("version").await;
    tended.serve_quickstart().await;
    let edit = |status: &mut Value| status["version"] = json!("000000000000");
    edit_status(&tended.space, "EvaluationJob", "popular-test", edit).await;
    edit_status(&tended.space, "Dataset", "world", edit).await;
    tended.space.ready("Pipeline", "home").await;
}

/// Edits a status and waits until it is as it was.
async fn edit_status(space: &Space, kind: &str, name: &str, edit: impl Fn(&mut Value)) {
    let right = space.get(kind, name).await;
    let mut wrong = right.clone();
    edit(&mut wrong.data["status"]);
    space.api(kind).replace_subresource("status", name, &PostParams::default(), &wrong).await.unwrap();
    let wanted = without_times(&right.data["status"]);
    let same = |it: Option<&Object>| it.is_some_and(|it| without_times(&it.data["status"]) == wanted);
    space.when(kind, name, "status is put right", same).await;
}

#[tokio::test]
async fn everything_made_is_labelled_owned_and_restricted() {
    let tended = Tended::new("owned").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    for kind in MADE {
        for object in space.list(kind, "app.kubernetes.io/managed-by=recmesh-operator").await {
            let what = format!("{kind} {}", object.name_any());
            for label in
                ["app.kubernetes.io/name", "app.kubernetes.io/component", "recmesh.dev/kind", "recmesh.dev/name"]
            {
                assert!(object.labels().contains_key(label), "{what} has no label {label}");
            }
            let owner = &object.owner_references()[0];
            assert_eq!((owner.controller, owner.api_version.as_str()), (Some(true), "recmesh.dev/v1alpha1"), "{what}");
            assert_eq!(owner.kind, object.labels()["recmesh.dev/kind"], "{what}");
            assert_eq!(owner.name, object.labels()["recmesh.dev/name"], "{what}");
            let managers: Vec<&str> =
                object.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
            assert!(managers.contains(&"recmesh-operator"), "{what}: {managers:?}");
        }
    }
    // The API server itself judges: with enforcement on the namespace, pods like ours are still admitted.
    space.kubectl().run(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"]).good();
    for pod in space.list("Pod", "recmesh.dev/name").await {
        let mut copy =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"}, "spec": pod.data["spec"]});
        copy["spec"].as_object_mut().unwrap().remove("nodeName");
        let text = serde_yaml::to_string(&copy).unwrap();
        space.kubectl().feed(&["create", "--dry-run=server", "-f", "-"], &text).good();
        let spec = &pod.data["spec"];
        assert_eq!(spec["automountServiceAccountToken"], json!(false), "{}", pod.name_any());
        for container in spec["containers"].as_array().unwrap() {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], json!(true), "{}", pod.name_any());
        }
    }
}

fn reason(object: Option<&Object>) -> String {
    let conditions = object.and_then(|object| object.data.pointer("/status/conditions")).and_then(Value::as_array);
    let first = conditions.and_then(|conditions| conditions.first());
    first.and_then(|condition| condition["reason"].as_str()).unwrap_or_default().to_owned()
}

/// A field of an object, its metadata included.
fn read(object: &Object, place: &str) -> Value {
    let whole = serde_json::to_value(object).unwrap();
    whole.pointer(place).cloned().unwrap_or(Value::Null)
}

/// A status without the moments at which its conditions came.
fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    status
}
