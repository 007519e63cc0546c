//! How a resource's pods run in a cluster, and what the operator tells workers and gateways.
//!
//! In: what resources declare; what the operator has decided. Out: the shapes of both. Local mode runs everything in
//! one process and reads nothing of this page.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PoolConfig, Route};
use crate::{
    Name, Version,
    schema::{is_default, one_arm},
};

/// Pods of a resource, its jobs' and its workers': what they ask of a node and which nodes they may run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodParams {
    /// What a pod is promised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: Amounts,
    /// What a pod may use at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Amounts,
    /// Devices of a device plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// Devices of dynamic resource allocation, passed through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub claims: Vec<DeviceClaim>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a node may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// The pods' priority class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// Amounts of processor time and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// Cores: `2`, `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes: `4Gi`, `512Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// An amount as Kubernetes writes it; the API server checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "isQuantity(self)", "message": "write a number with an optional unit, such as 2, 500m or 4Gi"}
]))]
pub struct Quantity(
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9.]+([eE][0-9]+|[numkMGTPE]|[KMGTPE]i)?$"))] pub String,
);

/// Devices of a device plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// How many devices a pod gets.
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
    /// The device plugin's resource: `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`.
    #[serde(default = "defaults::gpu_resource")]
    #[schemars(length(min = 3, max = 253))]
    pub resource: String,
}

/// A claim on devices of dynamic resource allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceClaim {
    /// The claim's name within the pod.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Where the claim comes from.
    pub source: ClaimSource,
}

/// Where a claim on devices comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum ClaimSource {
    /// A claim of its own for each pod, made from a `ResourceClaimTemplate`.
    Template(NamedClaim),
    /// One `ResourceClaim` that all pods share.
    Claim(NamedClaim),
}

/// The name of a claim or template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedClaim {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A taint that is tolerated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.value) || has(self.key)", "message": "a value needs the key of its taint: add key, or leave value out"}
]))]
pub struct Toleration {
    /// The taint's key; without it every taint is tolerated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub key: Option<String>,
    /// The taint's value; without it every value is tolerated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// The taint's effect; without it every effect is tolerated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// They are not put there.
    NoSchedule,
    /// They are put there last.
    PreferNoSchedule,
    /// They are sent away.
    NoExecute,
}

/// How many workers serve a resource, and how a new version takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingParams {
    /// Worker pods of each pool; an autoscaler writes it through the scale subresource.
    #[serde(default = "defaults::replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: u32,
    /// Who changes `replicas` with the load; nobody without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How a new version takes over.
    #[serde(default)]
    pub rollout: Rollout,
    /// Which worker answers whom.
    #[serde(default)]
    pub affinity: Affinity,
}

impl Default for ServingParams {
    fn default() -> Self {
        Self {
            replicas: defaults::replicas(),
            autoscaling: None,
            rollout: Rollout::default(),
            affinity: Affinity::default(),
        }
    }
}

/// Bounds of an autoscaler and what it looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.minReplicas <= self.maxReplicas", "message": "minReplicas is larger than maxReplicas"}
]))]
pub struct Autoscaling {
    /// Fewest workers.
    #[serde(default = "defaults::replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: u32,
    /// Most workers.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// What it looks at.
    pub metric: ScaleMetric,
}

/// What an autoscaler looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum ScaleMetric {
    /// Share of the requested processor time, by a `HorizontalPodAutoscaler`.
    Cpu(CpuMetric),
    /// Requests waiting in each worker, by a KEDA `ScaledObject` over Prometheus.
    Queue(QueueMetric),
}

/// Share of the requested processor time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuMetric {
    /// Percent of the request that workers should use on average.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
}

/// Requests waiting in each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueMetric {
    /// Requests that should wait in a worker on average.
    #[schemars(range(min = 1, max = 100000))]
    pub waiting: u32,
    /// Prometheus' address: `http://prometheus.monitoring:9090`.
    #[schemars(length(min = 8, max = 253))]
    pub server_address: String,
}

/// How a new version takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rollout {
    /// New workers start beside the old ones; the old go when the new ones serve.
    #[default]
    Surge,
    /// The running workers load the new weights beside the old ones and then drop these: no further pod, no further
    /// device, twice the weights' memory for a while.
    InPlace,
}

/// Which worker answers whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Affinity {
    /// The less loaded of two workers.
    #[default]
    None,
    /// A user's requests go to the same worker while it is there and not overloaded; workers keep stable names.
    User,
}

/// What a worker process is told: the pools it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerConfig {
    /// Each by its generation's name; more than one while a version is swapped in place.
    pub pools: Vec<PoolConfig>,
}

/// What gateways are told of one pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteFile {
    /// The pipeline.
    pub pipeline: Name,
    /// What answers requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Route>,
    /// What gateways warm, to answer next. Never takes a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Route>,
    /// Where the workers of each pool are found, by the name that the routes give it.
    pub pools: BTreeMap<Name, PoolPlace>,
}

/// Where a pool's workers are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolPlace {
    /// The Service whose endpoints they are, in the pipeline's namespace.
    pub service: Name,
    /// Which worker answers whom.
    #[serde(default)]
    pub affinity: Affinity,
}

/// What a gateway tells on its admin port: which releases it has warmed and which it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutesReport {
    /// Every release of every pipeline it knows.
    pub releases: Vec<ReleaseState>,
}

/// A release as one gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseState {
    /// The pipeline's namespace.
    pub namespace: String,
    /// The pipeline.
    pub pipeline: Name,
    /// The release's name.
    pub release: String,
    /// Whether requests go to it.
    pub serving: bool,
    /// Whether every pool has a worker that has answered this gateway.
    pub warmed: bool,
    /// The pools that have none, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<Name, String>,
}

impl PoolConfig {
    /// The digest of everything that a pool is told, eight hexadecimal digits: another digest is another generation.
    #[must_use]
    pub fn generation(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        Version::of([text.as_bytes()]).as_str().chars().take(8).collect()
    }
}

mod defaults {
    pub fn replicas() -> u32 {
        1
    }
    pub fn gpu_resource() -> String {
        "nvidia.com/gpu".to_owned()
    }
}
