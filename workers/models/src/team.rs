//! The threads of an engine as its model uses them.
//!
//! In: how many, and the cores they are bound to. Out: a team, and memory for tapes that share their operations with it.

use std::sync::Arc;

use recmesh_contract::Threads;
use recmesh_kernels::{Team, Workspace};

/// A team of so many threads, and a workspace whose tapes share with it. To be called on the engine's thread, which is its
/// first member.
pub(crate) fn team(threads: &Threads) -> (Arc<Team>, Workspace) {
    let team = Arc::new(Team::new(threads.count, &threads.cores));
    (Arc::clone(&team), Workspace::with_team(team))
}
