//! What a job is told. The same for `recmesh up`, `recmesh train` and a Job's pod.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DatasetParams, EvaluationParams, Quantization, RankingParams, RetrievalAlgorithm, TokenizerAlgorithm,
    TrainingParams,
};
use crate::{ArtifactId, Name, Version};

/// A reference to another resource of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    /// The resource's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// One job with everything it needs resolved: parameters, and the versions it is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobConfig {
    /// The resource the job belongs to, and its artifact's name.
    pub name: Name,
    /// What to do.
    pub work: JobWork,
}

impl JobConfig {
    /// The digest of everything that the job is told; another digest is another job.
    #[must_use]
    pub fn digest(&self) -> Version {
        let text = serde_json::to_string(self).unwrap_or_default();
        Version::of([text.as_bytes()])
    }
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(clippy::large_enum_variant)] // a job has one, and a box would show in every use
pub enum JobWork {
    /// Read or plant a data set, split it, write it as an artifact.
    Dataset {
        /// What the resource declares.
        params: DatasetParams,
        /// The folder that relative paths start from.
        folder: String,
    },
    /// Fit a tokenizer and write its catalog.
    Tokenizer {
        /// What the resource declares.
        algorithm: TokenizerAlgorithm,
        /// The data set whose items are tokenized.
        dataset: ArtifactId,
        /// The folder that a vector file's path starts from.
        folder: String,
        /// The model whose item table is clustered, when the item vectors are a model's.
        vectors: Option<ArtifactId>,
    },
    /// Count a retrieval model that needs no training.
    Count {
        /// What the model declares.
        algorithm: RetrievalAlgorithm,
        /// The data set.
        dataset: ArtifactId,
    },
    /// Train a retrieval model.
    TrainRetrieval {
        /// What the model declares.
        algorithm: RetrievalAlgorithm,
        /// The data set.
        dataset: ArtifactId,
        /// The tokenizer, for models over semantic IDs.
        tokenizer: Option<ArtifactId>,
        /// What the training job declares.
        params: TrainingParams,
        /// What the model declares of its quantization.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantization: Option<Quantization>,
    },
    /// Train a ranking model.
    TrainRanking {
        /// What the model declares.
        ranking: RankingParams,
        /// The data set.
        dataset: ArtifactId,
        /// What the training job declares.
        params: TrainingParams,
        /// What the model declares of its quantization.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantization: Option<Quantization>,
    },
    /// Evaluate a model.
    Evaluate {
        /// The retrieval or ranking model.
        model: ArtifactId,
        /// The tokenizer, for models over semantic IDs.
        tokenizer: Option<ArtifactId>,
        /// The data set.
        dataset: ArtifactId,
        /// What the evaluation job declares.
        params: EvaluationParams,
    },
}
