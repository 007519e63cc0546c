//! The kind `RetrievalModel`: finds candidates for a history. Counted models are made from their data set alone; the
//! others are made by a `TrainingJob` that names them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use recmesh_contract::{
    config::{ObjectRef, PodParams, PoolParams, Quantization, RetrievalAlgorithm, ServingParams},
    schema::is_default,
};
use serde::{Deserialize, Serialize};

use crate::condition::{Measured, PoolStatus, ProgressStatus, QuantizationStatus};

/// Finds candidates for a history.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "recmesh.dev",
    version = "v1alpha1",
    kind = "RetrievalModel",
    plural = "retrievalmodels",
    shortname = "rm",
    category = "recmesh",
    namespaced,
    status = "RetrievalModelStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Dataset", type_ = "string", json_path = ".spec.datasetRef.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Precision", type_ = "string", json_path = ".status.quantization.precision", priority = 1),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("!has(self.algorithm.lazyDecoder) || has(self.tokenizerRef)")
    .message("lazyDecoder decodes semantic IDs: name the tokenizer that makes them in tokenizerRef")
    .field_path(".tokenizerRef")
    .reason(Reason::FieldValueRequired))]
#[x_kube(validation = Rule::new("has(self.algorithm.lazyDecoder) || !has(self.tokenizerRef)")
    .message("this algorithm reads no semantic IDs: remove tokenizerRef")
    .field_path(".tokenizerRef")
    .reason(Reason::FieldValueForbidden))]
#[x_kube(validation = Rule::new("!has(self.quantization) || has(self.algorithm.sasRec) || has(self.algorithm.lazyDecoder)")
    .message("this algorithm counts and has no weights to quantise: remove quantization, or take sasRec or lazyDecoder")
    .field_path(".quantization")
    .reason(Reason::FieldValueForbidden))]
pub struct RetrievalModelSpec {
    /// The data set it learns from.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("datasetRef cannot change: make another model for another data set")
        .reason(Reason::FieldValueForbidden))]
    pub dataset_ref: ObjectRef,
    /// The tokenizer whose semantic IDs are decoded; only for algorithms over semantic IDs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_ref: Option<ObjectRef>,
    /// The architecture.
    pub algorithm: RetrievalAlgorithm,
    /// Post-training quantization; without it the model serves in high precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// How a serving pool works off its queue.
    #[serde(default)]
    pub pool: PoolParams,
    /// How many workers serve it, and how a new version takes over. Read in a cluster only.
    #[serde(flatten)]
    pub serving: ServingParams,
    /// The pods: what they ask of a node. Read in a cluster only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodParams,
}

/// What is known about a retrieval model.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetrievalModelStatus {
    /// `Ready` once a version exists and, where a pipeline names the model, is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version in force.
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
    /// What making this version measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub metrics: Vec<Measured>,
    /// What came of quantising it, where it asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<QuantizationStatus>,
    /// Workers of the generation that autoscalers look at, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Selects them, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Its pools, one for each catalog that it is served with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pools: Vec<PoolStatus>,
}
