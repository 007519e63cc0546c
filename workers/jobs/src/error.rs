//! Why a job failed, with the step that did and what can be done.

use recmesh_contract::{ArtifactId, Failure};
use recmesh_learning::LearningError;
use recmesh_store::StoreError;

/// What a user can do about a failed job beside what its message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Have the job's artifact made anew: it, or its checkpoint, is damaged.
    Anew,
    /// Run the job again: it was stopped and goes on from its checkpoint.
    GoOn,
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The data set could not be read or prepared.
    #[error(transparent)]
    Data(#[from] recmesh_data::DataError),
    /// An artifact could not be written or read.
    #[error(transparent)]
    Store(#[from] recmesh_store::StoreError),
    /// The catalog could not be written or read.
    #[error(transparent)]
    Catalog(#[from] recmesh_catalog::CatalogError),
    /// The model refused its parameters, files or data.
    #[error(transparent)]
    Model(#[from] recmesh_models::ModelError),
    /// The tokenizer could not be fitted, written or read.
    #[error(transparent)]
    Tokenizer(#[from] recmesh_models::tokenizer::TokenizerError),
    /// Training stopped.
    #[error(transparent)]
    Learning(#[from] recmesh_learning::LearningError),
    /// The evaluation stopped.
    #[error(transparent)]
    Evaluation(#[from] recmesh_evaluation::EvaluationError),
    /// A model failed while it was evaluated.
    #[error("the model failed while it was evaluated: {0}")]
    Serving(#[source] Failure),
    /// The data set is of the wrong sort for the job.
    #[error("data set {dataset} holds {holds}; {job} needs {needs}")]
    WrongData {
        /// The data set.
        dataset: ArtifactId,
        /// What it holds.
        holds: &'static str,
        /// Who needs something else.
        job: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// Nothing is left to train or evaluate on.
    #[error("{0}")]
    NothingToDo(String),
    /// A column named by a task or a history rule is not in the data.
    #[error("task {task}: data set {dataset} has no {column}")]
    NoColumn {
        /// The task.
        task: String,
        /// The data set.
        dataset: ArtifactId,
        /// What was asked for, and what there is instead.
        column: String,
    },
    /// A job was given a configuration that its kind of work cannot have.
    #[error("{0}")]
    Configuration(String),
}

impl JobError {
    /// What the user can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Store(StoreError::Damaged { .. })
            | Self::Learning(LearningError::Damaged { .. } | LearningError::Foreign { .. }) => Some(Remedy::Anew),
            Self::Learning(LearningError::Stopped { kept: true, .. }) => Some(Remedy::GoOn),
            _ => None,
        }
    }
}
