//! `recmesh crds`: prints the custom resource definitions.

use anyhow::Result;

use crate::console;

/// Prints every definition as one YAML stream.
pub fn run() -> Result<()> {
    console::say(recmesh_crds::yaml().trim_end());
    Ok(())
}
