//! The scan of a table for the best rows of many queries.
//!
//! ```text
//! queries ─► panels, once          table rows, where they lie ─► products, a block in the nearest cache
//! a block's products ─► which stretches reach the worst kept scores ─► only these are looked at
//! ```
//! In: queries and a table. Out: collectors filled. The table is read once for all queries and never copied. A product is
//! one chain in the order of the columns, so a query's scores do not depend on the queries beside it; only where there
//! are too few queries to fill a register, it is a dot product over lanes, which may differ in the last bits.

use super::TopK;
use crate::cpu::panels::{Panels, Then, product};
use crate::cpu::reduce::dot_of;
use crate::cpu::{Level, kernel};

/// Table rows of a block. Thresholds are as old as the block.
pub(super) const BLOCK: usize = 96;
/// Products looked at together before any one is.
const STRETCH: usize = 16;

/// Up to so many queries each take dot products of their own.
pub(super) const FEW: usize = 2;

kernel! {
    /// Products of every row with each of a few queries.
    fn dots<S>(products: &mut [f32], rows: &[f32], queries: &[f32], dim: usize) {
        let count = queries.len() / dim;
        for (products, row) in products.chunks_exact_mut(count).zip(rows.chunks_exact(dim)) {
            for (product, query) in products.iter_mut().zip(queries.chunks_exact(dim)) {
                *product = dot_of::<S>(query, row);
            }
        }
    }
}

kernel! {
    /// For every stretch of every row, whether any product is at least its threshold, or NaN.
    fn mark<S>(marks: &mut [u8], products: &[f32], thresholds: &[f32]) {
        let stretches = thresholds.len().div_ceil(STRETCH);
        for (row, marks) in products.chunks_exact(thresholds.len()).zip(marks.chunks_exact_mut(stretches)) {
            let (body, tail) = row.as_chunks::<STRETCH>();
            let (lowest, lowest_tail) = thresholds.as_chunks::<STRETCH>();
            for ((products, lowest), mark) in body.iter().zip(lowest).zip(marks.iter_mut()) {
                let mut any = 0_u32;
                for i in 0..STRETCH {
                    any |= u32::from(reaches(products[i], lowest[i]));
                }
                *mark = u8::from(any != 0);
            }
            if let Some(mark) = marks.last_mut().filter(|_| !tail.is_empty()) {
                *mark = u8::from(tail.iter().zip(lowest_tail).any(|(&x, &lowest)| reaches(x, lowest)));
            }
        }
    }
}

/// Whether a score may enter; NaN must count as reaching, hence no `>=`.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord)]
fn reaches(score: f32, threshold: f32) -> bool {
    !(score < threshold)
}

/// Memory of scans: a copy of the queries and one block of products, as much as the most queries so far took. A scan of no
/// more queries than that allocates nothing.
#[derive(Debug, Default)]
pub struct Scan {
    panels: Option<Panels>,
    products: Vec<f32>,
    marks: Vec<u8>,
    thresholds: Vec<f32>,
}

impl Scan {
    /// [`offer_products`](super::offer_products) in this memory.
    ///
    /// # Panics
    /// If a slice is not a whole number of rows, or there are not as many collectors as query rows.
    pub fn offer(
        &mut self,
        queries: &[f32],
        table: &[f32],
        dim: usize,
        found: &mut [TopK],
        skip: &dyn Fn(usize, u32) -> bool,
    ) {
        let whole = |rows: &[f32]| dim > 0 && rows.len().is_multiple_of(dim);
        assert!(whole(queries) && whole(table), "rows of {dim} columns");
        assert_eq!(queries.len() / dim, found.len(), "one collector a query");
        self.offer_at(Level::detect(), queries, table, dim, found, skip);
    }

    /// Offers all products of `queries` with the rows of `table` that `skip` does not exclude; slices are whole rows, one
    /// query a collector.
    pub(super) fn offer_at(
        &mut self,
        level: Level,
        queries: &[f32],
        table: &[f32],
        dim: usize,
        found: &mut [TopK],
        skip: &dyn Fn(usize, u32) -> bool,
    ) {
        let count = found.len();
        if count == 0 {
            return;
        }
        let Self { panels, products, marks, thresholds } = self;
        let panels = (count > FEW).then(|| {
            let memory = panels.take().map(Panels::into_memory).unwrap_or_default();
            &*panels.insert(Panels::packed_in(memory, queries, count, dim, false))
        });
        let stretches = count.div_ceil(STRETCH);
        // What these hold is written before it is read.
        products.resize(BLOCK.min(table.len() / dim) * count, 0.0);
        marks.resize(BLOCK * stretches, 0);
        thresholds.clear();
        thresholds.extend(found.iter().map(TopK::threshold));
        for (base, rows) in (0..).step_by(BLOCK).zip(table.chunks(BLOCK * dim)) {
            let height = rows.len() / dim;
            let (products, marks) = (&mut products[..height * count], &mut marks[..height * stretches]);
            match panels {
                Some(panels) => product(level, products, rows, panels, Then::NOTHING),
                None => dots(level, products, rows, queries, dim),
            }
            mark(level, marks, products, thresholds);
            for (at, _) in marks.iter().enumerate().filter(|&(_, &mark)| mark != 0) {
                let (row, first) = (at / stretches, at % stretches * STRETCH);
                let index = base + row as u32;
                let end = (first + STRETCH).min(count);
                for (query, &score) in (first..end).zip(&products[row * count + first..row * count + end]) {
                    let top = &mut found[query];
                    if reaches(score, thresholds[query]) && !skip(query, index) {
                        top.consider(score, index);
                        thresholds[query] = top.threshold();
                    }
                }
            }
        }
    }
}
