//! The search over bytes against the scan in f32, at every level.

use super::super::{Search, inner_product_top_k};
use super::*;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| (crate::noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Best rows of every query by both ways; scores may differ by rounding, and rows only where scores do not tell.
fn agree(queries: &[f32], table: &[f32], dim: usize, k: usize, skip: &dyn Fn(usize, u32) -> bool) -> usize {
    let ties = TieOrder::Hash(4);
    let wanted = inner_product_top_k(queries, table, Search { dim, k, ties }, skip);
    let coded = Int8Table::new(table, dim);
    let mut exact = 0;
    for dot in Dot::all() {
        for level in Level::all() {
            let mut found = vec![TopK::new(k, ties); wanted.len()];
            exact = coded.offer_at(level, dot, queries, table, &mut found, skip);
            for (query, (found, wanted)) in found.into_iter().zip(&wanted).enumerate() {
                assert_eq!(found.saw_nan(), wanted.saw_nan());
                let (found, wanted) = (found.into_sorted(), wanted.clone().into_sorted());
                assert_eq!(found.len(), wanted.len());
                let size: f32 = queries[query * dim..][..dim].iter().map(|x| x.abs()).sum();
                for ((found, row), (wanted, other)) in found.into_iter().zip(wanted) {
                    let near = (found - wanted).abs() <= 1e-5 * size || found.is_nan() && wanted.is_nan();
                    assert!(near || found == wanted, "{dot:?} query {query}: {found} of {row}, {wanted} of {other}");
                    assert!(!skip(query, row));
                }
            }
        }
    }
    exact
}

#[test]
fn the_best_rows_are_those_of_a_scan_in_f32() {
    // Ragged in columns, rows and queries: around groups of 64 rows, six and 48 queries, four columns.
    for (dim, rows, queries) in [(1, 1, 1), (3, 63, 5), (4, 64, 6), (7, 65, 7), (64, 300, 49), (130, 129, 13)] {
        let (table, queries) = (numbers(rows * dim, 1), numbers(queries * dim, 2));
        agree(&queries, &table, dim, 10, &|query, row| (query as u32 + row).is_multiple_of(5));
    }
    agree(&numbers(8, 1), &[], 8, 3, &|_, _| false);
    agree(&[], &numbers(8, 1), 8, 3, &|_, _| false);
}

#[test]
fn few_rows_are_multiplied_in_f32() {
    let (rows, dim) = (4000, 64);
    let (table, queries) = (numbers(rows * dim, 1), numbers(20 * dim, 2));
    let exact = agree(&queries, &table, dim, 10, &|_, _| false);
    assert!((200..20 * 60).contains(&exact), "{exact} rows for 20 queries");
}

/// Every row enters when it comes, so that those left behind are let go on the way.
#[test]
fn rows_that_get_ever_better_are_kept_to_the_last() {
    let (rows, dim) = (3 * MOST, 8);
    let mut table = numbers(rows * dim, 1);
    for (row, x) in table.chunks_exact_mut(dim).enumerate() {
        x.iter_mut().for_each(|x| *x = 0.001 * *x + row as f32);
    }
    agree(&vec![1.0; 2 * dim], &table, dim, 10, &|_, row| row.is_multiple_of(3));
}

/// A row and its error of one denormal each, whose rounding to f32 must not lose the row.
#[test]
fn denormal_rows_have_bounds_that_hold() {
    let least = f32::from_bits(1);
    let (table, query) = (vec![least; 2], vec![1e30; 2]);
    let product = 2.0 * 1e30 * least;
    for below in [product.next_down(), product * 0.9, product * 0.75] {
        let mut found = vec![TopK::new(1, TieOrder::ByIndex)];
        found[0].push(below, 900);
        Int8Table::new(&table, 2).offer(&query, &table, &mut found, &|_, _| false);
        assert_eq!(found.remove(0).into_sorted()[0].1, 0, "{below}");
    }
}

#[test]
fn rows_of_very_different_sizes_keep_their_places() {
    let (rows, dim) = (500, 16);
    let mut table = numbers(rows * dim, 1);
    for (row, x) in table.chunks_exact_mut(dim).enumerate() {
        // One column far above the others spoils the codes of the rest; some rows are tiny, denormal or zero.
        match row % 6 {
            0 => x[row % dim] = 1e6,
            1 => x.iter_mut().for_each(|x| *x *= 1e-20),
            2 => x.iter_mut().for_each(|x| *x *= 1e-39),
            3 => x.fill(0.0),
            4 => x.iter_mut().for_each(|x| *x *= 1e30),
            _ => {}
        }
    }
    let mut queries = numbers(12 * dim, 2);
    queries[..dim].fill(0.0);
    queries[dim..2 * dim].iter_mut().for_each(|x| *x *= 1e-30);
    queries[2 * dim] = 1e6;
    for (query, queries) in queries.chunks_exact(dim).enumerate() {
        let wanted = inner_product_top_k(queries, &table, Search { dim, k: 8, ties: TieOrder::ByIndex }, &|_, _| false);
        for dot in Dot::all() {
            let mut found = vec![TopK::new(8, TieOrder::ByIndex)];
            Int8Table::new(&table, dim).offer_at(Level::detect(), dot, queries, &table, &mut found, &|_, _| false);
            let scores = |top: &TopK| -> Vec<f32> { top.clone().into_sorted().iter().map(|it| it.0).collect() };
            for (found, wanted) in scores(&found[0]).into_iter().zip(scores(&wanted[0])) {
                assert!((found - wanted).abs() <= 1e-5 * wanted.abs(), "{dot:?} query {query}: {found}, {wanted}");
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_multiplied_and_reported() {
    let (rows, dim) = (200, 8);
    let mut table = numbers(rows * dim, 1);
    let mut queries = numbers(3 * dim, 2);
    table[7 * dim + 3] = f32::INFINITY;
    agree(&queries, &table, dim, 5, &|_, _| false);
    table[100 * dim] = f32::NAN;
    agree(&queries, &table, dim, 5, &|_, _| false);
    let mut found = vec![TopK::new(5, TieOrder::ByIndex); 3];
    Int8Table::new(&table, dim).offer(&queries, &table, &mut found, &|_, _| false);
    assert!(found.iter().all(TopK::saw_nan));
    queries[dim] = f32::NEG_INFINITY;
    table.truncate(90 * dim);
    agree(&queries, &table, dim, 5, &|_, _| false);
}

#[test]
fn what_a_collector_holds_already_counts() {
    let (table, query) = (numbers(640, 1), numbers(8, 2));
    let mut found = vec![TopK::new(2, TieOrder::ByIndex)];
    found[0].push(1e9, 900);
    found[0].push(1e8, 901);
    let exact = Int8Table::new(&table, 8).offer(&query, &table, &mut found, &|_, _| false);
    assert_eq!((exact, found.remove(0).into_sorted()), (0, vec![(1e9, 900), (1e8, 901)]));
}

#[test]
fn sums_of_bytes_are_exact_at_every_level() {
    let steps = 5;
    let byte = |seed: u64, i: u64| (crate::noise::hash(seed, i) >> 56) as u8;
    let codes: Vec<u8> =
        (0..(GROUP * steps * STEP) as u64).map(|i| if i.is_multiple_of(7) { 255 } else { byte(1, i) }).collect();
    for count in 1..15 {
        let of = |query: u64| -> Vec<i8> {
            let value = |i: u64| if i.is_multiple_of(5) { -127 } else { byte(2 + query, i).cast_signed() };
            (0..steps as u64 * 4 - 1).map(value).collect()
        };
        let queries: Vec<Vec<i8>> = (0..count).map(of).collect();
        let words = products::interleave(queries.iter().map(|query| &query[..]), steps);
        for dot in Dot::all() {
            let mut out = vec![[1; GROUP]; queries.len()];
            products::multiply(dot, &mut out, &codes, &words, steps);
            for (query, sums) in queries.iter().zip(out) {
                for (row, sum) in sums.into_iter().enumerate() {
                    let at = |column: usize| column / STEP * GROUP * STEP + row * STEP + column % STEP;
                    let product = |(column, &code): (usize, &i8)| i32::from(codes[at(column)]) * i32::from(code);
                    let exact: i32 = query.iter().enumerate().map(product).sum();
                    assert_eq!(sum, exact, "{dot:?} {count} {row}");
                }
            }
        }
    }
}
