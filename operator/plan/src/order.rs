//! The jobs, each after everything it is made from; otherwise in the order of the files.

use std::fmt;

use recmesh_contract::{ArtifactKind, Name};
use recmesh_crds::Kind;
use serde::{Deserialize, Serialize};

use crate::{Model, Valid};

/// A job: the resource that it belongs to. A trained model's job is its `TrainingJob`; a counted model's is the model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: Name,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Every job, each after everything it needs.
    pub jobs: Vec<PlannedJob>,
}

/// One job of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Which job.
    pub key: JobKey,
    /// The kind of artifact that it makes.
    pub makes: ArtifactKind,
    /// The artifact's name: the model's for a training job, else the resource's own.
    pub artifact: Name,
    /// The jobs whose artifacts it is made from.
    pub needs: Vec<JobKey>,
}

/// Every job after everything it needs; among those that could go next, the one first in the files.
#[must_use]
pub fn plan(valid: &Valid) -> Plan {
    let mut waiting: Vec<PlannedJob> = valid.jobs.iter().filter_map(|key| planned(valid, key)).collect();
    let mut jobs: Vec<PlannedJob> = Vec::with_capacity(waiting.len());
    // `validate` refuses circles, so some job can always go next.
    while let Some(next) =
        waiting.iter().position(|job| job.needs.iter().all(|need| jobs.iter().any(|done| done.key == *need)))
    {
        jobs.push(waiting.remove(next));
    }
    Plan { jobs }
}

/// A job with what it needs, in the order: data set, tokenizer or model, the model that is measured last.
fn planned(valid: &Valid, key: &JobKey) -> Option<PlannedJob> {
    let of = |kind: Kind, name: &Name| JobKey { kind, name: name.clone() };
    let model_needs = |model: &Model| -> Option<Vec<JobKey>> {
        let (dataset, tokenizer) = valid.made_from(model)?;
        let tokenizer = tokenizer.map(|name| of(Kind::Tokenizer, name));
        Some([of(Kind::Dataset, dataset)].into_iter().chain(tokenizer).collect())
    };
    let own = key.name.clone();
    let (makes, artifact, needs) = match key.kind {
        Kind::Dataset => (ArtifactKind::Dataset, own, Vec::new()),
        Kind::Tokenizer => {
            let tokenizer = valid.tokenizers.get(&key.name)?;
            let vectors = tokenizer.vectors.as_ref().and_then(|name| valid.retrieval_models.get(name));
            let needs = [of(Kind::Dataset, &tokenizer.dataset)].into_iter().chain(vectors.map(|m| m.made_by.clone()));
            (ArtifactKind::Tokenizer, own, needs.collect())
        }
        Kind::RetrievalModel => {
            let model = Model::Retrieval(own.clone());
            (ArtifactKind::RetrievalModel, own, model_needs(&model)?)
        }
        Kind::TrainingJob => {
            let model = &valid.training_jobs.get(&key.name)?.model;
            (model.artifact_kind(), model.name().clone(), model_needs(model)?)
        }
        Kind::EvaluationJob => {
            let model = &valid.evaluation_jobs.get(&key.name)?.model;
            let mut needs = model_needs(model)?;
            needs.push(valid.made_by(model)?.clone());
            (ArtifactKind::Evaluation, own, needs)
        }
        Kind::RankingModel | Kind::Pipeline => return None,
    };
    Some(PlannedJob { key: key.clone(), makes, artifact, needs })
}
