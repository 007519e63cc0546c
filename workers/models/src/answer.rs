//! From scores to an answer: which items may come, and how equal scores are ordered.
//!
//! In: a query and scored items. Out: candidates, best first. Every retrieval model and the decoder go through
//! here, so that exclusions, filters, liveness and ties mean the same everywhere.

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Class, Failure, ItemIndex, Mask, Query, Ties, reason};
use recmesh_kernels::topk::{TieOrder, TopK};

/// Which items a query may be answered with.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    exclude: &'a [ItemIndex],
    allowed: Option<&'a Mask>,
    live: Option<&'a Mask>,
}

impl<'a> Filter<'a> {
    /// The filter of a query over a catalog's live items; without a catalog all are live.
    pub(crate) fn new(query: &Query<'a>, catalog: Option<&'a Catalog>) -> Self {
        Self { exclude: query.exclude, allowed: query.allowed, live: catalog.and_then(Catalog::live) }
    }

    /// Whether there may be an item that may not be answered.
    pub(crate) fn restricts(&self) -> bool {
        self.live.is_some() || self.allowed.is_some() || !self.exclude.is_empty()
    }

    /// Whether an item may be answered.
    pub(crate) fn passes(&self, item: ItemIndex) -> bool {
        self.live.is_none_or(|mask| mask.contains(item))
            && self.allowed.is_none_or(|mask| mask.contains(item))
            && self.exclude.binary_search(&item).is_err()
    }
}

/// Empties a collector for the best `k` out of `choices`.
pub(crate) fn reset(top: &mut TopK, k: usize, choices: usize, ties: Ties) {
    let ties = match ties {
        Ties::ByIndex => TieOrder::ByIndex,
        Ties::Random(seed) => TieOrder::Hash(seed),
    };
    // Memory is taken ahead for k entries; what is asked for may be far more than there is.
    top.reset(k.min(choices), ties);
}

/// What a collector holds, as candidates; it keeps its memory.
///
/// # Errors
/// [`reason::NOT_A_NUMBER`] when a score was none.
pub(crate) fn candidates(top: &mut TopK) -> Result<Vec<Candidate>, Failure> {
    if top.saw_nan() {
        return Err(not_a_number());
    }
    Ok(top.drain_sorted().map(|(score, item)| Candidate { item, score, tasks: Vec::new() }).collect())
}

/// The failure that a model computed something that is not a number.
pub(crate) fn not_a_number() -> Failure {
    Failure::new(Class::Internal, reason::NOT_A_NUMBER, "a retrieval model computed a score that is not a number")
}
