//! What goes over the wire: request, reply, problem and probe bodies. The OpenAPI document is made from these types.
//!
//! Nothing is checked here beyond JSON types and unknown fields; `parse.rs` gives requests their meaning.

use std::{borrow::Cow, collections::BTreeMap};

use recmesh_contract::{Item, Release};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Asks for recommendations; `user`, `history` or both must be given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
pub struct RecommendBody {
    /// The user's id as the data set writes it. An unknown user without history gets the pipeline's fallback, or no
    /// items where it has none.
    pub user: Option<String>,
    /// Item ids, oldest first; given, they stand in for the stored history. Unknown ids are left out.
    pub history: Option<Vec<String>>,
    /// How many items to answer, from 1 to the pipeline's `maxK`. Fewer come back when fewer are left.
    #[schemars(with = "Option<u32>", range(min = 1), default = "default_k")]
    pub k: Option<Number>,
    /// The pipeline; may be left out when there is only one. In a cluster `name` in the gateway's default namespace or
    /// `namespace/name`.
    pub pipeline: Option<String>,
    /// Item ids that must not be answered. Unknown ids are left out.
    pub exclude: Option<Vec<String>>,
    /// Item attributes that an answer must have: for every key, one of its values.
    pub filters: Option<BTreeMap<String, Vec<String>>>,
    /// Time for the whole request in milliseconds; the pipeline's own deadline still holds.
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub deadline_ms: Option<Number>,
}

/// How many items are answered when the caller does not say.
pub(crate) const DEFAULT_K: u32 = 10;

fn default_k() -> u32 {
    DEFAULT_K
}

/// Recommendations, best first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecommendReply<'a> {
    /// The items, best first.
    pub items: Vec<ItemBody>,
    /// What answered.
    pub release: Cow<'a, ReleaseBody>,
    /// How long each stage took, waiting included, in the order they were called.
    pub stages: Vec<StageBody>,
    /// Why the answer is not, or not wholly, the pipeline's own; null when it is.
    pub fallback: Option<FallbackBody>,
}

/// A recommended item.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemBody {
    /// The item's id as the data set writes it.
    pub id: String,
    /// Its title; null where the data set has none.
    pub title: Option<String>,
    /// The final score, descending; comparable only within one answer.
    pub score: f32,
    /// Its semantic ID: one code a level.
    pub semantic_id: Vec<u32>,
    /// The ranking model's probabilities by task; absent where nothing ranked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(default)]
    pub tasks: BTreeMap<String, f32>,
}

impl From<Item> for ItemBody {
    fn from(item: Item) -> Self {
        let Item { id, title, score, semantic_id, tasks } = item;
        Self { id, title, score, semantic_id, tasks }
    }
}

/// The versions that answered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseBody {
    /// The pipeline and a digest of what follows.
    pub name: String,
    /// Model versions by stage.
    pub models: BTreeMap<String, String>,
    /// The tokenizer's version.
    pub tokenizer: String,
    /// The catalog file's digest.
    pub catalog: String,
}

impl From<Release> for ReleaseBody {
    fn from(release: Release) -> Self {
        let Release { name, models, tokenizer, catalog } = release;
        Self { name, models, tokenizer, catalog }
    }
}

/// One stage's time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageBody {
    /// `tokenize`, `retrieve`, `rank`, `finish` or `fallback`.
    pub name: &'static str,
    /// Milliseconds, waiting included.
    pub ms: f64,
}

/// Why an answer is not, or not wholly, the pipeline's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FallbackBody {
    /// The stage that did not answer, or not in full.
    pub stage: &'static str,
    /// Why: `coldStart`, `tooFew` or the reason of the stage's failure.
    pub reason: &'static str,
    /// The model that answered in its place, `<resource>@<version>`; null where a user without history met a pipeline
    /// without a fallback, which answers no items.
    pub model: Option<String>,
}

/// An error, as RFC 9457 has it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:recmesh:problem:` and the reason.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: &'static str,
    /// The status code.
    pub status: u16,
    /// What is wrong and what would be right.
    pub detail: String,
    /// The reason, from a closed list.
    pub reason: &'static str,
    /// The request field or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The request's id, for logs and traces.
    pub request_id: String,
}

/// The process lives.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Liveness {
    /// Always true.
    pub live: bool,
}

/// Whether requests can be sent. In local mode: every stage of every pipeline is ready. In a cluster: every pipeline is
/// known and was warm once; the stages that are not ready now are told all the same. Never while the process stops.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Whether they can.
    pub ready: bool,
    /// Whether the process has been asked to stop; absent until it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub stopping: bool,
    /// Whether there may be pipelines that this gateway does not know yet; absent when it knows all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub discovering: bool,
    /// The stages that are not ready.
    pub not_ready: Vec<NotReady>,
}

/// A stage that is not ready.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotReady {
    /// The pipeline.
    pub pipeline: String,
    /// The stage.
    pub stage: &'static str,
    /// The pool that serves it.
    pub pool: String,
}
