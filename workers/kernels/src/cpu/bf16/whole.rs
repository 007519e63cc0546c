//! A whole product from plain matrices: both sides rounded and multiplied, on threads.
//!
//! In: dense row-major f32. Out: dense row-major f32, the product of the operands rounded to bf16. Threads share blocks
//! of rows, so their number changes nothing. Training does not come here: it rounds what it can once.

use std::ops::Range;

use super::pack::{Of, SIDE, pack_columns, pack_left, words};
use super::{Left, Right, product, round_in};
use crate::buffer::Pool;
use crate::cpu::Level;
use crate::cpu::matmul::{Output, View, gemm};
use crate::share;

/// Rows, and columns, of a piece of work are whole numbers of these.
const PIECE: usize = 4 * SIDE;

/// `out [m × n] = a [m × k] · b [k × n]`, operands rounded to bf16, sums in f32, within the bound of this module.
///
/// # Panics
/// If a length does not fit.
pub fn matmul(level: Level, threads: usize, out: &mut [f32], a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) {
    assert_eq!((out.len(), a.len(), b.len()), (m * n, m * k, k * n), "a product {m} x {n} x {k}");
    if out.is_empty() {
        return;
    }
    let rows_each = m.div_ceil(threads.max(1)).next_multiple_of(PIECE);
    let mut by_rows = |work: &(dyn Fn(Range<usize>, &mut [f32]) + Sync)| {
        share(threads, out.chunks_mut(rows_each * n).enumerate().collect(), |(at, out): (usize, &mut [f32])| {
            work(at * rows_each..m.min((at + 1) * rows_each), out);
        });
    };
    let mut room = Pool::default();
    if !level.multiplies_bf16() {
        let mut right = room.take(k * n);
        let each = (k * n).div_ceil(threads.max(1)).max(1);
        let pieces = right.chunks_mut(each);
        share(threads, pieces.zip(b.chunks(each)).collect(), |(to, from): (&mut [f32], &[f32])| {
            to.copy_from_slice(from);
            round_in(level, to);
        });
        by_rows(&|rows, out| {
            let mut left = Pool::default().take(rows.len() * k);
            left.copy_from_slice(&a[rows.start * k..rows.end * k]);
            round_in(level, &mut left);
            gemm(out, Output::Write, 1.0, View::new(&left, rows.len(), k), View::new(&right, k, n));
        });
        return;
    }
    let mut right = room.take(words(n, k));
    let cut = n.div_ceil(threads.max(1)).next_multiple_of(PIECE);
    let pieces = right.words_mut().chunks_mut(words(cut, k).max(1)).enumerate();
    share(threads, pieces.collect(), |(at, piece): (usize, &mut [u32])| {
        let cols = at * cut..n.min((at + 1) * cut);
        pack_columns(level, piece, b, (k, n), cols);
    });
    let right = Right::new(right.words(), k, n);
    by_rows(&|rows, out| {
        let mut left = Pool::default().take(words(rows.len(), k));
        pack_left(level, left.words_mut(), &a[rows.start * k..rows.end * k], (rows.len(), k), Of::Matrix);
        product(level, out, Output::Write, Left::new(left.words(), rows.len(), k), right);
    });
}
