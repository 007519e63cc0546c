//! `recmesh validate`: only checks.

use anyhow::Result;

use crate::{args::Validate, console, manifests};

/// Checks manifests.
///
/// # Errors
/// When there is a problem; all of them have been printed.
pub fn run(options: &Validate) -> Result<()> {
    let checked = manifests::read(&options.manifests)?;
    let plan = recmesh_plan::plan(&checked.valid);
    console::say(&format!("no problems; {} jobs, {} pipelines", plan.jobs.len(), checked.valid.pipelines.len()));
    Ok(())
}
