//! What an `EvaluationJob` declares beside its target: split, metrics, controls, gates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a model is evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvaluationParams {
    /// Which rows are the targets.
    #[serde(default)]
    pub split: EvaluationSplit,
    /// Cut-offs of recall, NDCG, MRR and item coverage (retrieval models).
    #[serde(default = "defaults::k")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 1000)))]
    pub k: Vec<u32>,
    /// Whether items of the user's history are removed from the answer. Both are reported when this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<Masking>,
    /// Most users or rows evaluated, evenly spread; 0 takes all.
    #[serde(default)]
    #[schemars(range(max = 100000000))]
    pub sample: u32,
    /// Bootstrap resamples behind each 95 % interval; 0 reports none.
    #[serde(default = "defaults::bootstrap")]
    #[schemars(range(max = 100000))]
    pub bootstrap: u32,
    /// Also evaluates against targets shuffled over users: a model that reads the history falls to the level of
    /// popularity.
    #[serde(default)]
    pub shuffled_control: bool,
    /// Seed of ties, resamples and shuffles.
    #[serde(default)]
    #[schemars(range(max = 9007199254740991u64))]
    pub seed: u64,
    /// Bounds that the metrics must meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub gates: Vec<Gate>,
}

/// Which rows are the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EvaluationSplit {
    /// The validation split.
    Validation,
    /// The test split; the validation rows count as history.
    #[default]
    Test,
}

/// Whether items of the user's history are removed from the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Masking {
    /// Removed, but for the target: somebody who came back to an item is asked for it.
    Masked,
    /// Left in.
    Raw,
}

/// A bound that a metric must meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.min) || has(self.max)",
    "message": "give min, max or both",
}]))]
pub struct Gate {
    /// The metric as the results name it: `ndcg@10`, `auc/like`, `ndcg@10/control`. Where it is reported both masked
    /// and raw, the masked one is meant.
    #[schemars(length(min = 1, max = 64))]
    pub metric: String,
    /// Lowest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Highest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

mod defaults {
    pub fn k() -> Vec<u32> {
        vec![10]
    }
    pub fn bootstrap() -> u32 {
        1000
    }
}
