//! How far an implementation may be from the reference: a bound for every element, from how it rounds.
//!
//! In: the operands in f64 and an [`Arithmetic`]. Out: absolute errors. Bounds are derived, not fitted: a result outside
//! is wrong, a result inside need not be good. `u = 2⁻²⁴` is half a unit in the last place of f32 at 1.
//!
//! | operation | bound |
//! |---|---|
//! | rows in bf16 | 2⁻⁸ of the element, and what it was off by before |
//! | codes of `y` | half a step, `max(abs y / 16, scale / 1024)`, and what `y` itself is off by |
//! | product | f32: `γ · Σ abs ab`; tensor core: 34 cuts at 2⁻¹³ every 32 columns, on top |
//! | product of normals, over a whole case | twice the known root mean square of the error |
//! | attention | `2 · δ · Σ p · abs v`, δ the relative error of a weight |
//! | beam step | the sum of exponentials, and roundings of what is added |
//! | item search | exact products within f32's; whoever is missing lies below the last by at most E4M3's error |

use super::Arithmetic;
use crate::fp8::emulate::Promotion;
use crate::fp8::{BLOCK, serve};

/// Half a unit in the last place of f32 at 1.
pub const U: f64 = 1.0 / (1_u64 << 24) as f64;
/// The smallest f32: what a denormal result may lose.
pub const TINY: f64 = 1.401_298_464_324_817e-45;
/// Relative error of the shared exponential.
const EXP: f64 = 2e-7;
/// Half a unit in the last place of bf16 at 1, and its smallest number.
const BF16: f64 = 1.0 / 256.0;
const TINY_BF16: f64 = 9.183_549_615_799_121e-41;

/// Whether an implementation is the reference itself.
fn exact(arithmetic: Arithmetic) -> bool {
    arithmetic == Arithmetic::Reference
}

/// Error of `code · scale` against `y`, where `y` was off by `before` when it was encoded.
#[must_use]
pub fn code(y: f64, scale: f64, before: f64) -> f64 {
    (y.abs() / 16.0).max(scale / 1024.0) * (1.0 + 1e-6) + before * 1.125
}

/// Error of a scale, `largest / 448` of values off by at most `before`.
#[must_use]
pub fn scale(largest: f64, before: f64) -> f64 {
    (largest / 448.0).max(f64::from(f32::MIN_POSITIVE)) * 2.0 * U + before / 448.0
}

/// Error of a normed element. Squares are summed in 16 lanes; two roundings each where products are not fused.
#[must_use]
pub fn rms_norm(arithmetic: Arithmetic, cols: usize, y: f64) -> f64 {
    if exact(arithmetic) { 0.0 } else { y.abs() * (cols as f64 / 8.0 + 24.0) * U + TINY }
}

/// Error of a gated element. Where `e^−x` overflows, `x < −88.7`, the gate is zero instead of `x · e^x`.
#[must_use]
pub fn swiglu(arithmetic: Arithmetic, y: f64, right: f64) -> f64 {
    if exact(arithmetic) { 0.0 } else { y.abs() * (EXP + 8.0 * U) + 3e-37 * right.abs() + TINY }
}

/// Error of a product's element with `Σ |ab| = magnitude`, `width` columns under one pair of scales.
///
/// f32: that of [`serve`]. The tensor core cuts 33 numbers at the 13th fraction bit of the largest, and their sum once
/// more, every 32 columns until it is promoted: `34 · 2⁻¹³ · magnitude` a step. The hard worst case; random operands stay
/// below by a factor of a hundred, so that this alone would let a result pass that lacks half of its columns: see
/// [`product_spread`]. There scales are multiplied in f32, where a product of two may be denormal; `scale` is the larger
/// side's.
#[must_use]
pub fn product(arithmetic: Arithmetic, k: usize, width: usize, magnitude: f64, scale: f64) -> f64 {
    let stretches = k.div_ceil(width.clamp(1, k.max(1))) as f64;
    let single = serve::gamma(k, width) * magnitude + stretches * TINY * (1.0 + scale);
    match arithmetic {
        Arithmetic::Reference => 0.0,
        Arithmetic::Single => single,
        Arithmetic::TensorCore => {
            let steps = together(k, width).div_ceil(32) as f64;
            let denormal = (k as f64 * 448.0 * 448.0 + scale) * TINY;
            single + steps * 34.0 / 8192.0 * magnitude + 4.0 * U * magnitude + denormal
        }
    }
}

