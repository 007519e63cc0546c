//! The paths along which a query may be answered, from the parts that everybody shares.
//!
//! In: a catalog, its parents and live nodes, a query. Out: a view, cheap to copy, that a search is given at every step;
//! so the search itself borrows nothing and its memory serves query after query. Never computes a set of nodes.

use recmesh_catalog::{Catalog, Trie};
use recmesh_contract::{ItemIndex, Mask, Query, Ties};

use super::alive::{Ancestry, NodeSet};
use crate::answer::Filter;

/// The trie of a catalog with what a query leaves of it.
#[derive(Clone, Copy)]
pub struct Paths<'a> {
    pub(super) trie: Trie<'a>,
    pub(super) ancestry: &'a Ancestry,
    pub(super) live: Option<&'a NodeSet>,
    pub(super) filter: Filter<'a>,
    pub(super) k: usize,
    pub(super) ties: Ties,
    items: usize,
    exclude: &'a [ItemIndex],
    allowed: Option<&'a Mask>,
}

impl<'a> Paths<'a> {
    /// The paths of a query. `live` is the set of nodes above the catalog's live items, `None` when all are live.
    #[must_use]
    pub fn new(catalog: &'a Catalog, ancestry: &'a Ancestry, live: Option<&'a NodeSet>, query: &Query<'a>) -> Self {
        let &Query { exclude, allowed, k, ties, .. } = query;
        let (trie, filter, items) = (catalog.trie(), Filter::new(query, Some(catalog)), catalog.len());
        Self { trie, ancestry, live, filter, k, ties, items, exclude, allowed }
    }

    /// The items of a leaf that may be answered.
    pub(super) fn answers(&self, leaf: u32) -> impl Iterator<Item = ItemIndex> {
        self.trie.items(leaf).iter().copied().filter(|&item| self.filter.passes(item))
    }

    /// The name of a leaf among leaves of equal score: its first answer.
    #[must_use]
    pub fn label(&self, leaf: u32) -> Option<ItemIndex> {
        self.answers(leaf).next()
    }

    /// The items that pass the query's filter, ascending; `None` without one.
    pub(super) fn allowed(&self) -> Option<impl Iterator<Item = ItemIndex>> {
        Some(members(self.allowed?, self.items).filter(|&item| self.filter.passes(item)))
    }

    /// The excluded items that there are, ascending.
    pub(super) fn excluded(&self) -> &'a [ItemIndex] {
        &self.exclude[..self.exclude.partition_point(|&item| (item as usize) < self.items)]
    }

    /// Whether the query has a filter.
    pub(super) fn filtered(&self) -> bool {
        self.allowed.is_some()
    }
}

/// The items of a mask below `items`, ascending.
fn members(mask: &Mask, items: usize) -> impl Iterator<Item = ItemIndex> {
    (0u32..)
        .zip(mask.words())
        .flat_map(|(at, &word)| {
            std::iter::successors((word != 0).then_some(word), |word| Some(word & (word - 1)).filter(|&rest| rest != 0))
                .map(move |word| at * 64 + word.trailing_zeros())
        })
        .take_while(move |&item| (item as usize) < items)
}
