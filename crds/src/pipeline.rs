//! The kind `Pipeline`: what answers requests: a tokenizer, a retrieval stage, ranking and a fallback.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use recmesh_contract::config::{ObjectRef, RouteParams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::StageRef;

/// Answers requests: tokenize, retrieve, rank.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "recmesh.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    plural = "pipelines",
    shortname = "pl",
    category = "recmesh",
    namespaced,
    status = "PipelineStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.release.name"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("!has(self.weights) || size(self.weights) == 0 || has(self.rank)")
    .message("weights mix the scores of ranking tasks: add a rank stage or remove weights")
    .field_path(".weights")
    .reason(Reason::FieldValueForbidden))]
#[x_kube(validation = Rule::new("!has(self.rank) || self.maxK <= self.candidates")
    .message("maxK is larger than candidates: raise candidates or lower maxK")
    .field_path(".maxK")
    .reason(Reason::FieldValueInvalid))]
pub struct PipelineSpec {
    /// The tokenizer whose catalog describes the items.
    pub tokenizer_ref: ObjectRef,
    /// The stage that finds candidates.
    pub retrieve: StageRef,
    /// The stage that scores them; without it the retrieval order stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<StageRef>,
    /// The counted retrieval model that answers when retrieval cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<StageRef>,
    /// How requests are treated.
    #[serde(flatten)]
    pub route: RouteParams,
}

/// What a pipeline serves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// `Ready` once every stage is routable and has answered a warm-up request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The release in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseStatus>,
    /// The release that gateways warm, to answer next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<ReleaseStatus>,
    /// Each stage with its workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub stages: Vec<StageStatus>,
    /// Where requests go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A stage of the release that is to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// `tokenize`, `retrieve`, `rank` or `fallback`.
    pub stage: String,
    /// Its pool's generation.
    pub pool: String,
    /// Workers that have answered a warm-up request of their own.
    pub ready_workers: i32,
    /// Workers that there should be.
    pub workers: i32,
    /// Gateways that have reached one of them.
    pub warmed_gateways: i32,
    /// Gateways that there are.
    pub gateways: i32,
}

/// The versions that answer a pipeline's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// The pipeline's name and a digest of what follows.
    pub name: String,
    /// `<resource>@<version>` by stage.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, String>,
    /// `<resource>@<version>` of the tokenizer.
    pub tokenizer: String,
    /// Digest of the catalog file.
    pub catalog: String,
}
