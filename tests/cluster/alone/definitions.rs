//! Definitions that change under a running operator: a newer one with more fields, and one that lets in what this
//! operator cannot read.

use std::fs;

use serde_json::{Value, json};

use crate::{
    control::{Tended, others::dataset},
    harness::{Cluster, Kubectl, Object, condition, documents},
};

/// Puts the definitions back, whatever the test did.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let folder = Cluster::file("crds/yaml");
        let words = ["apply", "--server-side", "--force-conflicts", "-f", folder.to_str().unwrap()];
        Kubectl::current().run(&words).good();
    }
}

/// The definition of data sets with a change to its schema, applied.
fn change(how: impl FnOnce(&mut Value)) {
    let text = fs::read_to_string(Cluster::file("crds/yaml/datasets.yaml")).unwrap();
    let mut definition = documents(&text).remove(0);
    how(definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap());
    let text = serde_yaml::to_string(&definition).unwrap();
    Kubectl::current().feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &text).good();
}

/// Applies a manifest as soon as the changed definition is in force, which it is a moment after it is stored. The
/// question's own round trip is the pace.
fn apply_when_in_force(kubectl: &Kubectl, manifest: &str) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let told = kubectl.feed(&["apply", "--server-side", "-f", "-"], manifest);
        if told.code == Some(0) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{}", told.err);
    }
}

#[tokio::test]
async fn a_newer_definition_under_a_running_operator() {
    let _restored = Restored;
    let mut tended = Tended::new("newer").await;
    tended.serve_quickstart().await;
    let space = &tended.space;
    change(|spec| spec["flavour"] = json!({"type": "string", "description": "Of a later version."}));
    let flavoured = "apiVersion: recmesh.dev/v1alpha1\nkind: Dataset\nmetadata: {name: later}\n\
                     spec: {flavour: vanilla, source: {planted: {users: 100, items: 50}}}\n";
    apply_when_in_force(&space.kubectl(), flavoured);
    let later = space.ready("Dataset", "later").await;
    assert_eq!(later.data["spec"]["flavour"], "vanilla", "what the operator does not know it leaves alone");
    // It is still at work everywhere else.
    space.apply(&dataset("other", 7)).await;
    space.ready("Dataset", "other").await;
    space.ready("Pipeline", "home").await;
    tended.operator.as_mut().unwrap().assert_alive();
}

#[tokio::test]
async fn a_resource_that_cannot_be_read_stops_no_other() {
    let _restored = Restored;
    let mut tended = Tended::new("unreadable").await;
    let space = &tended.space;
    change(|spec| {
        let users = spec.pointer_mut("/source/properties/planted/properties/users").unwrap();
        *users = json!({"description": "Anything.", "x-kubernetes-preserve-unknown-fields": true});
    });
    let strange = "apiVersion: recmesh.dev/v1alpha1\nkind: Dataset\nmetadata: {name: strange}\n\
                   spec: {source: {planted: {users: many, items: 50}}}\n";
    apply_when_in_force(&space.kubectl(), strange);
    let unreadable = |it: Option<&Object>| it.is_some_and(|it| condition(it, "Ready") == ("False", "Unreadable"));
    space.when("Dataset", "strange", "is said to be unreadable", unreadable).await;
    space.apply(&dataset("world", 7)).await;
    space.ready("Dataset", "world").await;
    tended.operator.as_mut().unwrap().assert_alive();
}
