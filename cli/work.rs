//! All jobs of a plan, one at a time in order of reference, with progress.

use std::{collections::BTreeMap, path::PathBuf, sync::atomic::Ordering, thread};

use anyhow::{Context, Result};
use recmesh_contract::{
    ArtifactId, JobReport, JobState, Precision, Quantized, Resources,
    config::{JobConfig, JobWork},
};
use recmesh_jobs::{Bench, JobError, Remedy};
use recmesh_plan::{JobKey, PlannedJob, Valid};
use recmesh_store::Store;

use crate::{
    args::Place,
    console::{self, Wrong},
    interrupt::Interrupt,
    progress::Bar,
    state::State,
};

/// What all jobs made.
pub struct Done {
    /// A report a job, in order.
    pub reports: Vec<JobReport>,
    /// What each job made.
    pub made: BTreeMap<JobKey, ArtifactId>,
}

/// Does every job.
///
/// # Errors
/// The first job's error; what was made before stays in the store.
pub fn all(
    valid: &Valid,
    folders: &BTreeMap<String, PathBuf>,
    place: &Place,
    state: &State,
    interrupt: &Interrupt,
) -> Result<Done> {
    let threads = place.threads.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let mut done = Done { reports: Vec::new(), made: BTreeMap::new() };
    // The report of a reused artifact stands: it tells what making it took.
    let ended = |report: &JobReport| matches!(report.state, JobState::Reused | JobState::Complete);
    let known = state.records.reports()?.into_iter().filter(ended);
    let known: Vec<Option<ArtifactId>> = known.map(|report| report.produced).collect();
    let folder = |dataset: &str| folders.get(dataset).cloned().unwrap_or_default();
    let jobs = recmesh_plan::plan(valid).jobs;
    known_names(&jobs, &place.retrain)?;
    for job in jobs {
        let stopped = interrupt.flag.load(Ordering::Relaxed);
        anyhow::ensure!(!stopped, "stopped before {}; what was made is kept, and the same command goes on", job.key);
        let config = recmesh_plan::job_config(valid, &job.key, &done.made, &folder)?;
        let bar = Bar::start(job.key.kind.as_str(), job.key.name.as_str());
        let bench = Bench { store: &state.store, threads, reporter: &bar, stop: &interrupt.flag };
        let subject = job.key.to_string();
        let again = place.retrain.iter().any(|name| name == job.key.name.as_str() || config.name.as_str() == name);
        if again {
            recmesh_jobs::discard(&config, &state.store).with_context(|| subject.clone())?;
        }
        if let Some(started) = started(&job.key, &config, &state.store)? {
            state.records.put_report(&started)?;
        }
        let mut report = match recmesh_jobs::run(&config, &bench) {
            Ok(report) => report,
            Err(error) => {
                let failure = failed(&job.key, &config, &error);
                let message = failure.message.clone().unwrap_or_default();
                // The job's own failure is the one to tell, also where the disk has no room for its report.
                if let Err(unkept) = state.records.put_report(&failure) {
                    console::warn(&format!("the report of {subject} is lost: {unkept}"));
                }
                anyhow::bail!("{subject}: {message}");
            }
        };
        // A model's artifact bears the model's name; the report is its job's.
        report.name = job.key.name.clone();
        bar.finish(&report);
        if let Some(made) = &report.produced {
            done.made.insert(job.key.clone(), made.clone());
        }
        if report.state != JobState::Reused || !known.contains(&report.produced) {
            state.records.put_report(&report)?;
        }
        done.reports.push(report);
    }
    Ok(done)
}

/// The report of a training that begins: should the process be killed, nothing else tells whose the checkpoint is.
/// `None` for other jobs, which keep none, and for what is made already.
fn started(job: &JobKey, config: &JobConfig, store: &Store) -> Result<Option<JobReport>> {
    if !matches!(config.work, JobWork::TrainRetrieval { .. } | JobWork::TrainRanking { .. }) {
        return Ok(None);
    }
    let target = recmesh_jobs::target(config)?;
    Ok((!store.contains(&target)).then(|| unmade(job, JobState::Running, Some(target), None)))
}

