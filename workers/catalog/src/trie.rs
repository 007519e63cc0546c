//! The trie over semantic IDs, read in place. In: a node and a code. Out: the child; at a leaf, its items.
//!
//! Depth 0 is the root, one node, number 0. The nodes of a depth are numbered from 0 in code order; the children of a
//! node are a contiguous range of the next depth. A node exists only if an item lies below it, so a walk that follows
//! [`Trie::child`] can only end at items that exist.

use std::{cmp::Reverse, ops::Range};

use recmesh_contract::ItemIndex;
use recmesh_sections::{Column, SectionError, SectionFile, Tag};

use crate::layout;

/// A view of a catalog's trie; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Trie<'a> {
    /// First node of every depth, counted over all depths, and the number of nodes.
    depths: &'a [u32],
    codes: &'a [u32],
    children: &'a [u32],
    top: &'a [u32],
    leaf_offsets: &'a [u64],
    leaf_items: &'a [ItemIndex],
    leaf_of: &'a [u32],
}

impl<'a> Trie<'a> {
    /// How many codes a semantic ID has; leaves are at this depth.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.depths.len() - 2
    }

    /// How many nodes a depth has, `depth <= levels()`.
    #[must_use]
    #[inline]
    pub fn size(&self, depth: usize) -> u32 {
        self.depths[depth + 1] - self.depths[depth]
    }

    /// The children of a node as nodes of `depth + 1`; empty for a leaf. `node < size(depth)`.
    #[must_use]
    #[inline]
    pub fn children(&self, depth: usize, node: u32) -> Range<u32> {
        if depth >= self.levels() {
            return 0..0;
        }
        let (at, below) = ((self.depths[depth] + node) as usize, self.depths[depth + 1]);
        self.children[at] - below..self.children[at + 1] - below
    }

    /// The code of every node at a depth; ascending among the children of a node. The root's is 0 and means nothing.
    #[must_use]
    #[inline]
    pub fn codes(&self, depth: usize) -> &'a [u32] {
        &self.codes[self.depths[depth] as usize..self.depths[depth + 1] as usize]
    }

    /// The child of a node by its code: a table look-up at the root, a binary search below. `None` when no item's
    /// semantic ID goes on this way.
    #[must_use]
    #[inline]
    pub fn child(&self, depth: usize, node: u32, code: u32) -> Option<u32> {
        if depth == 0 {
            return self.top.get(code as usize).copied().filter(|&child| child != u32::MAX);
        }
        let children = self.children(depth, node);
        if children.is_empty() {
            return None;
        }
        let codes = &self.codes(depth + 1)[children.start as usize..children.end as usize];
        // Codes ascend, so among children without gaps the code itself says where it is.
        let guess = code.wrapping_sub(codes[0]);
        if codes.get(guess as usize) == Some(&code) {
            return Some(children.start + guess);
        }
        codes.binary_search(&code).ok().map(|at| children.start + at as u32)
    }

    /// The items of a leaf, most popular first, then by index; more than one only where semantic IDs are equal.
    /// `leaf < size(levels())`.
    #[must_use]
    #[inline]
    pub fn items(&self, leaf: u32) -> &'a [ItemIndex] {
        &self.leaf_items[self.leaf_offsets[leaf as usize] as usize..self.leaf_offsets[leaf as usize + 1] as usize]
    }

    /// The leaf of an item, `item < len()` of the catalog.
    #[must_use]
    #[inline]
    pub fn leaf_of(&self, item: ItemIndex) -> u32 {
        self.leaf_of[item as usize]
    }
}

/// Where the trie lies in its file.
#[derive(Clone, Copy, Debug)]
pub struct TrieColumns {
    depths: Column<u32>,
    codes: Column<u32>,
    children: Column<u32>,
    top: Column<u32>,
    leaf_offsets: Column<u64>,
    leaf_items: Column<u32>,
    leaf_of: Column<u32>,
}

/// What the trie must agree with: the items of the same file.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    pub codebooks: &'a [u32],
    pub codes: &'a [u32],
    pub popularity: &'a [u32],
}

impl TrieColumns {
    /// Finds the trie in its file and checks it against the items.
    pub fn open(file: &SectionFile, items: Items<'_>) -> Result<Self, SectionError> {
        let [offsets, leaf_items] = layout::LEAF_ITEMS;
        let depths = file.column(layout::DEPTHS)?;
        let wrong = |tag: Tag| move |problem: String| SectionError::section(file.path(), tag, problem);
        let leaves = check_depths(file.get(depths), items).map_err(wrong(layout::DEPTHS))?;
        let columns = Self {
            depths,
            codes: file.column(layout::NODE_CODES)?,
            children: file.column(layout::CHILDREN)?,
            top: file.column(layout::TOP)?,
            leaf_offsets: file.offsets(offsets, leaves, items.popularity.len())?,
            leaf_items: file.column(leaf_items)?,
            leaf_of: file.column(layout::LEAF_OF)?,
        };
        let trie = columns.view(file);
        check_children(trie).map_err(wrong(layout::CHILDREN))?;
        check_codes(trie, items).map_err(wrong(layout::NODE_CODES))?;
        check_top(trie, items).map_err(wrong(layout::TOP))?;
        check_leaves(trie, items).map_err(wrong(leaf_items))?;
        check_paths(trie, items).map_err(wrong(layout::LEAF_OF))?;
        Ok(columns)
    }

