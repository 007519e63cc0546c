//! The search against a ranking of all IDs by brute force, over random catalogs, logits and restrictions.

use std::collections::HashMap;

use proptest::prelude::*;
use recmesh_catalog::Catalog;
use recmesh_contract::{Mask, Query, Ties};

use super::*;
use crate::planted::catalog;

/// Logits that depend on the whole prefix, spread enough that equal scores are rare.
fn logits(prefix: &[u32], codes: u32) -> Vec<f32> {
    let seed =
        prefix.iter().fold(17u64, |hash, &code| (hash ^ u64::from(code + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..codes)
        .map(|code| {
            let mixed = (seed ^ u64::from(code)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40) as f32 / (1u64 << 24) as f32 * 6.0
        })
        .collect()
}

fn search(catalog: &Catalog, query: &Query<'_>, options: Options) -> (Vec<(u32, f32)>, u64) {
    let trie = catalog.trie();
    let ancestry = Ancestry::new(&trie);
    let live = catalog
        .live()
        .map(|mask| NodeSet::above(&trie, &ancestry, (0..catalog.len() as u32).filter(|&item| mask.contains(item))));
    let paths = Paths::new(catalog, &ancestry, live.as_ref(), query);
    let mut search = Search::default();
    search.begin(&paths, options);
    let mut prefixes: Vec<Vec<u32>> = vec![vec![]];
    for &codes in catalog.codebooks() {
        for (beam, prefix) in prefixes.iter().enumerate() {
            if !search.hopeless(beam) {
                search.score(&paths, beam, &logits(prefix, codes));
            }
        }
        search.advance(&paths).unwrap();
        let extend = |beam: &Beam| [&prefixes[beam.parent as usize][..], &[search.code(&trie, beam)]].concat();
        prefixes = search.beams().iter().map(extend).collect();
    }
    let (answer, illegal) = search.finish(&paths);
    (answer.into_iter().map(|c| (c.item, c.score)).collect(), illegal)
}

/// Scores of all items by walking their own codes.
fn exhaustive(catalog: &Catalog, renormalise: bool) -> HashMap<u32, f64> {
    let items = 0..catalog.len() as u32;
    let score = |item: u32| {
        let codes = catalog.codes(item);
        (0..codes.len())
            .map(|level| {
                let logits = logits(&codes[..level], catalog.codebooks()[level]);
                let exists = |code: u32| {
                    let mut others = items.clone().map(|other| catalog.codes(other));
                    others.any(|other| other[..level] == codes[..level] && other[level] == code)
                };
                let counted = (0u32..).zip(&logits).filter(|&(code, _)| !renormalise || exists(code));
                let total: f64 = counted.map(|(_, &x)| f64::from(x).exp()).sum();
                f64::from(logits[codes[level] as usize]) - total.ln()
            })
            .sum::<f64>()
    };
    items.clone().map(|item| (item, score(item))).collect()
}

#[derive(Clone, Debug)]
struct World {
    codebooks: Vec<u32>,
    codes: Vec<Vec<u32>>,
    live: Option<Vec<bool>>,
    allowed: Option<Vec<bool>>,
    exclude: Vec<bool>,
}

fn worlds() -> impl Strategy<Value = World> {
    let shape = prop::collection::vec(1u32..5, 1..4);
    (shape, 1usize..14).prop_flat_map(|(codebooks, items)| {
        let code: Vec<_> = codebooks.iter().map(|&codes| 0..codes).collect();
        let flags = || prop::collection::vec(any::<bool>(), items);
        let codes = prop::collection::vec(code, items);
        let options = (prop::option::of(flags()), prop::option::of(flags()), flags());
        (Just(codebooks), codes, options).prop_map(|(codebooks, codes, (live, allowed, exclude))| World {
            codebooks,
            codes,
            live,
            allowed,
            exclude,
        })
    })
}

fn mask(flags: &[bool]) -> Mask {
    let mut mask = Mask::none(flags.len());
    (0u32..).zip(flags).filter(|&(_, &set)| set).for_each(|(item, _)| mask.insert(item));
    mask
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_wide_beam_is_an_exhaustive_ranking(world in worlds(), renormalise: bool, k in 1usize..16) {
        let mut catalog = (*catalog(&world.codebooks, &world.codes)).with_live(mask(&vec![true; world.codes.len()]));
        if let Some(live) = &world.live {
            catalog = catalog.with_live(mask(live));
        }
        let allowed = world.allowed.as_deref().map(mask);
        let exclude: Vec<u32> = (0u32..).zip(&world.exclude).filter(|&(_, &set)| set).map(|(item, _)| item).collect();
        let query = Query { history: &[], exclude: &exclude, allowed: allowed.as_ref(), k, ties: Ties::ByIndex };
        let legal = |item: u32| {
            let at = item as usize;
            !world.exclude[at] && world.allowed.as_ref().is_none_or(|a| a[at]) && world.live.as_ref().is_none_or(|l| l[at])
        };
        let scores = exhaustive(&catalog, renormalise);
        let mut wanted: Vec<f64> = scores.iter().filter(|&(&item, _)| legal(item)).map(|(_, &score)| score).collect();
        wanted.sort_by(|a, b| b.total_cmp(a));

        let (answer, illegal) = search(&catalog, &query, Options { beams: world.codes.len(), renormalise });
        prop_assert_eq!(illegal, 0);
        prop_assert_eq!(answer.len(), wanted.len().min(k));
        for (&(item, score), &wanted) in answer.iter().zip(&wanted) {
            prop_assert!(legal(item));
            prop_assert!((f64::from(score) - scores[&item]).abs() < 1e-5, "{item}: {score} is not {}", scores[&item]);
            prop_assert!((f64::from(score) - wanted).abs() < 1e-5, "{item} scores {score} where {wanted} belongs");
        }
        let mut items: Vec<u32> = answer.iter().map(|&(item, _)| item).collect();
        items.sort_unstable();
        items.dedup();
        prop_assert_eq!(items.len(), answer.len());

        // A narrow beam may miss the best, but wastes no beam on what may not be answered.
        let (narrow, illegal) = search(&catalog, &query, Options { beams: 1, renormalise });
        prop_assert_eq!(illegal, 0);
        prop_assert_eq!(narrow.len(), wanted.len().min(k));
        prop_assert!(narrow.iter().all(|&(item, _)| legal(item)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// What a device is told of query after query is what the search itself goes by.
    #[test]
    fn masks_say_what_the_search_walks(world in worlds(), filtered in prop::collection::vec(any::<(bool, bool)>(), 1..5)) {
        let mut catalog = (*catalog(&world.codebooks, &world.codes)).with_live(mask(&vec![true; world.codes.len()]));
        if let Some(live) = &world.live {
            catalog = catalog.with_live(mask(live));
        }
        let trie = catalog.trie();
        let ancestry = Ancestry::new(&trie);
        let all = 0..catalog.len() as u32;
        let live = catalog
            .live()
            .map(|mask| NodeSet::above(&trie, &ancestry, all.clone().filter(|&item| mask.contains(item))));
        let allowed = mask(world.allowed.as_deref().unwrap_or(&vec![true; world.codes.len()]));
        let excluded: Vec<u32> = (0u32..).zip(&world.exclude).filter(|&(_, &set)| set).map(|(item, _)| item).collect();
        let excluded = [&excluded[..], &[u32::MAX]].concat();
        let mut masks = Masks::new(&catalog);
        let mut search = Search::default();
        for (with_filter, with_exclusions) in filtered {
            let exclude = if with_exclusions { &excluded[..] } else { &[] };
            let query = Query {
                history: &[],
                exclude,
                allowed: with_filter.then_some(&allowed),
                k: 3,
                ties: Ties::ByIndex,
            };
            let options = Options { beams: 4, renormalise: false };
            let paths = Paths::new(&catalog, &ancestry, live.as_ref(), &query);
            search.begin(&paths, options);
            let usual = masks.usual().to_vec();
            let leaves = trie.size(trie.levels());
            let names: Vec<u32> = (0..leaves).map(|leaf| paths.label(leaf).unwrap_or(u32::MAX)).collect();
            match masks.of(&search, &paths) {
                None => prop_assert_eq!(usual, names),
                Some((bits, labels)) => {
                    prop_assert_eq!(labels, names);
                    for (depth, bits) in (1..).zip(bits) {
                        prop_assert_eq!(bits.len(), (trie.size(depth) as usize).div_ceil(32));
                        for node in 0..trie.size(depth) {
                            let legal = |item: &u32| paths.label(trie.leaf_of(*item)).is_some();
                            let mut under = all.clone().filter(|item| {
                                let up = |at: u32, d: usize| ancestry.parent(d, at);
                                (depth + 1..=trie.levels()).rev().fold(trie.leaf_of(*item), up) == node
                            });
                            let walks = bits[node as usize / 32] >> (node % 32) & 1 == 1;
                            prop_assert_eq!(walks, under.any(|item| legal(&item)));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn items_that_share_an_id_come_most_popular_first() {
    let catalog = catalog(&[2, 2], &[vec![0, 1], vec![1, 1], vec![0, 1], vec![0, 1]]);
    let query = Query { history: &[], exclude: &[0], allowed: None, k: 9, ties: Ties::ByIndex };
    let (answer, _) = search(&catalog, &query, Options { beams: 4, renormalise: false });
    let shared: Vec<u32> = answer.iter().map(|&(item, _)| item).filter(|&item| item != 1).collect();
    assert_eq!(shared, [2, 3]);
    assert_eq!(answer.len(), 3);
}

#[test]
fn renormalising_shares_out_what_fell_on_ids_nobody_has() {
    // One path only: its probability is 1 over what exists, less over the codebook.
    let catalog = catalog(&[4, 4], &[vec![2, 3]]);
    let query = Query { history: &[], exclude: &[], allowed: None, k: 1, ties: Ties::ByIndex };
    let (on, _) = search(&catalog, &query, Options { beams: 2, renormalise: true });
    let (off, _) = search(&catalog, &query, Options { beams: 2, renormalise: false });
    assert_eq!(on, [(0, 0.0)]);
    assert!(off[0].1 < -0.1);
}

#[test]
fn rows_left_before_their_end_change_nothing() {
    // Four beams far apart in score and rows of many blocks: the worse beams are given up on after some of them.
    let codes: Vec<Vec<u32>> =
        (0..400_u32).map(|item| vec![item % 4, item.wrapping_mul(2_654_435_761) % 5000]).collect();
    let catalog = catalog(&[4, 5000], &codes);
    let scores = exhaustive(&catalog, false);
    let mut wanted: Vec<f64> = scores.values().copied().collect();
    wanted.sort_by(|a, b| b.total_cmp(a));
    for k in [1, 7, 60] {
        let query = Query { history: &[], exclude: &[], allowed: None, k, ties: Ties::ByIndex };
        let (answer, illegal) = search(&catalog, &query, Options { beams: 4, renormalise: false });
        assert_eq!((answer.len(), illegal), (k, 0));
        for (&(item, score), wanted) in answer.iter().zip(&wanted) {
            assert!((f64::from(score) - scores[&item]).abs() < 1e-5, "{item}: {score} is not {}", scores[&item]);
            assert!((f64::from(score) - wanted).abs() < 1e-5, "{item} scores {score} where {wanted} belongs");
        }
    }
}

#[test]
fn a_logit_that_is_not_a_number_is_reported() {
    let catalog = catalog(&[2], &[vec![0], vec![1]]);
    let trie = catalog.trie();
    let ancestry = Ancestry::new(&trie);
    let query = Query { history: &[], exclude: &[], allowed: None, k: 1, ties: Ties::ByIndex };
    let paths = Paths::new(&catalog, &ancestry, None, &query);
    let mut search = Search::default();
    search.begin(&paths, Options { beams: 1, renormalise: false });
    search.score(&paths, 0, &[f32::NAN, 0.0]);
    assert_eq!(search.advance(&paths).unwrap_err().reason, recmesh_contract::reason::NOT_A_NUMBER);
}
