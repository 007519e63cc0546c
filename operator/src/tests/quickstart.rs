//! The quickstart under the operator's own steps: every resource is told how it stands, once.

use serde_json::{Value, json};

use super::{
    server::Server,
    stage::{JOBS, alone, calm, start_with},
};
use crate::controllers::Steps;

const QUICKSTART: &str = include_str!("../../../examples/quickstart.yaml");

/// The path of a resource.
fn path(resource: &Value) -> String {
    let kind = resource["kind"].as_str().unwrap().to_lowercase();
    format!("apis/recmesh.dev/v1alpha1/{kind}s/shop/{}", resource["metadata"]["name"].as_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_resource_is_told_how_it_stands() {
    let server = Server::default();
    let resources: Vec<Value> =
        QUICKSTART.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap()).collect();
    for resource in &resources {
        server.put(&path(resource), resource.clone());
    }
    let operator = start_with(&server, "one", alone(), Steps::own());
    calm().await;
    // The cluster takes its Job up.
    let jobs = server.names(JOBS);
    assert_eq!(jobs.len(), 1, "only what waits for nothing is begun: {jobs:?}");
    server.edit(&format!("{JOBS}/shop/{}", jobs[0]), |job| job["status"] = json!({"active": 1}));
    calm().await;
    for resource in &resources {
        let path = path(resource);
        let told = server.get(&path).unwrap();
        assert_eq!(told["status"]["observedGeneration"], 1, "{path}: {}", told["status"]);
        assert!(told["status"]["conditions"][0]["lastTransitionTime"].is_string(), "{path}: {}", told["status"]);
        let status = format!("/{}/status", resource["metadata"]["name"].as_str().unwrap());
        let writes = server.writes().iter().filter(|one| one.asked.path.ends_with(&status)).count();
        assert!(writes <= 3, "{path}: {writes} writes");
    }
    let settled = server.writes().len();
    operator.stop().await;
    let _again = start_with(&server, "two", alone(), Steps::own());
    calm().await;
    let again: Vec<_> = server.writes().split_off(settled);
    assert!(again.is_empty(), "a new operator writes what is so already: {again:#?}");
}
