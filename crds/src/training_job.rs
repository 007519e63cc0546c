//! The kind `TrainingJob`: makes a version of one model.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use recmesh_contract::{
    config::{PodParams, TrainingParams},
    schema::is_default,
};
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Measured, ProgressStatus, QuantizationStatus, Used},
    reference::ModelRef,
};

/// Trains a model: optimizer, schedule, length, stopping, checkpoints.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "recmesh.dev",
    version = "v1alpha1",
    kind = "TrainingJob",
    plural = "trainingjobs",
    shortname = "tj",
    category = "recmesh",
    namespaced,
    status = "TrainingJobStatus",
    printcolumn(name = "Complete", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].reason"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.modelRef.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.progress.step", priority = 1),
    printcolumn(name = "Percent", type_ = "integer", json_path = ".status.progress.percent"),
    printcolumn(name = "ETA", type_ = "integer", json_path = ".status.progress.etaSeconds", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)")
    .message("managedBy cannot change: make another training job")
    .field_path(".managedBy")
    .reason(Reason::FieldValueForbidden))]
pub struct TrainingJobSpec {
    /// The model that is trained.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("modelRef cannot change: make another training job for another model")
        .reason(Reason::FieldValueForbidden))]
    pub model_ref: ModelRef,
    /// How it is trained.
    #[serde(flatten)]
    pub training: TrainingParams,
    /// Whether it waits: no pod runs, and a running one stops with a checkpoint. Local mode refuses to train a job that
    /// waits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspend: bool,
    /// Who looks after this job, if not RecMesh: the operator then leaves it alone. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub managed_by: Option<String>,
    /// The queue that admits its pods, for Kueue. Read in a cluster only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub queue: Option<String>,
    /// The claim that keeps checkpoints, where the artifact store is no volume. Read in a cluster only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub checkpoint_claim: Option<String>,
    /// The pods: what they ask of a node. Read in a cluster only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodParams,
}

/// Where a training job stands.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingJobStatus {
    /// `Complete` once the model's version is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The model's version that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Digest of what the job that made this version was told; another digest means that a new version is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
    /// The `Job` that makes or made this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How far the job is, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
    /// What it measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub metrics: Vec<Measured>,
    /// What came of quantising the model, where that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<QuantizationStatus>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}
