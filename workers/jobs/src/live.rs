//! The report of a job while it runs: where it is, how fast it goes, what it used so far.
//!
//! In: steps of progress from the job's thread. Out: a report at any time, from any thread. The pace is that of this run:
//! what an earlier run did before a checkpoint counts as done but not as speed.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use recmesh_contract::{JobProgress, JobReport, JobState, Progress, Reporter, config::JobConfig};

use crate::{Usage, kind};

/// A job's report, kept up to date.
pub struct Live {
    report: JobReport,
    usage: Usage,
    way: Mutex<Way>,
}

#[derive(Default)]
struct Way {
    now: Option<Progress>,
    /// When this step began, and how much of it was done then.
    began: Option<(Instant, u64)>,
    checkpoint: Option<u64>,
}

impl Live {
    /// The report of a job that begins now.
    #[must_use]
    pub fn start(config: &JobConfig) -> Self {
        let report = JobReport {
            kind: kind(&config.work).to_owned(),
            name: config.name.clone(),
            state: JobState::Running,
            produced: None,
            metrics: Vec::new(),
            omitted: 0,
            digest: None,
            progress: None,
            quantization: None,
            resources: Default::default(),
            message: None,
        };
        Self { report, usage: Usage::start(), way: Mutex::default() }
    }

    /// The report as of now.
    #[must_use]
    pub fn report(&self) -> JobReport {
        JobReport { progress: self.progress_at(Instant::now()), resources: self.usage.stop(), ..self.report.clone() }
    }

    /// The report of the job that failed now, with what to do.
    #[must_use]
    pub fn failed(&self, message: String) -> JobReport {
        JobReport { state: JobState::Failed, message: Some(message), ..self.report() }
    }

    fn progress_at(&self, at: Instant) -> Option<JobProgress> {
        let way = self.way();
        let Progress { step, done, total, note } = way.now.as_ref()?;
        let (began, before) = way.began?;
        let whole = |number: u64| number.min(*total);
        let percent = (*total > 0).then(|| (whole(*done) as f64 / *total as f64 * 100.0) as u8);
        let pace = done.saturating_sub(before) as f64 / at.saturating_duration_since(began).as_secs_f64();
        let left = total.saturating_sub(*done) as f64;
        // Nothing done yet tells nothing, and a moment's pace would promise anything.
        let known = *total > 0 && pace.is_finite() && pace > 0.0;
        Some(JobProgress {
            step: (*step).to_owned(),
            percent,
            eta_seconds: known.then(|| (left / pace).ceil() as u64),
            checkpoint: way.checkpoint,
            note: note.clone(),
        })
    }

    fn advance(&self, progress: Progress, at: Instant) {
        let mut way = self.way();
        let same = way.now.as_ref().is_some_and(|now| now.step == progress.step && now.done <= progress.done);
        if !same {
            way.began = Some((at, progress.done));
        }
        way.now = Some(progress);
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for Live {
    fn progress(&self, progress: Progress) {
        let percent = |way: &Way| way.now.as_ref().map(|now| (now.step, now.done * 100 / now.total.max(1)));
        let before = percent(&self.way());
        self.advance(progress, Instant::now());
        let way = self.way();
        // One line a percent: enough to follow a long job, and no flood.
        if percent(&way) != before
            && let Some(Progress { step, done, total, note }) = &way.now
        {
            tracing::info!(step, done, total, note, "progress");
        }
    }

    fn checkpoint(&self, step: u64) {
        self.way().checkpoint = Some(step);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use recmesh_contract::{
        ArtifactId, ArtifactKind, Name, Version,
        config::{JobWork, NoParams, RetrievalAlgorithm},
    };

    use super::*;

    fn live() -> Live {
        let name = Name::new("top").unwrap();
        let dataset = ArtifactId { kind: ArtifactKind::Dataset, name: name.clone(), version: Version::of([]) };
        let algorithm = RetrievalAlgorithm::Popularity(NoParams {});
        Live::start(&JobConfig { name, work: JobWork::Count { algorithm, dataset } })
    }

    fn step(step: &'static str, done: u64, total: u64) -> Progress {
        Progress { step, done, total, note: String::new() }
    }

    #[test]
    fn tells_percent_and_the_time_left_at_this_runs_pace() {
        let (live, start) = (live(), Instant::now());
        assert_eq!(live.progress_at(start), None);
        live.advance(step("reading", 5, 0), start);
        let unknown = live.progress_at(start + Duration::from_secs(9)).unwrap();
        assert_eq!((unknown.percent, unknown.eta_seconds), (None, None), "no end is known");
        // Goes on after a checkpoint: 400 steps of 1,000 were done by an earlier run.
        live.advance(step("training", 400, 1000), start);
        live.checkpoint(400);
        assert_eq!(
            live.progress_at(start + Duration::from_secs(9)).unwrap().eta_seconds,
            None,
            "nothing done here yet"
        );
        live.advance(step("training", 500, 1000), start + Duration::from_secs(10));
        let told = live.progress_at(start + Duration::from_secs(10)).unwrap();
        assert_eq!((told.step.as_str(), told.percent, told.eta_seconds), ("training", Some(50), Some(50)));
        assert_eq!(told.checkpoint, Some(400));
        live.advance(step("evaluating", 0, 10), start + Duration::from_secs(20));
        let next = live.progress_at(start + Duration::from_secs(30)).unwrap();
        assert_eq!((next.percent, next.eta_seconds), (Some(0), None), "another step has a pace of its own");
    }

    #[test]
    fn a_failure_keeps_how_far_it_came() {
        let live = live();
        live.progress(step("counting", 1, 4));
        let report = live.failed("the disk is full".to_owned());
        assert_eq!((report.state, report.kind.as_str()), (JobState::Failed, "RetrievalModel"));
        assert_eq!(report.progress.unwrap().percent, Some(25));
        assert_eq!(report.message.as_deref(), Some("the disk is full"));
    }
}
