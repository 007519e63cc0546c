//! A whole product from plain matrices: both sides packed and multiplied, on threads.
//!
//! In: dense row-major f32. Out: dense row-major f32, the product of the operands rounded to bf16. Threads share blocks
//! of rows, so their number changes nothing. Training does not come here: it packs what it can once.

use super::pack::{Of, SIDE, pack_columns, pack_left, words};
use super::{Left, Right, product};
use crate::buffer::Pool;
use crate::cpu::Level;
use crate::cpu::matmul::Output;
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
    let mut room = Pool::default();
    let mut right = room.take(words(n, k));
    let cut = n.div_ceil(threads.max(1)).next_multiple_of(PIECE);
    let pieces = right.words_mut().chunks_mut(words(cut, k).max(1)).enumerate();
    share(threads, pieces.collect(), |(at, piece): (usize, &mut [u32])| {
        let cols = at * cut..n.min((at + 1) * cut);
        pack_columns(level, piece, b, (k, n), cols);
    });
    let right = Right::new(right.words(), k, n);
    let cut = m.div_ceil(threads.max(1)).next_multiple_of(PIECE);
    share(threads, out.chunks_mut(cut * n).enumerate().collect(), |(at, out): (usize, &mut [f32])| {
        let rows = at * cut..m.min((at + 1) * cut);
        let mut pool = Pool::default();
        let mut left = pool.take(words(rows.len(), k));
        pack_left(level, left.words_mut(), &a[rows.start * k..rows.end * k], (rows.len(), k), Of::Matrix);
        product(level, &mut pool, out, Output::Write, Left::new(left.words(), rows.len(), k), right);
    });
}
