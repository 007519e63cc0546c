//! `recmesh job`: does the one job of a pod, tells how far it is, and leaves a last word.
//!
//! In: one `JobConfig`. Out: an artifact in the store, `GET /report` meanwhile, the last report in a file of at most 4
//! KiB. Exit codes: 0 done · 1 failed, another try may help · 2 the configuration or the data is wrong, none will · 3
//! stopped with a checkpoint kept, another try goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use axum::{Json, routing::get};
use recmesh_contract::{
    JobReport,
    config::{JobConfig, JobWork},
};
use recmesh_jobs::{Bench, JobError, Live, Remedy, shortened};
use recmesh_store::{Place, Store};
use recmesh_telemetry::Telemetry;
use serde_json::json;

use crate::{
    admin::{self, Readiness},
    args::Job,
    config, console,
    interrupt::Interrupt,
    store,
};

/// Another try of the same may help.
const FAILED: u8 = 1;
/// It cannot.
const WRONG: u8 = 2;
/// Another try goes on from a checkpoint.
const STOPPED: u8 = 3;

/// Does the job and gives the exit code.
pub fn run(options: &Job) -> ExitCode {
    let word = LastWord::at(options.termination_message.clone());
    let read = || -> Result<_, console::Wrong> {
        Ok((config::read::<JobConfig>(&options.config)?, store::place(&options.artifacts.store)?))
    };
    let (config, place) = match read() {
        Ok(read) => read,
        Err(wrong) => {
            word.write(&wrong.to_string());
            return console::fail(&wrong.into());
        }
    };
    let live = Arc::new(Live::start(&config));
    match work(options, &place, &config, &live, &word) {
        Ok(report) => {
            word.leave(report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let failure = Failure::of(&error);
            word.leave(live.failed(failure.message.clone()));
            console::warn(&format!("recmesh: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}

fn work(options: &Job, place: &Place, config: &JobConfig, live: &Arc<Live>, word: &LastWord) -> Result<JobReport> {
    let mut store = match place {
        Place::Folder(folder) => Store::open(folder)
            .context("the store cannot be written: give the job a volume that it may write, and that is not full")?,
        Place::Bucket(bucket) => store::bucket(bucket, &options.artifacts.cache)?,
    };
    if let Some(folder) = &options.checkpoints {
        store = store.with_checkpoints(folder)?;
    }
    let interrupt = Interrupt::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(admin::bind(options.listen, "--listen"))?;
    console::say(&format!("admin on http://{}", listener.local_addr()?));
    let shown = Arc::clone(live);
    let readiness = || Readiness { ready: true, detail: json!({ "ready": true }) };
    let router = admin::router(Telemetry::new(), readiness)
        .route("/report", get(move || std::future::ready(Json(shown.report()))));
    runtime.spawn(admin::serve(listener, router));
    if !matches!(config.work, JobWork::TrainRetrieval { .. } | JobWork::TrainRanking { .. }) {
        // Only training keeps checkpoints and asks whether to stop. Whatever else is under way leaves nothing behind.
        let (wish, live, word) = (Arc::clone(&interrupt), Arc::clone(live), word.clone());
        runtime.spawn(async move {
            wish.raised().await;
            word.leave(live.failed("stopped; another try starts over".to_owned()));
            process::exit(FAILED.into());
        });
    }
    let all = || thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.map_or_else(all, usize::from);
    let bench = Bench { store: &store, threads, reporter: &**live, stop: &interrupt.flag };
    let done = recmesh_jobs::run(config, &bench);
    runtime.shutdown_background();
    Ok(done?)
}

/// What a failure means for whoever would try again.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn of(error: &anyhow::Error) -> Self {
        let told = console::told(error);
        let Some(job) = error.downcast_ref::<JobError>() else {
            // The surroundings: the store's volume, the port, the signal handlers.
            return Self { code: if error.is::<console::Wrong>() { WRONG } else { FAILED }, message: told };
        };
        match job.remedy() {
            Some(Remedy::GoOn) => Self { code: STOPPED, message: format!("{told}; another try goes on after it") },
            _ => Self { code: if job.passing() { FAILED } else { WRONG }, message: told },
        }
    }
}

/// Where the last report goes.
#[derive(Clone)]
struct LastWord(Option<PathBuf>);

impl LastWord {
    /// Where a container's last words go when nobody says otherwise; there is no such file elsewhere.
    const USUAL: &str = "/dev/termination-log";
    /// Bytes that a pod's status keeps.
    const BYTES: usize = 4096;

    fn at(given: Option<PathBuf>) -> Self {
        let usual = Path::new(Self::USUAL);
        Self(given.or_else(|| usual.is_file().then(|| usual.to_owned())))
    }

    fn leave(&self, report: JobReport) {
        match serde_json::to_string(&shortened(report, Self::BYTES)) {
            Ok(text) => self.write(&text),
            Err(error) => console::warn(&format!("the last report cannot be written: {error}")),
        }
    }

    fn write(&self, text: &str) {
        let Some(path) = &self.0 else { return };
        if let Err(error) = fs::write(path, &text[..text.floor_char_boundary(Self::BYTES)]) {
            console::warn(&format!("cannot write the last report to {}: {error}", path.display()));
        }
    }
}
