//! Exact search by inner product: the blocked scan beside a plain loop over rows that keeps all scores and selects.

use std::{cmp::Ordering, hint::black_box};

use anyhow::{Result, ensure};
use recmesh_kernels::topk::{Search, TieOrder, inner_product_top_k};

use super::random::Random;
use crate::measure::{Bench, Side};

const K: usize = 10;

pub fn run(bench: &mut Bench) -> Result<()> {
    for (rows, dim) in [(18_000, 64), (25_000, 768)] {
        let mut random = Random(3);
        let table = random.numbers(rows * dim);
        for queries in [1, 16] {
            let asked = random.numbers(queries * dim);
            let search = Search { dim, k: K, ties: TieOrder::ByIndex };
            let blocked = || inner_product_top_k(&asked, &table, search, &|_, _| false);
            for (plain, blocked) in naive(&asked, &table, dim).into_iter().zip(blocked()) {
                for ((score, _), (exact, _)) in blocked.into_sorted().into_iter().zip(plain) {
                    ensure!((score - exact).abs() < 1e-3, "the scans disagree: {score} and {exact}");
                }
            }
            bench.compare(
                &format!("search {rows}x{dim}, {queries} at once"),
                "query",
                vec![
                    Side::new("scalar scan, all scores, select", || {
                        black_box(naive(&asked, &table, dim));
                        Ok(())
                    })
                    .pieces(queries),
                    Side::new("inner_product_top_k", || {
                        black_box(blocked());
                        Ok(())
                    })
                    .pieces(queries),
                ],
            )?;
        }
    }
    Ok(())
}

fn naive(queries: &[f32], table: &[f32], dim: usize) -> Vec<Vec<(f32, u32)>> {
    let best_first = |a: &(f32, u32), b: &(f32, u32)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
    let answer = |query: &[f32]| {
        let product = |row: &[f32]| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
        let mut scores: Vec<(f32, u32)> = table.chunks_exact(dim).map(product).zip(0..).collect();
        scores.select_nth_unstable_by(K, best_first);
        scores.truncate(K);
        scores.sort_unstable_by(best_first);
        scores
    };
    queries.chunks_exact(dim).map(answer).collect()
}
