//! The collector against a sort, the search against all products.

use proptest::prelude::*;

use super::*;
use crate::cpu::Level;

fn sorted(scores: &[f32], k: usize, ties: TieOrder) -> Vec<(f32, u32)> {
    let key = |index: u32| match ties {
        TieOrder::ByIndex => u64::from(index),
        TieOrder::Hash(seed) => noise::hash(seed, u64::from(index)),
    };
    let mut all: Vec<(f32, u32)> = scores.iter().copied().zip(0..).collect();
    all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(key(a.1).cmp(&key(b.1))));
    all.truncate(k);
    all
}

proptest! {
    #[test]
    fn the_best_k_in_any_order_of_arrival(
        scores in prop::collection::vec((-4_i8..4).prop_map(f32::from), 0..200),
        k in 0_usize..30,
        seed in any::<u64>(),
    ) {
        for ties in [TieOrder::ByIndex, TieOrder::Hash(seed)] {
            let (mut forward, mut backward) = (TopK::new(k, ties), TopK::new(k, ties));
            for (&score, index) in scores.iter().zip(0..) {
                forward.push(score, index);
            }
            for (&score, index) in scores.iter().zip(0..scores.len() as u32).rev() {
                backward.push(score, index);
            }
            prop_assert!(!forward.saw_nan());
            let expected = sorted(&scores, k, ties);
            prop_assert_eq!(&forward.into_sorted(), &expected);
            prop_assert_eq!(&backward.into_sorted(), &expected);
        }
    }

    #[test]
    fn search_equals_all_products(rows in 0_usize..40, dim in 1_usize..9, k in 1_usize..12, modulus in 2_u32..5) {
        // Small integers: products are exact, ties are many.
        let value = |i: usize| ((i * 2_654_435_761) >> 7) as f32 % 3.0 - 1.0;
        let queries: Vec<f32> = (0..7 * dim).map(value).collect();
        let table: Vec<f32> = (0..rows * dim).map(|i| value(i + 1000)).collect();
        let found = inner_product_top_k(&queries, &table, Search { dim, k, ties: TieOrder::ByIndex }, &|q, row| {
            (q as u32 + row).is_multiple_of(modulus)
        });
        prop_assert_eq!(found.len(), 7);
        for (q, found) in found.into_iter().enumerate() {
            let mut all: Vec<(f32, u32)> = (0..rows as u32)
                .filter(|row| !(q as u32 + row).is_multiple_of(modulus))
                .map(|row| {
                    let of = &table[row as usize * dim..][..dim];
                    (queries[q * dim..][..dim].iter().zip(of).map(|(a, b)| a * b).sum(), row)
                })
                .collect();
            all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
            all.truncate(k);
            prop_assert_eq!(found.into_sorted(), all);
        }
    }
}

#[test]
fn search_spans_blocks_of_queries_and_rows() {
    let dim = 4;
    let rows = 3 * scan::BLOCK + 17;
    let table: Vec<f32> = (0..rows).flat_map(|i| [(i * 7919 % rows) as f32, 0.0, 0.0, 0.0]).collect();
    let queries: Vec<f32> = (0..69).flat_map(|q| [if q % 2 == 0 { 1.0 } else { -1.0 }, 0.0, 0.0, 0.0]).collect();
    let found =
        inner_product_top_k(&queries, &table, Search { dim, k: 3, ties: TieOrder::ByIndex }, &|_, row| row == 0);
    for (q, found) in found.into_iter().enumerate() {
        let scores: Vec<f32> = found.into_sorted().iter().map(|&(score, _)| score).collect();
        // Row 0 holds the value 0 and is excluded.
        let top = rows as f32;
        let expected = if q % 2 == 0 { [top - 1.0, top - 2.0, top - 3.0] } else { [-1.0, -2.0, -3.0] };
        assert_eq!(scores, expected, "query {q}");
    }
}

