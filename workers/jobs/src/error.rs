//! Why a job failed, with the step that did and what can be done.

use std::{error::Error, io};

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

    /// Whether the same job, tried again as it is, can succeed: it was stopped, or the machine or its disks failed it,
    /// not its configuration or data.
    #[must_use]
    pub fn passing(&self) -> bool {
        let mut cause: Option<&dyn Error> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return passing(error.kind());
            }
            cause = error.source();
        }
        matches!(
            self,
            Self::Store(StoreError::Absent { .. } | StoreError::Held { .. } | StoreError::State { .. })
                | Self::Learning(LearningError::Stopped { .. })
        )
    }
}

/// Whether what the operating system refused may be granted later. What a file is, or that there is none, stays so.
fn passing(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    !matches!(
        kind,
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::InvalidInput
            | Kind::InvalidData
            | Kind::InvalidFilename
            | Kind::UnexpectedEof
            | Kind::IsADirectory
            | Kind::NotADirectory
            | Kind::AlreadyExists
            | Kind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use recmesh_data::DataError;

    use super::*;

    #[test]
    fn disks_may_recover_and_data_does_not() {
        let read = |kind: io::ErrorKind| {
            let (path, source) = ("a.csv".into(), io::Error::from(kind));
            JobError::from(DataError::Read { path, line: 3, source }).passing()
        };
        assert!(read(io::ErrorKind::StorageFull) && read(io::ErrorKind::TimedOut));
        assert!(!read(io::ErrorKind::NotFound) && !read(io::ErrorKind::InvalidData));
        assert!(JobError::from(LearningError::Stopped { step: 4, kept: true }).passing());
        assert!(!JobError::from(LearningError::NoTargets { given: 4 }).passing());
        assert!(!JobError::Configuration("tokenizerRef".to_owned()).passing());
        let cut = LearningError::Write { path: "c".into(), source: io::Error::from(io::ErrorKind::QuotaExceeded) };
        assert!(JobError::from(cut).passing());
    }
}
