//! `recmesh get`: resources and releases in the state folder, also while another process works in it.

use anyhow::Result;
use recmesh_contract::JobState;
use recmesh_store::Records;
use serde_json::json;

use crate::{
    args::{Get, Output},
    console, state, work,
};

/// Prints what the state folder knows.
///
/// # Errors
/// When there is no state folder, or its records cannot be read.
pub fn run(options: &Get) -> Result<()> {
    let Records { reports, releases } = state::records(&options.state)?;
    if options.output == Output::Json {
        let releases: Vec<_> =
            releases.iter().map(|(name, release)| json!({"pipeline": name, "release": release})).collect();
        console::say(&serde_json::to_string_pretty(&json!({"resources": reports, "releases": releases}))?);
        return Ok(());
    }
    let mut rows = vec![["KIND", "NAME", "STATE", "VERSION", "SECONDS"].map(str::to_owned).to_vec()];
    for report in &reports {
        let version = report.produced.as_ref().map_or(String::new(), |id| id.version.to_string());
        let seconds = format!("{:.1}", report.resources.wall_seconds);
        rows.push(vec![report.kind.clone(), report.name.to_string(), format!("{:?}", report.state), version, seconds]);
    }
    console::say(&console::columns(&rows));
    for report in reports.iter().filter(|report| report.state == JobState::Failed) {
        let message = report.message.as_deref().unwrap_or_default();
        console::say(&format!("\n{}/{} failed: {message}", report.kind, report.name));
    }
    for report in &reports {
        if let Some(line) = work::quantization(report) {
            console::say(&format!("\n{line}"));
        }
    }
    if !releases.is_empty() {
        let mut rows = vec![["PIPELINE", "RELEASE", "MODELS", "TOKENIZER"].map(str::to_owned).to_vec()];
        for (pipeline, release) in &releases {
            let models: Vec<String> = release.models.iter().map(|(stage, model)| format!("{stage}={model}")).collect();
            rows.push(vec![pipeline.to_string(), release.name.clone(), models.join(" "), release.tokenizer.clone()]);
        }
        console::say(&format!("\n{}", console::columns(&rows)));
    }
    Ok(())
}
