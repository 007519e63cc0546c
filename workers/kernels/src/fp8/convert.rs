//! Slices to codes and back, with one scale for the whole slice.
//!
//! In: a slice. Out: a slice of the same length, the same bits at every level. These are the loops that everything
//! else in this room is made of; they allocate nothing.

use super::format::{E4m3, E5m2, Format, Layout, decode_one, encode_one};
use crate::cpu::{Level, kernel};

/// `codes = round(x · factor)`; a factor is the inverse of a scale.
///
/// # Panics
/// If the lengths differ.
pub fn encode(level: Level, format: Format, codes: &mut [u8], x: &[f32], factor: f32) {
    assert_eq!(codes.len(), x.len(), "one code a number");
    encode_slice(level, format, codes, x, factor);
}

/// `x = codes · scale`, rounded once.
///
/// # Panics
/// If the lengths differ.
pub fn decode(level: Level, format: Format, x: &mut [f32], codes: &[u8], scale: f32) {
    assert_eq!(codes.len(), x.len(), "one number a code");
    decode_slice(level, format, x, codes, scale);
}

#[inline(always)]
fn encode_as<F: Layout>(codes: &mut [u8], x: &[f32], factor: f32) {
    for (code, &x) in codes.iter_mut().zip(x) {
        *code = encode_one::<F>(x * factor) as u8;
    }
}

#[inline(always)]
fn decode_as<F: Layout>(x: &mut [f32], codes: &[u8], scale: f32) {
    for (x, &code) in x.iter_mut().zip(codes) {
        *x = decode_one::<F>(code) * scale;
    }
}

/// [`encode`] inside another kernel.
#[inline(always)]
pub(super) fn encode_of(format: Format, codes: &mut [u8], x: &[f32], factor: f32) {
    match format {
        Format::E4m3 => encode_as::<E4m3>(codes, x, factor),
        Format::E5m2 => encode_as::<E5m2>(codes, x, factor),
    }
}

/// The largest magnitude that is a number, infinity among them; 0 of nothing. NaN is passed over. Order is of no
/// matter: magnitudes compare as integers.
#[inline(always)]
pub(super) fn largest_of(x: &[f32]) -> f32 {
    let mut largest = 0;
    for &x in x {
        let magnitude = x.to_bits() & 0x7FFF_FFFF;
        largest = largest.max(if magnitude > 0x7F80_0000 { 0 } else { magnitude });
    }
    f32::from_bits(largest)
}

kernel! {
    fn encode_slice<S>(format: Format, codes: &mut [u8], x: &[f32], factor: f32) {
        encode_of(format, codes, x, factor);
    }
}

kernel! {
    fn decode_slice<S>(format: Format, x: &mut [f32], codes: &[u8], scale: f32) {
        match format {
            Format::E4m3 => decode_as::<E4m3>(x, codes, scale),
            Format::E5m2 => decode_as::<E5m2>(x, codes, scale),
        }
    }
}

kernel! {
    /// The largest magnitude of a slice.
    pub(super) fn largest<S>(x: &[f32]) -> f32 {
        largest_of(x)
    }
}
