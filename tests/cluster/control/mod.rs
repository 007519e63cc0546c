//! The operator on a real API server, where pods only seem to run: objects, status, order, what is left behind.
//!
//! Every test has a namespace, an operator with the chart's rights for it, and a stand-in gateway of its own.

use std::collections::BTreeMap;

use crate::harness::{Gateway, Object, Process, Release, Space, is};

mod children;
pub mod others;
mod quickstart;
mod rollouts;

/// A namespace that is looked after.
pub struct Tended {
    /// What answers `/routes`.
    pub gateway: Gateway,
    /// The chart's rights and settings.
    pub release: Release,
    /// The operator, while there is one.
    pub operator: Option<Process>,
    /// The namespace; dropped last, so that nothing of ours still acts in it.
    pub space: Space,
}

impl Tended {
    /// A namespace with an operator that has just been started.
    pub async fn new(label: &str) -> Self {
        Self::with(label, &[]).await
    }

    /// The same with values of the chart.
    pub async fn with(label: &str, values: &[&str]) -> Self {
        let mut tended = Self::untended(label, values).await;
        tended.operator = Some(tended.release.start(&tended.space, "operator"));
        tended
    }

    /// The same before there is an operator.
    pub async fn untended(label: &str, values: &[&str]) -> Self {
        let space = Space::new(label).await;
        space.claim("recmesh-store", "/var/empty").await;
        let release = Release::new(&space, values).await;
        let gateway = Gateway::start(&space).await;
        Self { gateway, release, operator: None, space }
    }

    /// Applies the quickstart and waits until it serves.
    pub async fn serve_quickstart(&self) {
        self.space.apply_file("examples/quickstart.yaml").await;
        self.space.ready("Pipeline", "home").await;
    }
}

/// The condition that sums a kind up: what serves is ready, what runs once is complete.
pub fn sum(kind: &str) -> &'static str {
    if kind.ends_with("Job") { "Complete" } else { "Ready" }
}

/// Whether an object is where it should end, for its newest generation.
pub fn settled(kind: &str, object: &Object) -> bool {
    is(object, sum(kind), "True")
}

/// Kinds of objects that the operator makes.
pub const MADE: [&str; 6] = ["Job", "Deployment", "StatefulSet", "Service", "ConfigMap", "PodDisruptionBudget"];

/// What the operator has made in a namespace: names by kind.
pub async fn made(space: &Space) -> BTreeMap<&'static str, Vec<String>> {
    let mut found = BTreeMap::new();
    for kind in MADE {
        let objects = space.list(kind, "app.kubernetes.io/managed-by=recmesh-operator").await;
        found.insert(kind, objects.into_iter().filter_map(|object| object.metadata.name).collect());
    }
    found
}
