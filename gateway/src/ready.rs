//! When a gateway tells that requests can be sent to it.
//!
//! In local mode every stage must be ready each time it is asked. In a cluster a gateway serves many pipelines and only
//! has to be ready once: every pipeline is known and what answers them has been warmed. After that a pipeline whose
//! workers die fails alone; took it the gateways out of rotation, they would all go at once, with every other pipeline.
//! For the same reason a pipeline without workers cannot keep a new gateway out for longer than [`PATIENCE`].

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    route::Served,
    table::Table,
    wire::{NotReady, Readiness},
};

/// How long a new gateway that knows every pipeline waits for workers that do not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this process is ready, asked by probes.
pub(crate) enum Gate {
    /// Only while every stage is.
    Always,
    /// From the first time on that everything served was warm.
    Once(AtomicBool),
}

impl Gate {
    pub(crate) fn always() -> Self {
        Self::Always
    }

    pub(crate) fn once() -> Self {
        Self::Once(AtomicBool::new(false))
    }

    /// What `/readyz` tells.
    pub(crate) fn look(&self, table: &Table, stopping: bool) -> Readiness {
        let served = || table.pipelines.values().filter_map(|pipeline| pipeline.current.as_deref());
        let not_ready: Vec<NotReady> = served().flat_map(cold).collect();
        let open = match self {
            Self::Always => not_ready.is_empty(),
            Self::Once(open) => {
                let opens = table.complete.is_some_and(|since| {
                    // Every release is asked: each remembers that it was warm.
                    let cold = served().filter(|release| !release.was_warm()).count();
                    cold == 0 || since.elapsed() >= PATIENCE
                });
                open.fetch_or(opens, Ordering::Relaxed) || opens
            }
        };
        Readiness { ready: open && !stopping, stopping, discovering: table.complete.is_none(), not_ready }
    }
}

fn cold(release: &Served) -> impl Iterator<Item = NotReady> {
    release.steps().filter(|(_, pooled)| !pooled.stage.ready()).map(|(step, pooled)| NotReady {
        pipeline: release.name.clone(),
        stage: step.name(),
        pool: pooled.pool.to_string(),
    })
}
