//! `recmesh gc`: removes artifacts that nothing needs.
//!
//! Kept: the newest report's artifact of every resource, what the releases in force serve, and everything those were
//! made from.

use std::collections::BTreeSet;

use anyhow::Result;
use recmesh_contract::ArtifactId;

use crate::{args::Gc, console, state::State};

/// Removes, or names, what nothing needs.
///
/// # Errors
/// When there is no state folder, or another process holds it.
pub fn run(options: &Gc) -> Result<()> {
    let state = State::existing(&options.state)?;
    let mut open: Vec<ArtifactId> = state.records.reports()?.into_iter().filter_map(|report| report.produced).collect();
    let served: BTreeSet<String> = state
        .records
        .releases()?
        .into_iter()
        .flat_map(|(_, release)| release.models.into_values().chain([release.tokenizer]))
        .collect();
    let all = state.store.list()?;
    open.extend(all.iter().filter(|id| served.contains(&format!("{}@{}", id.name, id.version))).cloned());
    let mut keep = BTreeSet::new();
    while let Some(id) = open.pop() {
        if state.store.contains(&id) && keep.insert(id.clone()) {
            open.extend(state.store.open_artifact(&id)?.manifest().inputs.iter().cloned());
        }
    }
    let gone = if options.dry_run {
        all.into_iter().filter(|id| !keep.contains(id)).collect()
    } else {
        state.store.gc(&keep)?
    };
    for id in &gone {
        console::say(&id.to_string());
    }
    console::say(&format!("{} {}", gone.len(), if options.dry_run { "would be removed" } else { "removed" }));
    Ok(())
}
