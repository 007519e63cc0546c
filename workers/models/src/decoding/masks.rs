//! A query's restrictions in the form in which a device walks by them: bits of nodes, names of leaves.
//!
//! In: a search at its root and what its query forbids. Out: a bit a node of every depth but the last, and for every leaf
//! the first item that may be answered, which is its name among equal scores. The names where a query forbids nothing are
//! worked out once; a query that only excludes changes those of the leaves it touches, and the next one puts them back.

use recmesh_catalog::Catalog;
use recmesh_contract::{ItemIndex, Mask};

use super::paths::Paths;
use super::search::Search;

/// A leaf without an answer.
const NONE: u32 = u32::MAX;

/// Restrictions, query after query.
#[derive(Clone, Debug)]
pub struct Masks {
    /// Names of leaves when a query forbids nothing.
    usual: Vec<u32>,
    labels: Vec<u32>,
    /// Leaves whose name is another one now; `None`: any.
    changed: Option<Vec<u32>>,
    /// By depth from 1 to the last but one.
    alive: Vec<Vec<u32>>,
}

impl Masks {
    /// Works out the names over the catalog's live items.
    #[must_use]
    pub fn new(catalog: &Catalog) -> Self {
        let trie = catalog.trie();
        let live = |item: &ItemIndex| catalog.live().is_none_or(|mask: &Mask| mask.contains(*item));
        let first = |leaf: u32| trie.items(leaf).iter().copied().find(|item| live(item)).unwrap_or(NONE);
        let usual: Vec<u32> = (0..trie.size(trie.levels())).map(first).collect();
        let alive = vec![Vec::new(); trie.levels() - 1];
        Self { labels: usual.clone(), usual, changed: Some(Vec::new()), alive }
    }

    /// Names of leaves when a query forbids nothing.
    #[must_use]
    pub fn usual(&self) -> &[u32] {
        &self.usual
    }

    /// Bits of nodes and names of leaves for a query, whose search is at its root; `None` where it may walk anywhere under
    /// the usual names.
    pub fn of(&mut self, search: &Search, paths: &Paths<'_>) -> Option<(&[Vec<u32>], &[u32])> {
        let trie = &paths.trie;
        match self.changed.take() {
            Some(leaves) => leaves.iter().for_each(|&leaf| self.labels[leaf as usize] = self.usual[leaf as usize]),
            None => self.labels.copy_from_slice(&self.usual),
        }
        self.changed = Some(Vec::new());
        if !search.restricted(paths) {
            return None;
        }
        for (depth, bits) in (1..).zip(&mut self.alive) {
            search.bits(paths, depth, bits);
        }
        let name = |leaf: u32| paths.label(leaf).unwrap_or(NONE);
        if paths.filtered() {
            (0u32..).zip(&mut self.labels).for_each(|(leaf, label)| *label = name(leaf));
            self.changed = None;
        } else {
            let leaves: Vec<u32> = paths.excluded().iter().map(|&item| trie.leaf_of(item)).collect();
            leaves.iter().for_each(|&leaf| self.labels[leaf as usize] = name(leaf));
            self.changed = Some(leaves);
        }
        Some((&self.alive, &self.labels))
    }
}
