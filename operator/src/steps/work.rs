//! Where the job of a resource stands.
//!
//! In: what the job is told, what the status says, the Job and its pods, what the running pod told last. Out: one of a
//! closed list. What a Job that is complete told settles it; when the Job is gone, a status that says that the version
//! was made from this very configuration. A Job that is done never runs again.

use std::sync::Arc;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStateTerminated, Pod},
};
use recmesh_contract::{JobReport, JobState, config::JobConfig, config::PodParams};
use recmesh_plan::JobKey;

use super::plan::noted;
use crate::{
    here::{Here, label, name_of},
    names, reason,
    status::trouble::{last_words, of_pod, of_pods},
    terms::{Trouble, Work},
};

/// Where the job of a resource stands.
#[must_use]
pub fn work(here: &Here<'_>, key: &JobKey, config: &JobConfig, asked: &PodParams) -> Work {
    let digest = config.digest();
    let name = names::job(key.kind, key.name.as_str(), &digest);
    let noted = noted(here, key.kind, key.name.as_str());
    let noted = noted.version.filter(|_| noted.made_from.as_deref() == Some(digest.as_str()));
    if let Some(report) = told(here, &name)
        && let Some(made) = &report.produced
    {
        let version = made.version.to_string();
        let noted = noted.as_ref() == Some(&version);
        return Work::Made { version, report: Some(Box::new(report)), noted };
    }
    if let Some(version) = noted {
        return Work::Made { version, report: None, noted: true };
    }
    let Some(job) = here.job(&name) else { return Work::Absent };
    if job.metadata.deletion_timestamp.is_some() {
        return Work::Pending(None);
    }
    if ended(&job, "Complete") {
        return Work::Lost;
    }
    let pods = here.pods_of_job(&name);
    if ended(&job, "Failed") {
        return Work::Failed(failure(&job, &pods, asked));
    }
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        return if label(&job.metadata, names::QUEUE).is_some() { Work::Queued } else { Work::Suspended };
    }
    let trouble = of_pods(&pods, asked).or_else(|| setback(&pods, asked));
    if pods.iter().any(|pod| runs(pod)) {
        let report = here.world.told.report(here.namespace, &name).map(Box::new);
        return Work::Running { report, trouble };
    }
    Work::Pending(trouble)
}

/// What a Job that is complete, and is still there, told at its end.
#[must_use]
pub fn told(here: &Here<'_>, job: &str) -> Option<JobReport> {
    here.job(job).filter(|job| job.metadata.deletion_timestamp.is_none() && ended(job, "Complete"))?;
    let report = last_report(&here.pods_of_job(job)).or_else(|| here.world.told.report(here.namespace, job));
    report.filter(done)
}

fn done(report: &JobReport) -> bool {
    matches!(report.state, JobState::Complete | JobState::Reused)
}

/// Whether a Job has ended in this way.
#[must_use]
pub fn ended(job: &Job, how: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == how && it.status == "True")
}

fn runs(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
        && pod.metadata.deletion_timestamp.is_none()
}

/// How the container of a pod ended, if it has.
fn ending(pod: &Pod) -> Option<&ContainerStateTerminated> {
    pod.status.as_ref()?.container_statuses.iter().flatten().find_map(|it| it.state.as_ref()?.terminated.as_ref())
}

/// Pods that have ended, the last to end first.
fn endings(pods: &[Arc<Pod>]) -> Vec<(&Pod, &ContainerStateTerminated)> {
    let mut all: Vec<(&Pod, &ContainerStateTerminated)> =
        pods.iter().filter_map(|pod| ending(pod).map(|ended| (pod.as_ref(), ended))).collect();
    all.sort_by(|a, b| b.1.finished_at.cmp(&a.1.finished_at));
    all
}

fn read_report(ended: &ContainerStateTerminated) -> Option<JobReport> {
    serde_json::from_str(ended.message.as_deref()?).ok()
}

/// The report of the pod that did the work.
fn last_report(pods: &[Arc<Pod>]) -> Option<JobReport> {
    let endings = endings(pods);
    let reports = endings.iter().filter(|(_, ended)| ended.exit_code == 0).filter_map(|(_, ended)| read_report(ended));
    reports.into_iter().find(done)
}

/// Why the last pod that failed did, while another one is about to try.
fn setback(pods: &[Arc<Pod>], asked: &PodParams) -> Option<Trouble> {
    let endings = endings(pods);
    let (pod, ended) = endings.into_iter().find(|(_, ended)| ended.exit_code != 0)?;
    Some(why(pod, ended, asked))
}

fn why(pod: &Pod, ended: &ContainerStateTerminated, asked: &PodParams) -> Trouble {
    if let Some(trouble) = of_pod(pod, asked) {
        return trouble;
    }
    let said = read_report(ended).and_then(|report| report.message);
    let message = said.unwrap_or_else(|| last_words(ended, name_of(pod)));
    Trouble { reason: reason::JOB_FAILED, message }
}

/// Why a Job has failed: what its last pod said, or else what Kubernetes says.
fn failure(job: &Job, pods: &[Arc<Pod>], asked: &PodParams) -> Trouble {
    let endings = endings(pods);
    if let Some((pod, ended)) = endings.into_iter().find(|(_, ended)| ended.exit_code != 0) {
        let Trouble { reason, message } = why(pod, ended, asked);
        return Trouble { reason, message };
    }
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let said = conditions.into_iter().find(|it| it.type_ == "Failed").and_then(|it| it.message.clone());
    let message = said.unwrap_or_else(|| "its pods failed and are gone".to_owned());
    Trouble { reason: reason::JOB_FAILED, message }
}
