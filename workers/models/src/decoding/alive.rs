//! Which trie nodes still lead to an item that may be answered.
//!
//! In: the trie, the live items, a query's filter and exclusions. Out: a yes or no per node. Without any restriction
//! nothing is computed. Live items are marked once per catalog, allowed items once per query, bottom-up along parent
//! pointers; the few items that a query excludes only take away nodes all of whose leaves are gone. What one query took
//! is the next one's memory.

use recmesh_catalog::Trie;
use recmesh_contract::{ItemIndex, Mask};

use super::paths::Paths;

/// The parent of every node: what the trie, made for walking down, does not hold.
#[derive(Debug)]
pub struct Ancestry {
    /// By depth, from 1 on.
    parents: Vec<Vec<u32>>,
}

impl Ancestry {
    /// Reads the parents off a trie.
    #[must_use]
    pub fn new(trie: &Trie<'_>) -> Self {
        let parents = (0..trie.levels()).map(|depth| {
            let mut parents = vec![0; trie.size(depth + 1) as usize];
            for node in 0..trie.size(depth) {
                let children = trie.children(depth, node);
                parents[children.start as usize..children.end as usize].fill(node);
            }
            parents
        });
        Self { parents: parents.collect() }
    }

    /// The parent, at `depth - 1`, of a node at `depth` (1 or more).
    #[must_use]
    pub fn parent(&self, depth: usize, node: u32) -> u32 {
        self.parents[depth - 1][node as usize]
    }
}

/// A set of nodes, closed upward: with a node it holds the node's parents.
#[derive(Debug, Default)]
pub struct NodeSet {
    /// By depth, from 1 on.
    depths: Vec<Mask>,
}

impl NodeSet {
    /// The nodes above some items.
    pub fn above(trie: &Trie<'_>, ancestry: &Ancestry, items: impl IntoIterator<Item = ItemIndex>) -> Self {
        let mut set = Self::default();
        set.fill(trie, ancestry, items);
        set
    }

    /// The nodes above other items, in the memory it has.
    fn fill(&mut self, trie: &Trie<'_>, ancestry: &Ancestry, items: impl IntoIterator<Item = ItemIndex>) {
        let depths = &mut self.depths;
        depths.resize_with(trie.levels(), Mask::default);
        (1..).zip(&mut *depths).for_each(|(depth, nodes)| nodes.clear(trie.size(depth) as usize));
        for item in items {
            let mut node = trie.leaf_of(item);
            for depth in (1..=depths.len()).rev() {
                if depths[depth - 1].contains(node) {
                    break;
                }
                depths[depth - 1].insert(node);
                node = ancestry.parent(depth, node);
            }
        }
    }

    fn contains(&self, depth: usize, node: u32) -> bool {
        self.depths[depth - 1].contains(node)
    }
}

/// Which nodes a query leaves to be walked. Live nodes are asked about beside it: they are the same for all queries.
#[derive(Debug, Default)]
pub(super) struct Alive {
    /// Nodes above items that pass the query's filter, where it has one.
    allowed: NodeSet,
    filtered: bool,
    /// Nodes taken away by exclusions, ascending, by depth from 1 on.
    dead: Vec<Vec<u32>>,
}

impl Alive {
    /// Works out the nodes anew, in the memory it has.
    pub(super) fn begin(&mut self, paths: &Paths<'_>) {
        let (trie, ancestry) = (&paths.trie, paths.ancestry);
        self.filtered = false;
        if let Some(items) = paths.allowed() {
            self.allowed.fill(trie, ancestry, items);
            self.filtered = true;
        }
        self.dead.resize_with(trie.levels(), Vec::new);
        self.dead.iter_mut().for_each(Vec::clear);
        if let Some(leaves) = self.dead.last_mut() {
            leaves.extend(paths.excluded().iter().map(|&item| trie.leaf_of(item)));
            leaves.sort_unstable();
            leaves.dedup();
            leaves.retain(|&leaf| paths.answers(leaf).next().is_none());
        }
        for depth in (2..=trie.levels()).rev() {
            let mut parents = std::mem::take(&mut self.dead[depth - 2]);
            parents.extend(self.dead[depth - 1].iter().map(|&node| ancestry.parent(depth, node)));
            parents.dedup();
            parents.retain(|&parent| !trie.children(depth - 1, parent).any(|child| self.contains(paths, depth, child)));
            self.dead[depth - 2] = parents;
        }
    }

    /// The query's own sets of nodes and that of the live ones, as far as there are any.
    fn sets<'s>(&'s self, paths: &Paths<'s>) -> impl Iterator<Item = &'s NodeSet> {
        paths.live.into_iter().chain(self.filtered.then_some(&self.allowed))
    }

    /// Whether there is a node that may not be walked.
    pub(super) fn restricts(&self, paths: &Paths<'_>) -> bool {
        self.sets(paths).next().is_some() || self.dead.iter().any(|nodes| !nodes.is_empty())
    }

    /// The nodes of `depth` (1 or more), a bit each, lowest first.
    pub(super) fn bits(&self, paths: &Paths<'_>, depth: usize, to: &mut Vec<u32>) {
        let nodes = paths.trie.size(depth) as usize;
        let words = |set: &NodeSet, at: usize| set.depths[depth - 1].words()[at / 2];
        let word = |at: usize| self.sets(paths).fold(u64::MAX, |word, set| word & words(set, at));
        to.clear();
        to.extend((0..nodes.div_ceil(32)).map(|at| (word(at) >> (at % 2 * 32)) as u32));
        for &node in &self.dead[depth - 1] {
            to[node as usize / 32] &= !(1 << (node % 32));
        }
    }

    /// Whether anything can be answered below a node at `depth` (1 or more).
    pub(super) fn contains(&self, paths: &Paths<'_>, depth: usize, node: u32) -> bool {
        paths.live.is_none_or(|set| set.contains(depth, node))
            && (!self.filtered || self.allowed.contains(depth, node))
            && self.dead[depth - 1].binary_search(&node).is_err()
    }
}
