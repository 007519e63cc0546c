//! Resources whose references resolve and whose combinations make sense: the meaning, not the wire.
//!
//! In: what [`crate::validate`] accepts, and nothing else makes one. Later steps look things up here and check nothing.

use std::{collections::BTreeMap, fmt};

use recmesh_contract::{
    ArtifactKind, Name,
    config::{
        DatasetParams, EvaluationParams, PoolParams, Quantization, RankingParams, RetrievalAlgorithm, RouteParams,
        TokenizerAlgorithm, TrainingParams,
    },
};
use recmesh_crds::Kind;
use serde::{Deserialize, Serialize};

use crate::JobKey;

/// Everything that was declared, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Valid {
    /// Data sets.
    pub datasets: BTreeMap<Name, DatasetParams>,
    /// Tokenizers.
    pub tokenizers: BTreeMap<Name, Tokenizer>,
    /// Retrieval models.
    pub retrieval_models: BTreeMap<Name, Retrieval>,
    /// Ranking models.
    pub ranking_models: BTreeMap<Name, Ranking>,
    /// Training jobs.
    pub training_jobs: BTreeMap<Name, Training>,
    /// Evaluation jobs.
    pub evaluation_jobs: BTreeMap<Name, Evaluation>,
    /// Pipelines.
    pub pipelines: BTreeMap<Name, Pipeline>,
    /// Everything that a job makes, in the order of the files.
    pub(crate) jobs: Vec<JobKey>,
}

/// A tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokenizer {
    /// The data set whose items are tokenized.
    pub dataset: Name,
    /// How.
    pub algorithm: TokenizerAlgorithm,
    /// The retrieval model whose item table is clustered, where the item vectors are a model's.
    pub vectors: Option<Name>,
}

/// A retrieval model.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// The data set it learns from.
    pub dataset: Name,
    /// The tokenizer, for models over semantic IDs.
    pub tokenizer: Option<Name>,
    /// The architecture.
    pub algorithm: RetrievalAlgorithm,
    /// How it is quantised, if at all.
    pub quantization: Option<Quantization>,
    /// Its serving pool.
    pub pool: PoolParams,
    /// The job that makes it: its training job, or its own key when it is counted.
    pub made_by: JobKey,
}

/// A ranking model.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// The data set it learns from.
    pub dataset: Name,
    /// The architecture and the tasks.
    pub params: RankingParams,
    /// How it is quantised, if at all.
    pub quantization: Option<Quantization>,
    /// Its serving pool.
    pub pool: PoolParams,
    /// Its training job.
    pub made_by: JobKey,
}

/// A training job.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// What it trains.
    pub model: Model,
    /// How.
    pub params: TrainingParams,
}

/// An evaluation job.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// What it measures.
    pub model: Model,
    /// How.
    pub params: EvaluationParams,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The tokenizer whose catalog describes the items.
    pub tokenizer: Name,
    /// The retrieval model of the retrieve stage.
    pub retrieve: Name,
    /// The ranking model of the rank stage.
    pub rank: Option<Name>,
    /// The counted retrieval model that answers when retrieval cannot.
    pub fallback: Option<Name>,
    /// How requests are treated.
    pub route: RouteParams,
}

/// A model of either kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Model {
    /// A retrieval model.
    Retrieval(Name),
    /// A ranking model.
    Ranking(Name),
}

impl Model {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Retrieval(name) | Self::Ranking(name) => name,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Retrieval(_) => Kind::RetrievalModel,
            Self::Ranking(_) => Kind::RankingModel,
        }
    }

    /// The kind of its artifacts.
    #[must_use]
    pub fn artifact_kind(&self) -> ArtifactKind {
        match self {
            Self::Retrieval(_) => ArtifactKind::RetrievalModel,
            Self::Ranking(_) => ArtifactKind::RankingModel,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}

impl Valid {
    /// The job that makes a model.
    #[must_use]
    pub fn made_by(&self, model: &Model) -> Option<&JobKey> {
        match model {
            Model::Retrieval(name) => self.retrieval_models.get(name).map(|m| &m.made_by),
            Model::Ranking(name) => self.ranking_models.get(name).map(|m| &m.made_by),
        }
    }

    /// The data set and the tokenizer of a model.
    #[must_use]
    pub fn made_from(&self, model: &Model) -> Option<(&Name, Option<&Name>)> {
        match model {
            Model::Retrieval(name) => self.retrieval_models.get(name).map(|m| (&m.dataset, m.tokenizer.as_ref())),
            Model::Ranking(name) => self.ranking_models.get(name).map(|m| (&m.dataset, None)),
        }
    }
}
