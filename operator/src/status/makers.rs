//! The status of what a job makes and nobody serves: data sets, training jobs, evaluation jobs.
//!
//! In: the status of before and where the job stands. Out: the whole status of now. What is known of the last version
//! stays until another one is made.

use recmesh_contract::config::Gate;
use recmesh_crds::{COMPLETE, DatasetStatus, EvaluationJobStatus, QuantizationStatus, READY, TrainingJobStatus};

use super::{
    gates,
    job::{condition, count, measured, news, progress, told, used},
    said::Said,
};
use crate::{reason, steps::make::Making};

/// The roll-up condition of a resource that a job makes.
#[must_use]
pub fn roll_up(kind: &'static str, making: &Making, done: &'static str) -> Said {
    match &making.work {
        Ok(work) => condition(kind, work, making.job.as_deref().unwrap_or_default(), done),
        Err(objection) => Said::objected(kind, objection),
    }
}

/// Fills in what every job's resource says of it: version, digest, Job, progress.
macro_rules! fill {
    ($status:ident, $making:ident) => {
        $status.conditions = Vec::new();
        $status.progress = $making.work.as_ref().ok().and_then(progress);
        if $making.job.is_some() {
            $status.job = $making.job.clone();
        }
        let news = $making.work.as_ref().ok().and_then(news);
        if let Some((version, _)) = news {
            $status.version = Some(version.clone());
            $status.made_from = $making.digest.clone();
        }
    };
}
pub(crate) use fill;

/// The status of a data set.
#[must_use]
pub fn dataset(before: Option<&DatasetStatus>, making: &Making) -> (DatasetStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    fill!(status, making);
    if let Some((_, report)) = making.work.as_ref().ok().and_then(news) {
        status.digest = report.digest.clone();
        status.rows = count(report, "rows");
        status.users = count(report, "users");
        status.items = count(report, "items");
        status.bad_rows = count(report, "badRows");
        let time = |name: &str| report.metrics.iter().find(|it| it.name == name).map(|it| it.value as i64);
        status.first_time = time("firstTime");
        status.last_time = time("lastTime");
    }
    (status, vec![roll_up(READY, making, reason::MADE)])
}

/// The status of a training job.
#[must_use]
pub fn training(before: Option<&TrainingJobStatus>, making: &Making) -> (TrainingJobStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    fill!(status, making);
    if let Some(report) = making.work.as_ref().ok().and_then(told)
        && !report.metrics.is_empty()
    {
        status.metrics = measured(report);
    }
    if let Some((_, report)) = making.work.as_ref().ok().and_then(news) {
        status.used = used(report).or(status.used);
        status.quantization = report.quantization.as_ref().map(QuantizationStatus::from);
    }
    (status, vec![roll_up(COMPLETE, making, reason::MADE)])
}

/// The status of an evaluation job: its reason tells whether every gate passed.
#[must_use]
pub fn evaluation(
    before: Option<&EvaluationJobStatus>,
    making: &Making,
    asked: &[Gate],
) -> (EvaluationJobStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    fill!(status, making);
    if let Some((_, report)) = making.work.as_ref().ok().and_then(news) {
        status.metrics = measured(report);
        status.gates = gates::verdicts(asked, &report.metrics);
        status.used = used(report).or(status.used);
    }
    let mut said = roll_up(COMPLETE, making, reason::PASSED);
    if said.holds {
        let missed = gates::missed(asked, &status.gates);
        if !missed.is_empty() {
            said.reason = reason::GATE_FAILED;
            said.message = format!("{}; {}", said.message, missed.join("; "));
        }
    }
    (status, vec![said])
}
