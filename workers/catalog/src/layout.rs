//! The names of the catalog file's sections. Nothing here reads or writes.
//!
//! Shapes: `n` items, `L` levels, `K` attribute keys, `V` attribute values over all keys, `N` trie nodes with the root.

use recmesh_sections::{Format, Tag};

/// The file format. A change of any section's meaning, or of the id hash, needs a new version.
pub const FORMAT: Format = Format { kind: "catalog", magic: *b"rmctlg\r\n", oldest: 1, newest: 1 };

/// Most levels of a semantic ID.
pub const MAX_LEVELS: usize = 16;
/// Most codes of a codebook; bounds the dense table over the first level to 64 MiB.
pub const MAX_CODES: u32 = 1 << 24;

/// u32 × (1 + L): number of items, then each level's codebook size.
pub const SHAPE: Tag = *b"shape   ";
/// Bytes of the item ids; u64 × (n + 1): where each begins.
pub const IDS: [Tag; 2] = [*b"item    ", *b"item.at "];
/// u64 × 2: seed, then slots of the look-up table from id to item.
pub const ID_INDEX: Tag = *b"item.ix ";
/// Bytes of the titles, empty where there is none; u64 × (n + 1).
pub const TITLES: [Tag; 2] = [*b"title   ", *b"title.at"];
/// u64 × ⌈n / 64⌉: whether an item has a title.
pub const TITLED: Tag = *b"title.in";
/// u32 × n × L: semantic IDs, one item after the other.
pub const CODES: Tag = *b"codes   ";
/// u32 × n.
pub const POPULARITY: Tag = *b"popular ";
/// Bytes of the attribute keys, ascending; u64 × (K + 1).
pub const KEYS: [Tag; 2] = [*b"key     ", *b"key.at  "];
/// u64 × (K + 1): where each key's values begin.
pub const KEY_VALUES: Tag = *b"key.val ";
/// Bytes of the attribute values, ascending within their key; u64 × (V + 1).
pub const VALUES: [Tag; 2] = [*b"value   ", *b"value.at"];
/// u64 × (n + 1) and u32: each item's values, ascending.
pub const ITEM_VALUES: [Tag; 2] = [*b"attr.at ", *b"attr    "];
/// u64 × (V + 1) and u32: each value's items, ascending.
pub const VALUE_ITEMS: [Tag; 2] = [*b"post.at ", *b"post    "];
/// u32 × (L + 2): first node of every depth, and N. Nodes are numbered by depth, then by their path of codes.
pub const DEPTHS: Tag = *b"trie.dep";
/// u32 × N: the code of every node; 0 for the root.
pub const NODE_CODES: Tag = *b"trie.cod";
/// u32 × (inner nodes + 1): first child of every inner node, and N.
pub const CHILDREN: Tag = *b"trie.kid";
/// u32 × codes of the first level: the node of depth 1 with that code, or `u32::MAX`.
pub const TOP: Tag = *b"trie.top";
/// u64 × (leaves + 1) and u32 × n: each leaf's items, most popular first, then by index.
pub const LEAF_ITEMS: [Tag; 2] = [*b"leaf.at ", *b"leaf    "];
/// u32 × n: each item's leaf.
pub const LEAF_OF: Tag = *b"leaf.of ";
/// u64 × ⌈n / 64⌉: whether an item is live; empty when all are.
pub const LIVE: Tag = *b"live    ";
