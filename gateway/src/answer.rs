//! What the stages hand to the reply.

use recmesh_contract::Item;

use crate::wire::{FallbackBody, StageBody};

/// The outcome of a request that could be answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Best first.
    pub(crate) items: Vec<Item>,
    /// In the order they were called.
    pub(crate) stages: Vec<StageBody>,
    /// Why the answer is not the pipeline's own.
    pub(crate) fallback: Option<FallbackBody>,
}
