//! The definitions get into a cluster that is slow to take them, and newer ones stay.

use std::time::Duration;

use serde_json::json;

use super::server::{Fault, Server, What, pass};
use crate::{
    fence::Fence,
    install::{InstallError, install_with, remove_with},
};

const DEFINITIONS: &str = "apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const LIMIT: Duration = Duration::from_secs(60);

/// Establishes every definition after a while, as the API server does.
fn establishing(server: &Server) {
    let server = server.clone();
    tokio::spawn(async move {
        for _ in 0..100 {
            pass(Duration::from_secs(1)).await;
            for name in server.names(DEFINITIONS) {
                server.edit(&format!("{DEFINITIONS}//{name}"), |definition| {
                    definition["status"] = json!({"conditions": [{"type": "Established", "status": "True"}],
                        "acceptedNames": {"kind": "", "plural": ""}, "storedVersions": []});
                });
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn every_definition_is_applied_and_awaited() {
    let server = Server::default();
    server.fail(Fault::not_yet("PATCH", "/customresourcedefinitions/datasets", 2));
    server.fail(Fault::new("PATCH", "/customresourcedefinitions/tokenizers", 1, What::Throttle(3)));
    establishing(&server);
    let installed = install_with(server.client("cli", &Fence::open()), LIMIT).await.unwrap();
    assert_eq!(installed.len(), 7);
    assert_eq!(server.names(DEFINITIONS).len(), 7);
    let definition = server.get(&format!("{DEFINITIONS}//datasets.recmesh.dev")).unwrap();
    assert_eq!(definition["metadata"]["annotations"]["recmesh.dev/version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test(start_paused = true)]
async fn what_is_never_established_is_said() {
    let server = Server::default();
    let error = install_with(server.client("cli", &Fence::open()), LIMIT).await.unwrap_err();
    assert!(matches!(&error, InstallError::Late { what, .. } if what.contains("datasets.recmesh.dev")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_said_at_once() {
    let server = Server::default();
    server.fail(Fault::refused("/customresourcedefinitions/datasets", 1));
    let error = install_with(server.client("cli", &Fence::open()), LIMIT).await.unwrap_err();
    assert!(matches!(error, InstallError::Refused(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_newer_definition_stays() {
    let server = Server::default();
    let newer = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"annotations": {"recmesh.dev/version": "99.0.0"}},
        "spec": {"group": "recmesh.dev", "scope": "Namespaced", "names": {"kind": "Dataset", "plural": "datasets"},
            "versions": []}});
    server.put(&format!("{DEFINITIONS}//datasets.recmesh.dev"), newer);
    establishing(&server);
    let installed = install_with(server.client("cli", &Fence::open()), LIMIT).await.unwrap();
    assert_eq!(installed.iter().filter(|one| one.newer.as_deref() == Some("99.0.0")).count(), 1);
    assert!(server.writes_to("/datasets.recmesh.dev").is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_definition_is_deleted_and_what_is_gone_already_is_passed_over() {
    let server = Server::default();
    establishing(&server);
    let client = || server.client("cli", &Fence::open());
    install_with(client(), LIMIT).await.unwrap();
    let mut gone = remove_with(client(), LIMIT).await.unwrap();
    gone.sort();
    assert_eq!(gone.len(), 7);
    assert_eq!(gone[0], "datasets.recmesh.dev");
    assert!(server.names(DEFINITIONS).is_empty());
    assert!(remove_with(client(), LIMIT).await.unwrap().is_empty());
}
