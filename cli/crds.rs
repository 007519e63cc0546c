//! `recmesh crds`: prints the custom resource definitions, puts them into a cluster, or takes them away.

use anyhow::Result;
use recmesh_operator::{install, remove};

use crate::{args::Crds, console};

/// Prints every definition as one YAML stream; with `--apply`, applies them instead and waits until each is established; with
/// `--delete`, deletes them and waits until each is gone.
///
/// # Errors
/// When the cluster does not do so in time.
pub fn run(options: &Crds) -> Result<()> {
    if !options.apply && !options.delete {
        console::say(recmesh_crds::yaml().trim_end());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if options.delete {
        for name in runtime.block_on(remove(options.timeout))? {
            console::say(&format!("customresourcedefinition/{name} deleted"));
        }
        return Ok(());
    }
    for installed in runtime.block_on(install(options.timeout))? {
        console::say(&installed.to_string());
    }
    Ok(())
}
