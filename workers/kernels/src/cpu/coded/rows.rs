//! Rows of numbers become words of codes.
//!
//! In: rows of f32. Out: a word for every four signed bytes (each plus 128) or every two bf16, the first in the lowest
//! bits, and behind them the row's scale. Every step rounds on its own, so all levels give the same codes in bits.

use crate::cpu::{Level, kernel};

/// Rows of words: a row's words, then its scales, each to a whole cache line.
pub(crate) struct RowsMut<'a> {
    pub rows: &'a mut [u32],
    /// Words of a row with its scales.
    pub stride: usize,
    /// Words of a row. What is beyond the depth becomes the code of 0.
    pub words: usize,
}

/// Codes dense rows of `depth` numbers, a scale each, as one kind of weights needs them.
pub(crate) type Coder = fn(Level, RowsMut<'_>, &[f32], usize);

/// The largest signed byte that is a code.
const MOST: f32 = 127.0;
/// Adding this to a small float rounds it to an integer, which then stands, plus 128, in the low byte.
const ROUND: f32 = 12_582_912.0 + 128.0;
/// Bits of an infinity; of NaN, more.
const INFINITE: u32 = 0x7f80_0000;

/// The largest magnitude; NaN where any number is none, or infinite.
#[inline(always)]
fn largest_of(x: &[f32]) -> f32 {
    let mut most = 0;
    for x in x {
        // Magnitudes are ordered as their bits are.
        most = most.max(x.to_bits() & !(1 << 31));
    }
    if most >= INFINITE { f32::NAN } else { f32::from_bits(most) }
}

/// Codes, each plus 128. Of a scale that is NaN they mean nothing.
#[inline(always)]
fn code_of(codes: &mut [u8], x: &[f32], inverse: f32) {
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUND).to_bits() as u8;
    }
}

/// A scale for numbers up to a magnitude and its inverse; at least the smallest normal number, so that zeros and
/// denormals have a finite inverse.
#[inline(always)]
pub(crate) fn scale_for(largest: f32) -> (f32, f32) {
    let scale = largest / MOST;
    // Not by `max`: NaN has to go through.
    let scale = if scale < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { scale };
    (scale, 1.0 / scale)
}

kernel! {
    /// The largest magnitude; NaN where any number is none, or infinite.
    pub(crate) fn largest<S>(x: &[f32]) -> f32 {
        largest_of(x)
    }
}

kernel! {
    /// Codes, each plus 128. Of a scale that is NaN they mean nothing.
    pub(crate) fn code<S>(codes: &mut [u8], x: &[f32], inverse: f32) {
        code_of(codes, x, inverse);
    }
}

kernel! {
    /// A [`Coder`] of signed bytes.
    pub(crate) fn bytes<S>(out: RowsMut<'_>, x: &[f32], depth: usize) {
        let RowsMut { rows, stride, words } = out;
        for (x, row) in x.chunks_exact(depth).zip(rows.chunks_exact_mut(stride)) {
            let (row, scales) = row.split_at_mut(words);
            let (scale, inverse) = scale_for(largest_of(x));
            let (codes, rest) = bytemuck::cast_slice_mut::<u32, u8>(row).split_at_mut(depth);
            code_of(codes, x, inverse);
            if !rest.is_empty() {
                rest.fill(128);
            }
            scales.fill(scale.to_bits());
        }
    }
}

kernel! {
    /// Pairs as f32, two words for one.
    pub(super) fn widen<S>(out: &mut [u32], words: &[u32]) {
        for (out, &word) in out.as_chunks_mut::<2>().0.iter_mut().zip(words) {
            *out = [word << 16, word & 0xFFFF_0000];
        }
    }
}
