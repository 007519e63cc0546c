//! The scan's sides: the ten largest inner products of every query with a table, in f32 and over a table of bytes.
//!
//! In: the folder, where `table.f32` and `queries.f32` may lie with rows of `width` columns; without a width, uniform
//! random ones are drawn and written there. Out: per round the seconds of all queries, at the end what was found. Two
//! threads, half of the queries each.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use recmesh_kernels::share;
use recmesh_kernels::topk::{Int8Table, Search, TieOrder, TopK, inner_product_top_k};
use serde_json::json;

use super::super::random::Random;
use super::{K, THREADS, answer_lines, finish, tell, write_numbers};

/// Vectors of a random table, their width, and the queries of a round.
const VECTORS: usize = 25_000;
const WIDTH: usize = 768;
const QUERIES: usize = 64;

/// Rounds over the folder's vectors, over bytes when `coded`.
pub fn run(folder: &Path, count: usize, width: usize, coded: bool) -> Result<()> {
    let (table, queries, dim) =
        if width == 0 { drawn(folder)? } else { (read(folder, "table.f32")?, read(folder, "queries.f32")?, width) };
    ensure!(table.len().is_multiple_of(dim) && queries.len().is_multiple_of(dim), "rows of {dim} columns");
    let start = Instant::now();
    let bytes = coded.then(|| Int8Table::new(&table, dim));
    let built = start.elapsed().as_secs_f64();
    let part = (queries.len() / dim).div_ceil(THREADS) * dim;
    let mut found: Vec<(Vec<TopK>, usize)> = vec![Default::default(); queries.len().div_ceil(part)];
    tell("ready")?;
    answer_lines(count, || {
        let parts = queries.chunks(part).zip(&mut found).collect();
        share(THREADS, parts, |(queries, (found, exact)): (&[f32], &mut (Vec<TopK>, usize))| match &bytes {
            None => {
                let search = Search { dim, k: K, ties: TieOrder::ByIndex };
                *found = inner_product_top_k(queries, &table, search, &|_, _| false);
            }
            Some(bytes) => {
                *found = vec![TopK::new(K, TieOrder::ByIndex); queries.len() / dim];
                *exact = bytes.offer(queries, &table, found, &|_, _| false);
            }
        });
        black_box(&found);
        Ok(())
    })?;
    let exact: usize = found.iter().map(|(_, exact)| exact).sum();
    let sorted = found.into_iter().flat_map(|(tops, _)| tops).map(TopK::into_sorted);
    let items: Vec<Vec<u32>> = sorted.map(|top| top.into_iter().map(|(_, index)| index).collect()).collect();
    let exact = exact as f64 / items.len().max(1) as f64;
    finish(json!({ "items": items, "buildSeconds": built, "exactProductsPerQuery": exact }))
}

fn drawn(folder: &Path) -> Result<(Vec<f32>, Vec<f32>, usize)> {
    let mut random = Random(3);
    let (table, queries) = (random.numbers(VECTORS * WIDTH), random.numbers(QUERIES * WIDTH));
    write_numbers(&folder.join("table.f32"), &table)?;
    write_numbers(&folder.join("queries.f32"), &queries)?;
    Ok((table, queries, WIDTH))
}

fn read(folder: &Path, name: &str) -> Result<Vec<f32>> {
    let bytes = fs::read(folder.join(name)).with_context(|| format!("reading {name}"))?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "{name} holds no whole numbers");
    Ok(numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
}