    /// The trie in the file it was opened in.
    pub fn view<'a>(&self, file: &'a SectionFile) -> Trie<'a> {
        Trie {
            depths: file.get(self.depths),
            codes: file.get(self.codes),
            children: file.get(self.children),
            top: file.get(self.top),
            leaf_offsets: file.get(self.leaf_offsets),
            leaf_items: file.get(self.leaf_items),
            leaf_of: file.get(self.leaf_of),
        }
    }
}

/// Gives back the number of leaves.
fn check_depths(depths: &[u32], items: Items<'_>) -> Result<usize, String> {
    let (levels, count) = (items.codebooks.len(), items.popularity.len());
    if depths.len() != levels + 2 || depths[..2] != [0, 1] {
        return Err(format!("{} depths for {levels} levels", depths.len()));
    }
    for (depth, pair) in depths.windows(2).enumerate() {
        let fits = pair[1].checked_sub(pair[0]).is_some_and(|nodes| nodes > 0 && nodes as usize <= count);
        if !fits {
            return Err(format!("depth {depth} runs from node {} to {} for {count} items", pair[0], pair[1]));
        }
    }
    Ok((depths[levels + 1] - depths[levels]) as usize)
}

fn check_children(trie: Trie<'_>) -> Result<(), String> {
    let levels = trie.levels();
    let (children, inner) = (trie.children, trie.depths[levels] as usize);
    if children.len() != inner + 1 {
        return Err(format!("{} first children for {inner} inner nodes", children.len()));
    }
    if let Some(node) = children.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(format!("node {node} has no children"));
    }
    match (0..=levels).find(|&depth| children[trie.depths[depth] as usize] != trie.depths[depth + 1]) {
        Some(depth) => Err(format!("the children of depth {depth} do not fill the next depth")),
        None => Ok(()),
    }
}

fn check_codes(trie: Trie<'_>, items: Items<'_>) -> Result<(), String> {
    let nodes = trie.depths[trie.levels() + 1] as usize;
    if trie.codes.len() != nodes {
        return Err(format!("{} codes for {nodes} nodes", trie.codes.len()));
    }
    for (depth, &size) in items.codebooks.iter().enumerate() {
        let codes = trie.codes(depth + 1);
        for node in 0..trie.size(depth) {
            let children = trie.children(depth, node);
            let codes = &codes[children.start as usize..children.end as usize];
            if codes.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(format!("children of node {node} at depth {depth} are not in code order"));
            }
            if codes.iter().any(|&code| code >= size) {
                return Err(format!("a child of node {node} at depth {depth} has a code beyond {size}"));
            }
        }
    }
    Ok(())
}

fn check_top(trie: Trie<'_>, items: Items<'_>) -> Result<(), String> {
    if trie.top.len() != items.codebooks[0] as usize {
        return Err(format!("{} entries for {} codes", trie.top.len(), items.codebooks[0]));
    }
    let taken = trie.top.iter().filter(|&&node| node != u32::MAX).count();
    let right = trie.codes(1).iter().enumerate().all(|(node, &code)| trie.top[code as usize] == node as u32);
    if taken == trie.codes(1).len() && right { Ok(()) } else { Err("it disagrees with the first level".into()) }
}

fn check_leaves(trie: Trie<'_>, items: Items<'_>) -> Result<(), String> {
    let count = items.popularity.len();
    if trie.leaf_items.len() != count || trie.leaf_of.len() != count {
        return Err(format!("{} items in leaves, {count} in the catalog", trie.leaf_items.len()));
    }
    // Strict order within leaves, one leaf per item and as many entries as items: every item is there exactly once.
    for leaf in 0..trie.size(trie.levels()) {
        let listed = trie.items(leaf);
        if listed.is_empty() {
            return Err(format!("leaf {leaf} has no items"));
        }
        if let Some(item) = listed.iter().find(|&&item| trie.leaf_of.get(item as usize) != Some(&leaf)) {
            return Err(format!("leaf {leaf} lists item {item}, which is not there"));
        }
        let rank = |item: u32| (Reverse(items.popularity[item as usize]), item);
        if listed.windows(2).any(|pair| rank(pair[0]) >= rank(pair[1])) {
            return Err(format!("items of leaf {leaf} are not in order of popularity"));
        }
    }
    Ok(())
}

/// Compares every item's codes with the path to its leaf, upwards.
fn check_paths(trie: Trie<'_>, items: Items<'_>) -> Result<(), String> {
    let levels = trie.levels();
    let mut node_of = trie.leaf_of.to_vec();
    for depth in (1..=levels).rev() {
        let codes = trie.codes(depth);
        let mut parents = vec![0; codes.len()];
        for parent in 0..trie.size(depth - 1) {
            let children = trie.children(depth - 1, parent);
            parents[children.start as usize..children.end as usize].fill(parent);
        }
        for (item, node) in node_of.iter_mut().enumerate() {
            let code = items.codes[item * levels + depth - 1];
            if codes.get(*node as usize) != Some(&code) {
                return Err(format!("item {item} is not at the leaf of its codes"));
            }
            *node = parents[*node as usize];
        }
    }
    Ok(())
}
