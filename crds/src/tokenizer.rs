//! The kind `Tokenizer`: how the items of a data set become semantic IDs; its artifact holds the catalog.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use recmesh_contract::{
    config::{ObjectRef, PodParams, ServingParams, TokenizerAlgorithm},
    schema::is_default,
};
use serde::{Deserialize, Serialize};

use crate::condition::{Measured, PoolStatus, ProgressStatus};

/// Turns the items of a data set into semantic IDs and writes their catalog.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "recmesh.dev",
    version = "v1alpha1",
    kind = "Tokenizer",
    plural = "tokenizers",
    shortname = "tok",
    category = "recmesh",
    namespaced,
    status = "TokenizerStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Dataset", type_ = "string", json_path = ".spec.datasetRef.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Items", type_ = "integer", json_path = ".status.items"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct TokenizerSpec {
    /// The data set whose items are tokenized.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("datasetRef cannot change: make another tokenizer for another data set")
        .reason(Reason::FieldValueForbidden))]
    pub dataset_ref: ObjectRef,
    /// How items become semantic IDs.
    pub algorithm: TokenizerAlgorithm,
    /// How many workers serve it, and how a new version takes over. Read in a cluster only.
    #[serde(flatten)]
    pub serving: ServingParams,
    /// The pods: what they ask of a node. Read in a cluster only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: PodParams,
}

/// What is known about a tokenizer once it is fitted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenizerStatus {
    /// `Ready` once the catalog is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The stored version.
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
    /// Digest of the catalog file, as `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// Items in the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// Use of the codebooks, collisions, reconstruction error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub metrics: Vec<Measured>,
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