#[test]
fn nan_is_reported_and_comes_last() {
    let mut top = TopK::new(3, TieOrder::ByIndex);
    for (score, index) in [(f32::NAN, 0), (f32::NEG_INFINITY, 1), (1.0, 2)] {
        top.push(score, index);
    }
    assert!(top.saw_nan());
    assert_eq!(top.threshold(), f32::NEG_INFINITY);
    top.push(f32::NEG_INFINITY, 9);
    assert_eq!(top.into_sorted(), [(1.0, 2), (f32::NEG_INFINITY, 1), (f32::NEG_INFINITY, 9)]);
    let found = inner_product_top_k(
        &[1.0],
        &[5.0, f32::NAN, 7.0],
        Search { dim: 1, k: 1, ties: TieOrder::ByIndex },
        &|_, _| false,
    );
    assert!(found[0].saw_nan());
    assert_eq!(found[0].clone().into_sorted(), [(7.0, 2)]);
}

/// Dense queries at every level: the order of exact products, and in bits what each query gets among fewer; alone, all but
/// in bits.
#[test]
fn a_querys_scores_do_not_depend_on_those_beside_it() {
    let (dim, rows) = (37, 2 * scan::BLOCK + 5);
    let numbers = |seed: u64, count: usize| -> Vec<f32> {
        (0..count as u64).map(|i| (noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    };
    let (queries, table) = (numbers(1, 35 * dim), numbers(2, rows * dim));
    for level in Level::all() {
        let search = |queries: &[f32]| {
            let mut found = vec![TopK::new(9, TieOrder::ByIndex); queries.len() / dim];
            Scan::default().offer_at(level, queries, &table, dim, &mut found, &|_, row| row == 3);
            found.into_iter().map(TopK::into_sorted).collect::<Vec<_>>()
        };
        let together = search(&queries);
        for (query, found) in queries.chunks(dim).zip(together) {
            assert_eq!(search(&query.repeat(scan::FEW + 1))[0], found, "{level:?}");
            let alone = search(query).remove(0);
            assert!(alone.iter().zip(&found).all(|(a, b)| (a.0 - b.0).abs() < 1e-5) && alone.len() == 9, "{level:?}");
            let exact = |row: u32| -> f64 {
                let row = &table[row as usize * dim..][..dim];
                query.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            assert!(found.iter().all(|&(score, row)| row != 3 && (f64::from(score) - exact(row)).abs() < 1e-4));
            let worst = found.last().unwrap().0;
            let better = (0..rows as u32).filter(|&row| row != 3 && exact(row) > f64::from(worst) + 1e-4).count();
            assert!(found.len() == 9 && better < 9, "{better} are better than the worst found");
        }
    }
}

/// Batches of unequal sizes, widths and tables one after another: what earlier ones left in memory changes nothing.
#[test]
fn scans_and_collectors_are_as_good_as_new() {
    let numbers = |seed: u64, count: usize| -> Vec<f32> {
        (0..count as u64).map(|i| (noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    };
    let (mut scan, mut tops) = (Scan::default(), Vec::new());
    for (seed, (count, dim, rows, k)) in (0..).zip([(70, 24, 300, 9), (3, 37, 90, 200), (1, 5, 40, 1), (33, 24, 7, 3)])
    {
        let (queries, table) = (numbers(seed, count * dim), numbers(seed + 9, rows * dim));
        let ties = if k == 3 { TieOrder::Hash(7) } else { TieOrder::ByIndex };
        tops.resize_with(count, TopK::default);
        tops.iter_mut().for_each(|top| top.reset(k, ties));
        scan.offer(&queries, &table, dim, &mut tops, &|query, row| row as usize == query);
        let fresh = inner_product_top_k(&queries, &table, Search { dim, k, ties }, &|query, row| row as usize == query);
        for (top, fresh) in tops.iter_mut().zip(fresh) {
            assert_eq!(top.drain_sorted().collect::<Vec<_>>(), fresh.into_sorted());
            top.push(f32::NAN, 1);
            assert!(top.saw_nan());
        }
    }
}
