//! A stage for scenarios: an API server and operators over it.

use std::time::Duration;

use recmesh_telemetry::Telemetry;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    server::{Server, pass},
    steps,
};
use crate::{Operator, OperatorConfig, controllers::Steps, fence::Fence};

/// Where data sets are kept.
pub const DATASETS: &str = "apis/recmesh.dev/v1alpha1/datasets";
/// Where Jobs are kept.
pub const JOBS: &str = "apis/batch/v1/jobs";

/// A running operator.
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// What it tells.
    pub telemetry: Telemetry,
}

impl Running {
    /// Asks it to stop and waits for its end.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Ends it as a crash does: nothing is released.
    pub fn crash(self) {
        self.task.abort();
    }
}

/// Settings of a replica that acts alone.
pub fn alone() -> OperatorConfig {
    OperatorConfig::parse("{image: {reference: image}, store: {claim: store}, leaderElection: {enabled: false}}")
        .unwrap()
}

/// Settings of replicas that agree on one.
pub fn elected() -> OperatorConfig {
    OperatorConfig::parse("{image: {reference: image}, store: {claim: store}}").unwrap()
}

/// Starts an operator with the steps of the scenarios.
pub fn start(server: &Server, name: &str, config: OperatorConfig) -> Running {
    start_with(server, name, config, steps::steps())
}

/// Starts an operator.
pub fn start_with(server: &Server, name: &str, config: OperatorConfig, steps: Steps) -> Running {
    let telemetry = Telemetry::new();
    let fence = if config.leader_election.enabled { Fence::shut() } else { Fence::open() };
    let client = server.client(name, &fence);
    let lease = server.client(&format!("{name} lease"), &Fence::open());
    let operator = Operator::new(config, name, client, fence, &telemetry, steps);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        operator
            .run(lease, async {
                let _ = stopped.await;
            })
            .await;
    });
    Running { stop: Some(stop), task, telemetry }
}

/// Puts a data set there.
pub fn declare(server: &Server, name: &str) {
    server.put(&format!("{DATASETS}/shop/{name}"), dataset());
}

/// A data set as users write it.
pub fn dataset() -> Value {
    json!({"apiVersion": "recmesh.dev/v1alpha1", "kind": "Dataset", "metadata": {},
        "spec": {"source": {"planted": {"users": 10, "items": 5, "length": 5, "buckets": 2, "transition": 0.5, "seed": 1}},
            "split": {"leaveOneOut": {}}}})
}

/// The condition of a data set.
pub fn ready(server: &Server, name: &str) -> Value {
    let dataset = server.get(&format!("{DATASETS}/shop/{name}")).unwrap();
    dataset["status"]["conditions"].as_array().and_then(|all| all.first()).cloned().unwrap_or_default()
}

/// Lets a Job succeed.
pub fn finish(server: &Server, name: &str) {
    server.edit(&format!("{JOBS}/shop/job-{name}"), |job| job["status"] = json!({"succeeded": 1}));
}

/// Time enough for everything that is not failing.
pub async fn calm() {
    pass(Duration::from_secs(1)).await;
}
