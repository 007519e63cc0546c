//! One conversion between f32 and bf16, for everything that rounds.
//!
//! In: numbers. Out: their upper sixteen bits after rounding to the nearest, ties to even; denormals are kept, what lies
//! beyond the largest bf16 becomes infinite, NaN stays NaN and quiet. The same bits at every level: the machine's own
//! conversion, which flushes denormals, is not used.

use crate::cpu::{Level, kernel};

/// The bf16 nearest to `x`, as bits.
#[must_use]
#[inline(always)]
pub fn round(x: f32) -> u16 {
    word(x) as u16
}

/// What the bits stand for, exactly.
#[must_use]
#[inline(always)]
pub fn widen(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// [`round`] of all, as bits.
#[must_use]
pub fn rounded(x: &[f32]) -> Vec<u16> {
    let mut out = vec![0; x.len()];
    round_all(Level::detect(), &mut out, x);
    out
}

/// [`widen`] of all.
#[must_use]
pub fn widened(bits: &[u16]) -> Vec<f32> {
    bits.iter().copied().map(widen).collect()
}

/// The bf16 nearest to `x`.
#[inline(always)]
pub(crate) fn rounding(x: f32) -> f32 {
    f32::from_bits(word(x) << 16)
}

/// [`round`] in the lower half of a word.
#[inline(always)]
pub(super) fn word(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
    // A NaN may have its only set bits among those that are cut off.
    let quiet = (bits >> 16) | 0x40;
    if bits & 0x7FFF_FFFF > 0x7F80_0000 { quiet } else { nearest }
}

kernel! {
    /// Rounds numbers to bf16 where they lie, as f32.
    pub(crate) fn round_in<S>(x: &mut [f32]) {
        for x in x {
            *x = rounding(*x);
        }
    }
}

kernel! {
    /// [`round`] of all.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(crate) fn round_all<S>(out: &mut [u16], x: &[f32]) {
        assert_eq!(out.len(), x.len(), "one bf16 a number");
        for (out, &x) in out.iter_mut().zip(x) {
            *out = word(x) as u16;
        }
    }
}
