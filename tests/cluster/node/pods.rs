//! Pods and their processes. In: labels. Out: which pods are ready, one deleted, one's process killed on the node.

use std::{collections::BTreeMap, process::Command, time::Duration};

use kube::{ResourceExt, api::DeleteParams, runtime::watcher};
use serde_json::Value;

use crate::harness::{Cluster, Held, Object, RELEASE, Space, condition};

/// Where the node's containerd listens; as in `tests/cluster/settings.sh`.
const CONTAINERD: &str = "/run/recmesh-node/containerd.sock";
/// How long a pod may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a pod takes requests.
pub fn ready(pod: &Object) -> bool {
    pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready").0 == "True"
}

/// Waits until `met` is true of the pods with these labels.
pub async fn when(space: &Space, labels: &str, what: &str, met: impl FnMut(&Held) -> bool) -> Held {
    space.watch("Pod", watcher::Config::default().labels(labels), what, PATIENCE, met).await
}

/// Waits until exactly `count` pods have these labels, all ready.
pub async fn all_ready(space: &Space, labels: &str, count: usize) -> Held {
    when(space, labels, &format!("{labels}: {count} are ready and no other is there"), |held| {
        held.len() == count && held.values().all(ready)
    })
    .await
}

/// Deletes one of the pods with these labels and waits until it is gone and another ready in its place.
pub async fn delete_one(space: &Space, labels: &str) {
    let before = space.list("Pod", labels).await;
    let name = chosen(space, &before).await.name_any();
    space.api("Pod").delete(&name, &DeleteParams::default()).await.unwrap();
    when(space, labels, &format!("{name} is replaced"), |held| {
        !held.contains_key(&name) && held.len() == before.len() && held.values().all(ready)
    })
    .await;
}

/// Kills the process of one of the pods with these labels, as a crash would, and waits until it is ready again.
pub async fn kill_one(space: &Space, labels: &str) {
    let before = space.list("Pod", labels).await;
    let pod = chosen(space, &before).await;
    let name = pod.name_any();
    let container = container(pod);
    let id = container["containerID"].as_str().unwrap().strip_prefix("containerd://").unwrap();
    let mut command = Command::new(Cluster::program("ctr"));
    command.args(["--address", CONTAINERD, "--namespace", "k8s.io", "task", "kill", "--signal", "SIGKILL", id]);
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let restarts = restarts(pod);
    when(space, labels, &format!("{name} has started again"), |held| {
        held.len() == before.len()
            && held.values().all(ready)
            && held.get(&name).is_some_and(|pod| self::restarts(pod) > restarts)
    })
    .await;
}

/// The pod whose loss matters most: of operators the one that leads, of others any.
async fn chosen<'a>(space: &Space, pods: &'a [Object]) -> &'a Object {
    let lease = space.get("Lease", &format!("{RELEASE}-operator")).await;
    let holder = lease.data["spec"]["holderIdentity"].as_str().unwrap_or_default();
    pods.iter().find(|pod| holder.starts_with(&pod.name_any())).unwrap_or(&pods[0])
}

/// Restarts of the pods with these labels by their names.
pub async fn lives(space: &Space, labels: &str) -> BTreeMap<String, u64> {
    space.list("Pod", labels).await.iter().map(|pod| (pod.name_any(), restarts(pod))).collect()
}

/// How often a pod's process was started again.
fn restarts(pod: &Object) -> u64 {
    container(pod)["restartCount"].as_u64().unwrap_or_default()
}

fn container(pod: &Object) -> &Value {
    &pod.data["status"]["containerStatuses"][0]
}
