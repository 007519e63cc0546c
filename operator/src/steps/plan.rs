//! What the jobs of a closure are told, and what they have made of it so far.
//!
//! In: the meaning of a closure, the statuses of its resources. Out: configurations and versions. A version counts only
//! when its status says that it was made from the very configuration that its job would be told now.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use recmesh_contract::{ArtifactId, ArtifactKind, JobReport, Name, Version};
use recmesh_crds::{Kind, condition};
use recmesh_plan::{JobKey, Model, PlannedJob, Valid, job_config};

use super::work::told;
use crate::{
    here::Here,
    names, reason,
    terms::{Key, Objection, Planned},
};

/// Configurations and versions of every job of a closure.
#[must_use]
pub fn plan(here: &Here<'_>, valid: Valid) -> Planned {
    let jobs = recmesh_plan::plan(&valid).jobs;
    let mut planned = Planned {
        valid,
        made: BTreeMap::new(),
        configs: BTreeMap::new(),
        order: jobs.iter().map(|job| (job.key.clone(), job.needs.clone())).collect(),
    };
    for PlannedJob { key, makes, artifact, .. } in jobs {
        let folder = |_: &str| names::DATA_FOLDER.into();
        let Ok(config) = job_config(&planned.valid, &key, &planned.made, &folder) else { continue };
        if let Some(version) = version(here, &key, &config.digest()) {
            planned.made.insert(key.clone(), ArtifactId { kind: makes, name: artifact, version });
        }
        planned.configs.insert(key, config);
    }
    planned
}

/// What a status says of the job of a resource.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// The version.
    pub version: Option<String>,
    /// Digest of what the job that made it was told.
    pub made_from: Option<String>,
    /// The Job.
    pub job: Option<String>,
}

/// What the status of a resource says of its job.
#[must_use]
pub fn noted(here: &Here<'_>, kind: Kind, name: &str) -> Noted {
    macro_rules! of {
        ($found:expr) => {
            $found.and_then(|it| it.status.clone()).map(|status| Noted {
                version: status.version,
                made_from: status.made_from,
                job: status.job,
            })
        };
    }
    let noted = match kind {
        Kind::Dataset => of!(here.dataset(name)),
        Kind::Tokenizer => of!(here.tokenizer(name)),
        Kind::RetrievalModel => of!(here.retrieval_model(name)),
        Kind::TrainingJob => of!(here.training_job(name)),
        Kind::EvaluationJob => of!(here.evaluation_job(name)),
        Kind::RankingModel | Kind::Pipeline => None,
    };
    noted.unwrap_or_default()
}

/// A version that a status notes; its Job, while it can be asked, knows better than whoever wrote the status last.
fn version(here: &Here<'_>, key: &JobKey, digest: &Version) -> Option<Version> {
    let noted = noted(here, key.kind, key.name.as_str());
    if noted.made_from.as_deref() != Some(digest.as_str()) {
        return None;
    }
    let told = told(here, &names::job(key.kind, key.name.as_str(), digest)).and_then(|report| report.produced);
    told.map(|made| made.version).or_else(|| Version::parse(&noted.version?))
}

/// The digest of a tokenizer's catalog, as its Job or else its status tells it.
#[must_use]
pub fn catalog(here: &Here<'_>, tokenizer: &ArtifactId) -> String {
    let Some(status) = here.tokenizer(tokenizer.name.as_str()).and_then(|it| it.status.clone()) else {
        return String::new();
    };
    let told = status.job.and_then(|job| told(here, &job)).filter(|report| report.produced.as_ref() == Some(tokenizer));
    told.and_then(|report| report.digest).or(status.catalog).unwrap_or_default()
}

impl Planned {
    /// What must be made first before this job can be told what to do; `None` when everything is there.
    #[must_use]
    pub fn awaits(&self, key: &JobKey) -> Option<&JobKey> {
        let (_, needs) = self.order.iter().find(|(of, _)| of == key)?;
        let unmade = needs.iter().find(|need| !self.made.contains_key(need))?;
        Some(self.awaits(unmade).unwrap_or(unmade))
    }

    /// The job that makes a model.
    #[must_use]
    pub fn maker(&self, kind: Kind, name: &str) -> Option<&JobKey> {
        let name = Name::new(name).ok()?;
        let model = if kind == Kind::RankingModel { Model::Ranking(name) } else { Model::Retrieval(name) };
        self.valid.made_by(&model)
    }
}

/// Why something that is not made yet is not: its kind, its name, and its own words where something is wrong.
#[must_use]
pub fn waiting(here: &Here<'_>, on: &JobKey) -> Objection {
    let told = main_condition(here, &Key::new(on.kind, on.name.as_str()));
    let ordinary = [reason::JOB_CREATED, reason::JOB_PENDING, reason::JOB_RUNNING, reason::MADE, reason::PASSED];
    let message = match told {
        Some(told) if !ordinary.contains(&told.reason.as_str()) => {
            format!("{on} is not made: {}: {}", told.reason, told.message)
        }
        _ => format!("{on} is not made yet"),
    };
    Objection::new(reason::waiting_for(on.kind), message)
}

/// A resource's roll-up condition as its status has it.
#[must_use]
pub fn main_condition(here: &Here<'_>, key: &Key) -> Option<Condition> {
    let name = key.name.as_str();
    let conditions = match key.kind {
        Kind::Dataset => here.dataset(name)?.status.as_ref()?.conditions.clone(),
        Kind::Tokenizer => here.tokenizer(name)?.status.as_ref()?.conditions.clone(),
        Kind::RetrievalModel => here.retrieval_model(name)?.status.as_ref()?.conditions.clone(),
        Kind::RankingModel => here.ranking_model(name)?.status.as_ref()?.conditions.clone(),
        Kind::TrainingJob => here.training_job(name)?.status.as_ref()?.conditions.clone(),
        Kind::EvaluationJob => here.evaluation_job(name)?.status.as_ref()?.conditions.clone(),
        Kind::Pipeline => here.pipeline(name)?.status.as_ref()?.conditions.clone(),
    };
    condition(&conditions, roll_up(key.kind)).cloned()
}

/// The condition that sums a kind up.
#[must_use]
pub fn roll_up(kind: Kind) -> &'static str {
    match kind {
        Kind::TrainingJob | Kind::EvaluationJob => recmesh_crds::COMPLETE,
        Kind::Dataset | Kind::Tokenizer | Kind::RetrievalModel | Kind::RankingModel | Kind::Pipeline => {
            recmesh_crds::READY
        }
    }
}

/// Whether a report is of an artifact that a job of this kind makes.
#[must_use]
pub fn produced(report: &JobReport, kind: ArtifactKind) -> Option<String> {
    let produced = report.produced.as_ref()?;
    (produced.kind == kind).then(|| produced.version.to_string())
}
