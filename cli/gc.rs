//! `recmesh gc`: removes artifacts that nothing needs.
//!
//! Kept: the newest report's artifact of every resource, what the releases in force serve, everything those were made
//! from, and the checkpoint of a training that failed, was stopped or was killed, together with what its resource made
//! before.

use std::collections::BTreeSet;

use anyhow::Result;
use recmesh_contract::{ArtifactId, JobState};

use crate::{args::Gc, console, state::State};

/// Removes, or names, what nothing needs.
///
/// # Errors
/// When there is no state folder, or another process holds it.
pub fn run(options: &Gc) -> Result<()> {
    let state = State::existing(&options.state)?;
    let all = state.store.list()?;
    let served: BTreeSet<String> = (state.records.releases()?.into_values())
        .flat_map(|release| release.models.into_values().chain([release.tokenizer]))
        .collect();
    let mut keep: BTreeSet<ArtifactId> =
        all.iter().filter(|id| served.contains(&format!("{}@{}", id.name, id.version))).cloned().collect();
    for report in state.records.reports()? {
        let Some(id) = report.produced else { continue };
        if matches!(report.state, JobState::Failed | JobState::Running) {
            // Nobody is at work while the state is ours, so what says that it runs was killed. It made nothing, so what
            // was made before it is still the newest.
            keep.extend(all.iter().filter(|other| (other.kind, &other.name) == (id.kind, &id.name)).cloned());
        }
        keep.insert(id);
    }
    let garbage = if options.dry_run { state.store.garbage(&keep)? } else { state.store.gc(&keep)? };
    let checkpoints = garbage.checkpoints.iter().map(|id| format!("checkpoint of {id}"));
    let gone: Vec<String> = garbage.artifacts.iter().map(ToString::to_string).chain(checkpoints).collect();
    for id in &gone {
        console::say(id);
    }
    console::say(&format!("{} {}", gone.len(), if options.dry_run { "would be removed" } else { "removed" }));
    Ok(())
}
