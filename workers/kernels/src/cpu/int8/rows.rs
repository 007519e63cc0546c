//! Numbers become codes of one byte.
//!
//! In: a row, or the inverse of its scale. Out: its largest magnitude and a scale, or codes `round(x · inverse) + 128`,
//! ties to even. Every step rounds on its own, so all levels give the same codes in bits.

use crate::cpu::kernel;

/// The largest code.
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
    /// Codes and a scale of every row of `depth` numbers; rows of codes are `stride` bytes, what is beyond the depth is
    /// the code of 0.
    pub(super) fn code_rows<S>(codes: &mut [u8], stride: usize, scales: &mut [f32], x: &[f32], depth: usize) {
        for ((x, codes), to) in x.chunks_exact(depth).zip(codes.chunks_exact_mut(stride)).zip(scales) {
            let (scale, inverse) = scale_for(largest_of(x));
            let (codes, rest) = codes.split_at_mut(depth);
            code_of(codes, x, inverse);
            if !rest.is_empty() {
                rest.fill(128);
            }
            *to = scale;
        }
    }
}
