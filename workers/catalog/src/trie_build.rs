//! Builds the trie of semantic IDs. In: every item's codes and popularity. Out: the arrays that [`crate::Trie`] reads.
//!
//! Items are sorted by their codes, so that the nodes of every depth come out in code order and the children of a node
//! are neighbours; a leaf's items are sorted by popularity. Layout after the packed trie of STATIC (arXiv 2602.22647):
//! a dense table for the first level, compressed rows below it.

use std::cmp::Reverse;

use recmesh_sections::Section;

use crate::layout;

/// The arrays of a trie; see [`layout`] for their shapes.
pub struct TrieArrays {
    depths: Vec<u32>,
    codes: Vec<u32>,
    children: Vec<u32>,
    top: Vec<u32>,
    leaf_offsets: Vec<u64>,
    leaf_items: Vec<u32>,
    leaf_of: Vec<u32>,
}

/// Builds the trie over `codes`, row-major items × levels, each below its codebook's size. At least one item.
pub fn build(codebooks: &[u32], codes: &[u32], popularity: &[u32]) -> TrieArrays {
    let levels = codebooks.len();
    let row = |item: u32| &codes[item as usize * levels..][..levels];
    let mut order: Vec<u32> = (0..popularity.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| {
        let rest = |item: u32| (Reverse(popularity[item as usize]), item);
        row(a).cmp(row(b)).then_with(|| rest(a).cmp(&rest(b)))
    });

    // Per depth below the root: the nodes' codes, and where each node's children begin in the next depth.
    let mut node_codes: Vec<Vec<u32>> = vec![Vec::new(); levels];
    let mut first_child: Vec<Vec<u32>> = vec![Vec::new(); levels];
    let mut leaf_offsets = Vec::new();
    let mut leaf_of = vec![0; order.len()];
    let mut previous: Option<&[u32]> = None;
    for (position, &item) in order.iter().enumerate() {
        let path = row(item);
        let shared = previous.map_or(0, |other| path.iter().zip(other).take_while(|(a, b)| a == b).count());
        for depth in shared..levels {
            if depth + 1 < levels {
                let next = node_codes[depth + 1].len() as u32;
                first_child[depth].push(next);
            } else {
                leaf_offsets.push(position as u64);
            }
            node_codes[depth].push(path[depth]);
        }
        leaf_of[item as usize] = leaf_offsets.len() as u32 - 1;
        previous = Some(path);
    }
    leaf_offsets.push(order.len() as u64);

    let mut depths = vec![0, 1];
    for nodes in &node_codes {
        depths.push(depths[depths.len() - 1] + nodes.len() as u32);
    }
    let mut children = vec![1];
    for (depth, first) in first_child.iter().enumerate() {
        children.extend(first.iter().map(|child| child + depths[depth + 2]));
    }
    children.push(depths[levels + 1]);

    let mut top = vec![u32::MAX; codebooks[0] as usize];
    for (node, &code) in node_codes[0].iter().enumerate() {
        top[code as usize] = node as u32;
    }
    let codes = std::iter::once(0).chain(node_codes.into_iter().flatten()).collect();
    TrieArrays { depths, codes, children, top, leaf_offsets, leaf_items: order, leaf_of }
}

impl TrieArrays {
    /// The sections to write.
    pub fn sections(&self) -> [Section<'_>; 7] {
        [
            Section::of(layout::DEPTHS, &self.depths),
            Section::of(layout::NODE_CODES, &self.codes),
            Section::of(layout::CHILDREN, &self.children),
            Section::of(layout::TOP, &self.top),
            Section::of(layout::LEAF_ITEMS[0], &self.leaf_offsets),
            Section::of(layout::LEAF_ITEMS[1], &self.leaf_items),
            Section::of(layout::LEAF_OF, &self.leaf_of),
        ]
    }
}
