//! Semantic IDs: one code a level for every item, and what happens when two items share them all.
//!
//! In: codes of a quantizer. Out: the IDs a catalog is written from. Never looks at vectors.

use std::collections::HashMap;

use recmesh_contract::config::Collision;

use super::TokenizerError;

/// One code a level for every item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemanticIds {
    /// Codes of each level: every code of level `l` is below `codebooks[l]`.
    pub codebooks: Vec<u32>,
    /// `items × levels`, row-major.
    pub codes: Vec<u32>,
    /// Items whose quantizer codes another item has too.
    pub collisions: usize,
    /// Different IDs.
    pub distinct: usize,
}

impl SemanticIds {
    /// Levels of an ID.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.codebooks.len()
    }

    /// How many items there are.
    #[must_use]
    pub fn items(&self) -> usize {
        self.codes.len() / self.codebooks.len().max(1)
    }

    /// An item's ID.
    #[must_use]
    pub fn of(&self, item: usize) -> &[u32] {
        let levels = self.levels();
        &self.codes[item * levels..(item + 1) * levels]
    }
}

/// One level: the item's own index is its ID.
///
/// # Errors
/// When there are no items.
pub fn atomic(items: usize) -> Result<SemanticIds, TokenizerError> {
    if items == 0 {
        return Err(TokenizerError::NoItems);
    }
    let codes: Vec<u32> = (0..items as u32).collect();
    Ok(SemanticIds { codebooks: vec![items as u32], codes, collisions: 0, distinct: items })
}

/// IDs from quantizer codes (`items × codebooks.len()`, row-major) under a collision policy.
///
/// `extraLevel` adds a level only when some items collide; it numbers the items of each code, most popular first (lower
/// index first among equals), and its codebook is as large as the largest group. `bucket` leaves codes as they are.
///
/// # Errors
/// When there are no items, or the sizes of `codes`, `codebooks` and `popularity` do not fit.
pub fn collide(
    codes: &[u32],
    codebooks: &[u32],
    popularity: &[u32],
    policy: Collision,
) -> Result<SemanticIds, TokenizerError> {
    let (items, levels) = (popularity.len(), codebooks.len());
    if items == 0 || levels == 0 {
        return Err(TokenizerError::NoItems);
    }
    if codes.len() != items * levels {
        return Err(TokenizerError::Shape { what: "codes", found: codes.len(), expected: items * levels });
    }
    let mut order: Vec<usize> = (0..items).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(popularity[i]));
    let mut groups: HashMap<&[u32], u32> = HashMap::with_capacity(items);
    let mut place = vec![0u32; items];
    for &item in &order {
        let size = groups.entry(&codes[item * levels..(item + 1) * levels]).or_insert(0);
        place[item] = *size;
        *size += 1;
    }
    let largest = groups.values().copied().max().unwrap_or(0);
    let collisions = groups.values().filter(|&&size| size > 1).map(|&size| size as usize).sum();
    let distinct = groups.len();
    if policy == Collision::Bucket || largest <= 1 {
        return Ok(SemanticIds { codebooks: codebooks.to_vec(), codes: codes.to_vec(), collisions, distinct });
    }
    let mut all = Vec::with_capacity(items * (levels + 1));
    for (own, &place) in codes.chunks_exact(levels).zip(&place) {
        all.extend_from_slice(own);
        all.push(place);
    }
    let codebooks = codebooks.iter().copied().chain([largest]).collect();
    Ok(SemanticIds { codebooks, codes: all, collisions, distinct: items })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn atomic_ids_are_the_items() {
        let ids = atomic(3).unwrap();
        assert_eq!((ids.codes.as_slice(), ids.codebooks.as_slice(), ids.levels()), (&[0, 1, 2][..], &[3][..], 1));
        assert!(atomic(0).is_err());
    }

    #[test]
    fn no_collision_no_extra_level() {
        let ids = collide(&[0, 0, 0, 1], &[1, 2], &[5, 6], Collision::ExtraLevel).unwrap();
        assert_eq!((ids.levels(), ids.collisions, ids.distinct), (2, 0, 2));
    }

    #[test]
    fn sizes_are_checked() {
        assert!(collide(&[0, 0, 0], &[1, 2], &[5, 6], Collision::Bucket).is_err());
        assert!(collide(&[], &[1, 2], &[], Collision::Bucket).is_err());
    }

    proptest! {
        #[test]
        fn policies_equal_a_naive_map(rows in prop::collection::vec((0u32..4, 0u32..3, 0u32..5), 1..60)) {
            let codes: Vec<u32> = rows.iter().flat_map(|r| [r.0, r.1]).collect();
            let popularity: Vec<u32> = rows.iter().map(|r| r.2).collect();
            let mut naive: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
            for (i, r) in rows.iter().enumerate() {
                naive.entry((r.0, r.1)).or_default().push(i);
            }
            for group in naive.values_mut() {
                group.sort_by_key(|&i| (std::cmp::Reverse(popularity[i]), i));
            }
            let largest = naive.values().map(Vec::len).max().unwrap();
            let colliding: usize = naive.values().map(Vec::len).filter(|&n| n > 1).sum();

            let bucket = collide(&codes, &[4, 3], &popularity, Collision::Bucket).unwrap();
            prop_assert_eq!(&bucket.codes, &codes);
            prop_assert_eq!((bucket.collisions, bucket.distinct), (colliding, naive.len()));

            let extra = collide(&codes, &[4, 3], &popularity, Collision::ExtraLevel).unwrap();
            prop_assert_eq!(extra.levels(), if largest > 1 { 3 } else { 2 });
            prop_assert_eq!((extra.collisions, extra.distinct), (colliding, rows.len()));
            let all: BTreeSet<&[u32]> = (0..rows.len()).map(|i| extra.of(i)).collect();
            prop_assert_eq!(all.len(), rows.len());
            if largest > 1 {
                prop_assert_eq!(extra.codebooks[2] as usize, largest);
                for group in naive.values() {
                    for (place, &i) in group.iter().enumerate() {
                        prop_assert_eq!(extra.of(i), &[rows[i].0, rows[i].1, place as u32][..]);
                    }
                }
            }
        }
    }
}
