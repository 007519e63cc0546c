//! The kind `TrainingJob`: makes a version of one model.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use recmesh_contract::config::TrainingParams;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Measured, Used},
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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct TrainingJobSpec {
    /// The model that is trained.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("modelRef cannot change: make another training job for another model")
        .reason(Reason::FieldValueForbidden))]
    pub model_ref: ModelRef,
    /// How it is trained.
    #[serde(flatten)]
    pub training: TrainingParams,
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
    /// What it measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub metrics: Vec<Measured>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}
