//! What a resource says of its job.
//!
//! In: where the job stands. Out: its roll-up condition, its progress, the numbers of a report.

use recmesh_contract::{JobReport, Metric};
use recmesh_crds::{Measured, ProgressStatus, Used};

use super::said::Said;
use crate::{
    reason,
    terms::{Trouble, Work},
};

/// Most numbers that a status holds.
const MEASURED: usize = 256;

/// The roll-up condition of a job; `done` is the reason when it is made.
#[must_use]
pub fn condition(kind: &'static str, work: &Work, job: &str, done: &'static str) -> Said {
    match work {
        Work::Made { version, .. } => Said::yes(kind, done, format!("version {version} is made")),
        Work::Absent => Said::no(kind, reason::JOB_CREATED, format!("Job {job} is created")),
        Work::Suspended => Said::no(
            kind,
            reason::SUSPENDED,
            format!("Job {job} waits because spec.suspend is true: set it to false to let it run"),
        ),
        Work::Queued => Said::no(kind, reason::QUEUED, format!("Job {job} waits to be admitted by its queue")),
        Work::Pending(None) => Said::no(kind, reason::JOB_PENDING, format!("the pod of Job {job} starts")),
        Work::Pending(Some(trouble)) | Work::Running { trouble: Some(trouble), .. }
            if trouble.reason != reason::JOB_FAILED =>
        {
            Said::troubled(kind, trouble)
        }
        Work::Pending(Some(Trouble { message, .. })) => {
            Said::no(kind, reason::JOB_PENDING, format!("Job {job} tries again after: {message}"))
        }
        Work::Running { trouble: Some(Trouble { message, .. }), .. } => {
            Said::no(kind, reason::JOB_RUNNING, format!("Job {job} runs again after: {message}"))
        }
        Work::Running { trouble: None, .. } => Said::no(kind, reason::JOB_RUNNING, format!("Job {job} runs")),
        Work::Failed(Trouble { message, .. }) => Said::no(
            kind,
            reason::JOB_FAILED,
            format!("{message}; a change of this resource tries again, and so does: kubectl delete job {job}"),
        ),
        Work::Lost => Said::no(
            kind,
            reason::REPORT_LOST,
            format!(
                "Job {job} is complete, but its pod is gone and with it the version that it made: to find it again in \
                 the store: kubectl delete job {job}"
            ),
        ),
    }
}

/// How far a job is, while it runs.
#[must_use]
pub fn progress(work: &Work) -> Option<ProgressStatus> {
    let Work::Running { report: Some(report), .. } = work else { return None };
    report.progress.as_ref().map(ProgressStatus::from)
}

/// What a job told at its end, while it can be asked: a status that somebody has edited is put right by it.
#[must_use]
pub fn news(work: &Work) -> Option<(&String, &JobReport)> {
    match work {
        Work::Made { version, report: Some(report), .. } => Some((version, report)),
        _ => None,
    }
}

/// What a job has told so far or at its end.
#[must_use]
pub fn told(work: &Work) -> Option<&JobReport> {
    match work {
        Work::Made { report: Some(report), .. } | Work::Running { report: Some(report), .. } => Some(report),
        _ => None,
    }
}

/// The numbers of a report; those that are none are left out, no status can hold them.
#[must_use]
pub fn measured(report: &JobReport) -> Vec<Measured> {
    report.metrics.iter().filter(|metric| metric.value.is_finite()).take(MEASURED).map(Measured::from).collect()
}

/// What a job used; nothing where it found its artifact in the store.
#[must_use]
pub fn used(report: &JobReport) -> Option<Used> {
    (report.resources.wall_seconds > 0.0).then(|| Used::from(report.resources))
}

/// A count among the numbers of a report: of the whole, not of a split.
#[must_use]
pub fn count(report: &JobReport, name: &str) -> Option<u64> {
    let whole = |metric: &&Metric| metric.name == name && metric.split.is_none() && metric.of.is_none();
    let value = report.metrics.iter().find(whole)?.value;
    // Counts come as floats that hold whole numbers exactly.
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}
