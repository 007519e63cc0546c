//! The controllers: one queue a kind, filled by changes, emptied by looks that run the steps and carry out what they say.
//!
//! ```text
//! change ─► triggers ─► queue of the kind ─► look: outcome ─► apply ─► delete ─► status ─► events ─► poll
//! ```
//!
//! Not kube's `Controller`: that one has a stream of one typed kind at its root, and here a change of any kind leads to
//! looks at others, by reference in both directions, for deletions and for what jobs and gateways tell as well. The
//! difference between before and after, which tells our own writes from others', is known to the caches, not to a
//! stream of objects. Seven queues over the same caches need no mapping between seven of them.

pub mod dispatch;
pub mod look;
pub mod queue;
pub mod triggers;

use crate::{
    outcome::{Outcome, Subject},
    steps,
    world::World,
};

/// The pure steps, as functions: tests bring their own.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// What is to be done for a resource.
    pub reconcile: fn(&World, &Subject) -> Option<Outcome>,
    /// Which others must be looked at again when it has changed.
    pub affected: fn(&World, &Subject) -> Vec<Subject>,
}

impl Steps {
    /// The operator's own.
    #[must_use]
    pub fn own() -> Self {
        Self { reconcile: steps::reconcile, affected: steps::affected }
    }
}
