//! References between resources: by name within one namespace, by kind where several kinds can be meant.
//!
//! References point one way: jobs name models, pipelines name models and a tokenizer, models and tokenizers name data
//! sets. Whether what they name exists is the plan's business.

use recmesh_contract::config::ObjectRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ModelKind {
    /// Finds candidates.
    RetrievalModel,
    /// Scores candidates.
    RankingModel,
}

/// A reference to a model of either kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelRef {
    /// The kind of the model.
    pub kind: ModelKind,
    /// The model's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// A pipeline's stage: the model that does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageRef {
    /// The model.
    pub model_ref: ObjectRef,
}