/// Columns whose products the tensor core of our kernel adds up alone.
fn together(k: usize, width: usize) -> usize {
    match Promotion::over(k) {
        Promotion::Block => width.min(BLOCK),
        Promotion::Never => width.min(k),
    }
}

/// Root mean square of a product's error over a case of normals, relative to that of its exact results: what is too much.
///
/// Twice what is known of each arithmetic. f32 sums in one chain: `u · √(k / 6)`. The tensor core in bits
/// (`fp8::emulate`): 1.2e-4 over 128 columns, 5e-4 over 1024, 1.3e-3 over 4096: as the 0.7th power. A lost column of `k`
/// would cost `√(1 / k)`, 0.012 at 6912; a lost stretch of 128 `√(128 / k)`, 0.14: far beyond. A promotion left out at
/// 5376 would cost 1.6e-3 of 2.4e-4.
#[must_use]
pub fn product_spread(arithmetic: Arithmetic, k: usize, width: usize) -> f64 {
    match arithmetic {
        Arithmetic::Reference => 0.0,
        Arithmetic::Single => U * ((k as f64).sqrt() + 4.0),
        Arithmetic::TensorCore => 2.4e-4 * (together(k, width).max(BLOCK) as f64 / BLOCK as f64).powf(0.7),
    }
}

/// [`product_spread`] where results leave as bf16: at most 2⁻⁸ of each, evenly spread.
#[must_use]
pub fn half_spread(arithmetic: Arithmetic, before: f64) -> f64 {
    if exact(arithmetic) { 0.0 } else { before.hypot(BF16 / 3.0_f64.sqrt()) }
}

/// Error of an element that was off by `before` when it was rounded to bf16.
#[must_use]
pub fn half(arithmetic: Arithmetic, y: f64, before: f64) -> f64 {
    if exact(arithmetic) { 0.0 } else { before + (y.abs() + before) * BF16 + TINY_BF16 }
}

/// Error of an attention's column: scores with their magnitudes, `Σ p · |v|`, the result.
///
/// A score is off by `e = (width + 4) · u · Σ |qk| / √width`, twice that where a tensor core cuts instead of rounding; a
/// weight by `e^(2e) − 1`, the exponential's own error and that of its argument; a tensor core takes weights as bf16, and
/// results leave it as bf16.
#[must_use]
pub fn attention(arithmetic: Arithmetic, width: usize, scores: &[(f64, f64)], sum: (f64, f64)) -> f64 {
    if exact(arithmetic) {
        return 0.0;
    }
    let cuts = if arithmetic == Arithmetic::TensorCore { 2.0 } else { 1.0 };
    let magnitude = scores.iter().fold(0.0_f64, |a, b| a.max(b.1));
    let largest = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(b.0));
    // Keys whose weight is below 2⁻⁵⁰ carry nothing worth a bound on their exponent.
    let spread = scores.iter().map(|s| largest - s.0).filter(|s| *s < 35.0).fold(0.0_f64, f64::max);
    let off = cuts * (width as f64 + 4.0) * U * magnitude + 4.0 * U * spread;
    let weight = (2.0 * off).exp_m1() + EXP + if arithmetic == Arithmetic::TensorCore { BF16 } else { 0.0 };
    let adding = cuts * 2.0 * (scores.len() as f64 + 8.0) * U;
    let leaving = if arithmetic == Arithmetic::TensorCore { BF16 * sum.0.abs() + TINY_BF16 } else { 2.0 * TINY };
    (2.0 * weight + adding) * sum.1 * (1.0 + BF16) + leaving
}

/// Error of a beam's new score, from what is added: beam, logit, largest logit, and the logarithm of a sum over `codes`.
#[must_use]
pub fn beam_step(arithmetic: Arithmetic, codes: usize, parts: [f64; 3]) -> f64 {
    if exact(arithmetic) {
        return 0.0;
    }
    let added = parts.iter().map(|part| part.abs()).sum::<f64>() + (codes as f64).ln();
    codes as f64 * U + 2.0 * EXP + 6.0 * U * added
}

/// Error of an exact product of the item search in f32.
#[must_use]
pub fn dot(arithmetic: Arithmetic, width: usize, magnitude: f64) -> f64 {
    if exact(arithmetic) { 0.0 } else { 2.0 * (width as f64 + 2.0) * U * magnitude + width as f64 * TINY }
}
