//! The kind `EvaluationJob`: measures one model on a split of its data set and judges the gates.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use recmesh_contract::{
    config::{EvaluationParams, PodParams},
    schema::is_default,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Measured, ProgressStatus, Used},
    reference::ModelRef,
};

/// Measures a model on a split of its data set.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "recmesh.dev",
    version = "v1alpha1",
    kind = "EvaluationJob",
    plural = "evaluationjobs",
    shortname = "ej",
    category = "recmesh",
    namespaced,
    status = "EvaluationJobStatus",
    printcolumn(name = "Complete", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].reason"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.modelRef.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct EvaluationJobSpec {
    /// The model that is measured.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("modelRef cannot change: make another evaluation job for another model")
        .reason(Reason::FieldValueForbidden))]
    pub model_ref: ModelRef,
    /// How it is measured.
    #[serde(flatten)]
    pub evaluation: EvaluationParams,
    /// The pods: what they ask of a node. Read in a cluster only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodParams,
}

/// Where an evaluation job stands, and what it found.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationJobStatus {
    /// `Complete` once the results are stored; its reason tells whether every gate passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The stored results' version.
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
    /// The results table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub metrics: Vec<Measured>,
    /// Each gate with what it met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub gates: Vec<GateVerdict>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// A gate with what it met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateVerdict {
    /// The metric.
    #[schemars(length(min = 1, max = 64))]
    pub metric: String,
    /// Its value; absent when the results have no such metric, which does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Whether it lies within the bounds.
    pub passed: bool,
}
