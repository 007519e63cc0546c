//! From candidates to items as callers see them.
//!
//! In: candidates, best first. Out: at most `k` items with id, title, semantic ID and, when ranked, task scores.

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Item};

/// Describes the first `k` candidates; `tasks` names their task scores.
pub(crate) fn describe(catalog: &Catalog, candidates: Vec<Candidate>, tasks: &[String], k: usize) -> Vec<Item> {
    let item = |candidate: Candidate| Item {
        id: catalog.id(candidate.item).to_owned(),
        title: catalog.title(candidate.item).map(str::to_owned),
        score: candidate.score,
        semantic_id: catalog.codes(candidate.item).to_vec(),
        tasks: tasks.iter().cloned().zip(candidate.tasks).collect(),
    };
    candidates.into_iter().take(k).map(item).collect()
}
