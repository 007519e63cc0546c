//! What one job is told: its parameters and the versions it is made from.
//!
//! In: the meaning, the job, what was made before it. Out: the job's configuration. Opens nothing.

use std::{collections::BTreeMap, path::PathBuf};

use recmesh_contract::{
    ArtifactId, Name,
    config::{JobConfig, JobWork},
};
use recmesh_crds::Kind;

use crate::{JobKey, Model, Valid};

/// Why a job cannot be told what to do, or a pipeline not be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The key names nothing that a job makes.
    #[error("{0} is no job of these manifests")]
    NoSuchJob(JobKey),
    /// Something that it is made from is not made yet.
    #[error("{what} needs what {needs} makes, which is not made yet")]
    NotMade {
        /// Who needs it.
        what: String,
        /// Who makes it.
        needs: JobKey,
    },
}

/// The artifacts that are made so far, by the job that made them.
pub(crate) type Made = BTreeMap<JobKey, ArtifactId>;

/// What a job is told. `folders` gives the folder of a data set's files by the data set's name.
///
/// # Errors
/// When the key is no job, or a job that it needs has made nothing yet.
pub fn job_config(
    valid: &Valid,
    key: &JobKey,
    made: &BTreeMap<JobKey, ArtifactId>,
    folders: &dyn Fn(&str) -> PathBuf,
) -> Result<JobConfig, PlanError> {
    let unknown = || PlanError::NoSuchJob(key.clone());
    let inputs = Inputs { valid, made, what: key.to_string() };
    let folder = |dataset: &Name| folders(dataset.as_str()).to_string_lossy().into_owned();
    let mut name = key.name.clone();
    let work = match key.kind {
        Kind::Dataset => {
            let params = valid.datasets.get(&key.name).ok_or_else(unknown)?.clone();
            JobWork::Dataset { params, folder: folder(&key.name) }
        }
        Kind::Tokenizer => {
            let tokenizer = valid.tokenizers.get(&key.name).ok_or_else(unknown)?;
            let vectors = tokenizer.vectors.clone().map(Model::Retrieval);
            JobWork::Tokenizer {
                algorithm: tokenizer.algorithm.clone(),
                dataset: inputs.of(Kind::Dataset, &tokenizer.dataset)?,
                folder: folder(&tokenizer.dataset),
                vectors: vectors.map(|model| inputs.model(&model)).transpose()?,
            }
        }
        Kind::RetrievalModel => {
            let model =
                valid.retrieval_models.get(&key.name).filter(|model| model.made_by == *key).ok_or_else(unknown)?;
            let dataset = inputs.of(Kind::Dataset, &model.dataset)?;
            JobWork::Count { algorithm: model.algorithm.clone(), dataset }
        }
        Kind::TrainingJob => {
            let job = valid.training_jobs.get(&key.name).ok_or_else(unknown)?;
            name = job.model.name().clone();
            let (dataset, tokenizer) = inputs.sources(&job.model, unknown)?;
            let params = job.params.clone();
            match &job.model {
                Model::Retrieval(model) => {
                    let model = valid.retrieval_models.get(model).ok_or_else(unknown)?;
                    let (algorithm, quantization) = (model.algorithm.clone(), model.quantization.clone());
                    JobWork::TrainRetrieval { algorithm, dataset, tokenizer, params, quantization }
                }
                Model::Ranking(model) => {
                    let model = valid.ranking_models.get(model).ok_or_else(unknown)?;
                    let (ranking, quantization) = (model.params.clone(), model.quantization.clone());
                    JobWork::TrainRanking { ranking, dataset, params, quantization }
                }
            }
        }
        Kind::EvaluationJob => {
            let job = valid.evaluation_jobs.get(&key.name).ok_or_else(unknown)?;
            let (dataset, tokenizer) = inputs.sources(&job.model, unknown)?;
            JobWork::Evaluate { model: inputs.model(&job.model)?, tokenizer, dataset, params: job.params.clone() }
        }
        Kind::RankingModel | Kind::Pipeline => return Err(unknown()),
    };
    Ok(JobConfig { name, work })
}

/// What was made before, by who needs it.
pub(crate) struct Inputs<'a> {
    pub(crate) valid: &'a Valid,
    pub(crate) made: &'a Made,
    pub(crate) what: String,
}

impl Inputs<'_> {
    /// What the job of a resource made.
    pub(crate) fn of(&self, kind: Kind, name: &Name) -> Result<ArtifactId, PlanError> {
        self.by(&JobKey { kind, name: name.clone() })
    }

    /// A model's version.
    pub(crate) fn model(&self, model: &Model) -> Result<ArtifactId, PlanError> {
        match self.valid.made_by(model) {
            Some(job) => self.by(job),
            None => Err(PlanError::NoSuchJob(JobKey { kind: model.kind(), name: model.name().clone() })),
        }
    }

    fn by(&self, job: &JobKey) -> Result<ArtifactId, PlanError> {
        let missing = || PlanError::NotMade { what: self.what.clone(), needs: job.clone() };
        self.made.get(job).cloned().ok_or_else(missing)
    }

    /// The data set and the tokenizer that a model is made from.
    fn sources(
        &self,
        model: &Model,
        unknown: impl Fn() -> PlanError,
    ) -> Result<(ArtifactId, Option<ArtifactId>), PlanError> {
        let (dataset, tokenizer) = self.valid.made_from(model).ok_or_else(unknown)?;
        let tokenizer = tokenizer.map(|name| self.of(Kind::Tokenizer, name)).transpose()?;
        Ok((self.of(Kind::Dataset, dataset)?, tokenizer))
    }
}
