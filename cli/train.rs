//! `recmesh train`: every job of the manifests, then the results.

use anyhow::Result;
use serde_json::json;

use crate::{
    args::{Output, Train},
    console,
    interrupt::Interrupt,
    manifests,
    state::State,
    work,
};

/// Does all jobs and prints the results.
///
/// # Errors
/// When the manifests are wrong, a job fails, or a gate is missed.
pub fn run(options: &Train) -> Result<()> {
    let checked = manifests::read(&options.manifests)?;
    manifests::runnable(&checked)?;
    let folders = manifests::folders(&checked, &options.place)?;
    let state = State::open(&options.place.state)?;
    let done = work::all(&checked.valid, &folders, &options.place, &state, &*Interrupt::install()?)?;
    match options.output {
        Output::Table => {
            console::say(&work::table(&done.reports));
            for line in done.reports.iter().filter_map(work::quantization) {
                console::say(&line);
            }
        }
        Output::Json => console::say(&serde_json::to_string_pretty(&json!({ "jobs": done.reports }))?),
    }
    work::gates(&done.reports)
}
