//! Which trie nodes still lead to an item that may be answered.
//!
//! In: the trie, the live items, a query's filter and exclusions. Out: a yes or no per node. Without any restriction
//! nothing is computed. Live items are marked once per catalog, allowed items once per query, bottom-up along parent
//! pointers; the few items that a query excludes only take away nodes all of whose leaves are gone.

use recmesh_catalog::Trie;
use recmesh_contract::{ItemIndex, Mask};

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
#[derive(Debug)]
pub struct NodeSet {
    /// By depth, from 1 on.
    depths: Vec<Mask>,
}

impl NodeSet {
    /// The nodes above some items.
    pub fn above(trie: &Trie<'_>, ancestry: &Ancestry, items: impl IntoIterator<Item = ItemIndex>) -> Self {
        let mut depths: Vec<Mask> = (1..=trie.levels()).map(|depth| Mask::none(trie.size(depth) as usize)).collect();
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
        Self { depths }
    }

    fn contains(&self, depth: usize, node: u32) -> bool {
        self.depths[depth - 1].contains(node)
    }
}

/// The items of a mask below `items`, ascending.
pub(super) fn members(mask: &Mask, items: usize) -> impl Iterator<Item = ItemIndex> {
    (0u32..)
        .zip(mask.words())
        .flat_map(|(at, &word)| {
            std::iter::successors((word != 0).then_some(word), |word| Some(word & (word - 1)).filter(|&rest| rest != 0))
                .map(move |word| at * 64 + word.trailing_zeros())
        })
        .take_while(move |&item| (item as usize) < items)
}

/// Which nodes a search may walk.
pub(super) struct Alive<'a> {
    /// Nodes above live items; `None`: all.
    live: Option<&'a NodeSet>,
    /// Nodes above items that pass the query's filter; `None`: all.
    allowed: Option<NodeSet>,
    /// Nodes taken away by exclusions, ascending, by depth from 1 on.
    dead: Vec<Vec<u32>>,
}

impl<'a> Alive<'a> {
    /// Works out the nodes. `passes` is the whole filter of an item; `allowed` and `exclude` are its parts, used to
    /// find the nodes it touches.
    pub(super) fn new(
        trie: &Trie<'_>,
        ancestry: &Ancestry,
        live: Option<&'a NodeSet>,
        allowed: Option<impl Iterator<Item = ItemIndex>>,
        exclude: &[ItemIndex],
        passes: &dyn Fn(ItemIndex) -> bool,
    ) -> Self {
        let allowed = allowed.map(|items| NodeSet::above(trie, ancestry, items));
        let mut alive = Self { live, allowed, dead: vec![Vec::new(); trie.levels()] };
        let mut nodes: Vec<u32> = exclude.iter().map(|&item| trie.leaf_of(item)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|&leaf| !trie.items(leaf).iter().any(|&item| passes(item)));
        for depth in (1..=trie.levels()).rev() {
            let mut parents: Vec<u32> = nodes.iter().map(|&node| ancestry.parent(depth, node)).collect();
            alive.dead[depth - 1] = nodes;
            parents.dedup();
            parents.retain(|&parent| !trie.children(depth - 1, parent).any(|child| alive.contains(depth, child)));
            nodes = parents;
        }
        alive
    }

    /// Whether there is a node that may not be walked.
    pub(super) fn restricts(&self) -> bool {
        self.live.is_some() || self.allowed.is_some() || self.dead.iter().any(|nodes| !nodes.is_empty())
    }

    /// The nodes of `depth` (1 or more), of which there are `nodes`, a bit each, lowest first.
    pub(super) fn bits(&self, depth: usize, nodes: u32, to: &mut Vec<u32>) {
        let sets = [self.live, self.allowed.as_ref()].map(|set| set.map(|set| set.depths[depth - 1].words()));
        let word = |at: usize| sets.iter().flatten().fold(u64::MAX, |word, set| word & set[at / 2]);
        to.clear();
        to.extend((0..(nodes as usize).div_ceil(32)).map(|at| (word(at) >> (at % 2 * 32)) as u32));
        for &node in &self.dead[depth - 1] {
            to[node as usize / 32] &= !(1 << (node % 32));
        }
    }

    /// Whether anything can be answered below a node at `depth` (1 or more).
    pub(super) fn contains(&self, depth: usize, node: u32) -> bool {
        self.live.is_none_or(|set| set.contains(depth, node))
            && self.allowed.as_ref().is_none_or(|set| set.contains(depth, node))
            && self.dead[depth - 1].binary_search(&node).is_err()
    }
}