/// The report of a job that failed or was stopped; what it would have made keeps its checkpoint.
fn failed(job: &JobKey, config: &JobConfig, error: &JobError) -> JobReport {
    let way_out = match error.remedy() {
        Some(Remedy::Anew) => format!("; --retrain {} makes it anew", config.name),
        Some(Remedy::GoOn) => "; the same command goes on after it".to_owned(),
        None => String::new(),
    };
    unmade(job, JobState::Failed, recmesh_jobs::target(config).ok(), Some(format!("{error}{way_out}")))
}

/// The report of a job that has made nothing, so far or at all.
fn unmade(job: &JobKey, state: JobState, target: Option<ArtifactId>, message: Option<String>) -> JobReport {
    JobReport {
        kind: job.kind.as_str().to_owned(),
        name: job.name.clone(),
        state,
        produced: target,
        metrics: Vec::new(),
        omitted: 0,
        digest: None,
        progress: None,
        quantization: None,
        resources: Resources::default(),
        message,
    }
}

/// Refuses a `--retrain` that fits no job: most likely a slip that would leave the damage in place.
fn known_names(jobs: &[PlannedJob], retrain: &[String]) -> Result<()> {
    for name in retrain {
        let fits = jobs.iter().any(|job| [job.key.name.as_str(), job.artifact.as_str()].contains(&name.as_str()));
        let names = || jobs.iter().map(|job| job.key.name.to_string()).collect::<Vec<_>>().join(", ");
        if !fits {
            let text = format!("--retrain {name}: the manifests have no job of that name; they have {}", names());
            return Err(Wrong(text).into());
        }
    }
    Ok(())
}

/// Every metric of every evaluation as a table.
#[must_use]
pub fn table(reports: &[JobReport]) -> String {
    let mut rows =
        vec![["EVALUATION", "METRIC", "OF", "SPLIT", "MASKING", "VALUE", "95% INTERVAL"].map(str::to_owned).to_vec()];
    for report in reports.iter().filter(|report| report.kind == "EvaluationJob") {
        for metric in &report.metrics {
            rows.push(vec![
                report.name.to_string(),
                metric.name.clone(),
                metric.of.clone().unwrap_or_default(),
                metric.split.clone().unwrap_or_default(),
                metric.masking.clone().unwrap_or_default(),
                format!("{:.4}", metric.value),
                metric.interval.map_or(String::new(), |(low, high)| format!("{low:.4} – {high:.4}")),
            ]);
        }
    }
    if rows.len() == 1 { "no evaluations in the manifests".to_owned() } else { console::columns(&rows) }
}

/// In which precision a model serves and why, where its declaration asks for quantization.
#[must_use]
pub fn quantization(report: &JobReport) -> Option<String> {
    let Quantized { precision, message, weight_bytes, served_bytes } = report.quantization.as_ref()?;
    let model = report.produced.as_ref().map_or(report.name.as_str(), |made| made.name.as_str());
    let (reason, bytes) = match precision {
        Precision::F32 => ("QuantizationFellBack", format!("{weight_bytes} bytes of weights")),
        Precision::E4m3 | Precision::Int8 => {
            ("Quantized", format!("{served_bytes} of {weight_bytes} bytes of weights"))
        }
    };
    Some(format!("{reason}: {model} serves in {}, {bytes}: {message}", precision.as_str()))
}

/// Fails when a gate was missed.
///
/// # Errors
/// Naming every missed gate.
pub fn gates(reports: &[JobReport]) -> Result<()> {
    let missed: Vec<&str> = reports
        .iter()
        .filter(|report| report.kind == "EvaluationJob")
        .filter_map(|report| report.message.as_deref())
        .collect();
    anyhow::ensure!(missed.is_empty(), "{}", missed.join("\n"));
    Ok(())
}
