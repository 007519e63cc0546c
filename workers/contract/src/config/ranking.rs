//! What a `RankingModel` declares: tasks, features and the architecture.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Threshold;
use crate::schema::one_arm;

/// What a ranking model predicts and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RankingParams {
    /// The architecture.
    pub algorithm: RankingAlgorithm,
    /// What is predicted, each a probability.
    #[schemars(length(min = 1, max = 32))]
    pub tasks: Vec<Task>,
}

/// The architecture of a ranking model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum RankingAlgorithm {
    /// Multi-gate mixture of experts (KDD 2018, doi 10.1145/3219819.3220007).
    Mmoe(Mmoe),
}

/// A yes/no question about a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.when) && has(self.label))",
    "message": "give when (a reading of an interactions column) or label (a label of an examples data set), not both",
}]))]
pub struct Task {
    /// What answers, weights and metrics call it.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// For interactions: when the answer is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Threshold>,
    /// For examples: the data set's label; the task's own name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Weight in the loss.
    #[serde(default = "defaults::weight")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub weight: f64,
}

/// Multi-gate mixture of experts: shared experts, a softmax gate and a tower for every task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mmoe {
    /// Shared experts.
    #[serde(default = "defaults::experts")]
    #[schemars(range(min = 1, max = 64))]
    pub experts: u32,
    /// Width of an expert.
    #[serde(default = "defaults::expert_units")]
    #[schemars(range(min = 1, max = 4096))]
    pub expert_units: u32,
    /// Width of a task's tower.
    #[serde(default = "defaults::tower_units")]
    #[schemars(range(min = 1, max = 4096))]
    pub tower_units: u32,
    /// Length of an embedding: items, attributes, categories.
    #[serde(default = "defaults::embedding")]
    #[schemars(range(min = 1, max = 1024))]
    pub embedding: u32,
    /// Newest items of the history that are read (interactions only), pooled by attention from the candidate.
    #[serde(default = "defaults::history")]
    #[schemars(range(max = 1000))]
    pub history_length: u32,
    /// Share of activations dropped in training.
    #[serde(default = "defaults::dropout")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

mod defaults {
    pub fn weight() -> f64 {
        1.0
    }
    pub fn experts() -> u32 {
        4
    }
    pub fn expert_units() -> u32 {
        64
    }
    pub fn tower_units() -> u32 {
        32
    }
    pub fn embedding() -> u32 {
        16
    }
    pub fn history() -> u32 {
        20
    }
    pub fn dropout() -> f64 {
        0.1
    }
}
