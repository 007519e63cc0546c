//! A Hopper tensor core's FP8 arithmetic in bits. **For tests only**: it is a thousand times slower than what it models.
//!
//! In: codes. Out: the f32 that `wgmma … .f32.e4m3` is expected to give, after the model of MMA-Sim (arXiv 2511.10909).
//!
//! ```text
//! 32 exact products ┐  aligned to the largest exponent,   ┌─► sum ─► cut to e8m13 ─► accumulator
//!      accumulator  ┘  each cut to 13 fraction bits       │
//! ```
//!
//! Cutting is towards zero. A product's exponent is the sum of its operands' (its significand lies in [1, 4)),
//! subnormal operands have the smallest exponent. Zero products take no part in the largest exponent: an assumption no
//! source states, to be checked on a device like all of this. NaN and infinity leave the model: such a product is added
//! up in plain f32.

use super::format::Format;
use super::quantised::{BLOCK, Quantised};
use crate::cpu::{Level, kernel};

/// Products of one step.
pub const STEP: usize = 32;
/// Fraction bits that survive alignment, and that the accumulator has.
const FRACTION: i32 = 13;
/// The exponent of zero: below every other.
const NOTHING: i32 = -1000;

/// When the tensor core's accumulator is added to one of full precision and starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// Only at the end.
    Never,
    /// After every 128 columns; scales by block are always promoted so.
    Block,
}

/// Columns that our kernel lets the tensor core add up alone, at most: `UNPROMOTED` of `cuda/gemm.cuh`. Beyond, the cuts
/// come to more than a thirtieth of what E4M3 itself costs.
pub const UNPROMOTED: usize = 4096;

impl Promotion {
    /// What our kernel does over `k` columns under one pair of scales.
    #[must_use]
    pub fn over(k: usize) -> Self {
        if k > UNPROMOTED { Self::Block } else { Self::Never }
    }
}

/// Rows of codes taken apart: exponents and signed significands, each row padded with zeros to whole steps.
struct Parts {
    exponents: Vec<i32>,
    significands: Vec<i32>,
    /// Padded columns.
    cols: usize,
    /// Rows with a NaN or an infinity.
    special: Vec<bool>,
    mantissa: i32,
}

impl Parts {
    fn new(format: Format, codes: &[u8], cols: usize) -> Self {
        let (mantissa, bias) = match format {
            Format::E4m3 => (3, 7),
            Format::E5m2 => (2, 15),
        };
        let padded = cols.next_multiple_of(STEP);
        let rows = codes.len().checked_div(cols).unwrap_or(0);
        let mut parts = Self {
            exponents: vec![NOTHING; rows * padded],
            significands: vec![0; rows * padded],
            cols: padded,
            special: vec![false; rows],
            mantissa,
        };
        for (row, codes) in codes.chunks_exact(cols.max(1)).enumerate() {
            for (col, &code) in codes.iter().enumerate() {
                let magnitude = i32::from(code & 0x7F);
                let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
                let significand = if exponent == 0 { fraction } else { fraction | 1 << mantissa };
                let at = row * padded + col;
                parts.exponents[at] = exponent.max(1) - bias;
                parts.significands[at] = if code & 0x80 == 0 { significand } else { -significand };
                parts.special[row] |= !format.decode(code).is_finite();
            }
        }
        parts
    }

    fn row(&self, row: usize) -> (&[i32], &[i32]) {
        let range = row * self.cols..(row + 1) * self.cols;
        (&self.exponents[range.clone()], &self.significands[range])
    }
}

/// One step: an accumulator takes 32 products in.
#[inline(always)]
fn step_of(a: (&[i32; STEP], &[i32; STEP]), b: (&[i32; STEP], &[i32; STEP]), widen: i32, sum: f32) -> f32 {
    let (mut products, mut exponents) = ([0; STEP], [0; STEP]);
    let bits = sum.to_bits() as i32;
    let stored = (bits >> 23) & 0xFF;
    let own = if stored == 0 { NOTHING } else { stored - 127 };
    let mut largest = own;
    for i in 0..STEP {
        products[i] = a.1[i] * b.1[i];
        exponents[i] = if products[i] == 0 { NOTHING } else { a.0[i] + b.0[i] };
        largest = largest.max(exponents[i]);
    }
    if largest == NOTHING {
        return 0.0;
    }
    let mut total = 0;
    for i in 0..STEP {
        let cut = (products[i].abs() << widen) >> (largest - exponents[i]).min(31);
        total += if products[i] < 0 { -cut } else { cut };
    }
    if own != NOTHING {
        let significand = (1 << FRACTION) | ((bits & 0x7F_FFFF) >> (23 - FRACTION));
        let cut = significand >> (largest - own).min(31);
        total += if bits < 0 { -cut } else { cut };
    }
    let excess = (31 - FRACTION - total.abs().leading_zeros() as i32).max(0);
    let magnitude = total.abs() >> excess << excess;
    let signed = if total < 0 { -magnitude } else { magnitude };
    (f64::from(signed) * f64::from_bits(((largest - FRACTION + 1023) as u64) << 52)) as f32
}

kernel! {
    /// Some steps, one after another.
    fn steps<S>(a: (&[i32], &[i32]), b: (&[i32], &[i32]), widen: i32, sum: f32) -> f32 {
        let ((ae, _), (am, _)) = (a.0.as_chunks::<STEP>(), a.1.as_chunks::<STEP>());
        let ((be, _), (bm, _)) = (b.0.as_chunks::<STEP>(), b.1.as_chunks::<STEP>());
        let mut sum = sum;
        for i in 0..ae.len() {
            sum = step_of((&ae[i], &am[i]), (&be[i], &bm[i]), widen, sum);
        }
        sum
    }
}

/// `Σ a · b` on top of `sum`, step by step, without scales and without promotion. `sum` is zero or normal.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn dot(level: Level, a: (Format, &[u8]), b: (Format, &[u8]), sum: f32) -> f32 {
    assert_eq!(a.1.len(), b.1.len(), "codes of an emulated product");
    if a.1.is_empty() {
        return sum;
    }
    let (x, y) = (Parts::new(a.0, a.1, a.1.len()), Parts::new(b.0, b.1, b.1.len()));
    if x.special[0] || y.special[0] {
        return sum + plain(a, b);
    }
    steps(level, x.row(0), y.row(0), FRACTION - x.mantissa - y.mantissa, sum)
}

fn plain(a: (Format, &[u8]), b: (Format, &[u8])) -> f32 {
    a.1.iter().zip(b.1).map(|(&x, &y)| a.0.decode(x) * b.0.decode(y)).sum()
}

/// `out = a · bᵀ` as a kernel over the tensor core computes it, `m × n` row-major.
///
/// Scales within the inner size: every 128 columns `out = fma(sums, scaleₐ · scale_b, out)`. Otherwise, promoted or not,
/// `(sums · scaleₐ) · scale_b` at the end. The same bits at every level.
///
/// # Panics
/// If the inner sizes differ or `out` is not `m × n` long.
pub fn gemm(level: Level, out: &mut [f32], a: &Quantised, b: &Quantised, promotion: Promotion) {
    let (m, n, k) = (a.rows(), b.rows(), a.cols());
    assert_eq!(b.cols(), k, "inner sizes of an emulated product");
    assert_eq!(out.len(), m * n, "output of an emulated product {m} x {n}");
    if m * n == 0 || k == 0 {
        out.fill(0.0);
        return;
    }
    let (x, y) = (Parts::new(a.format(), a.codes(), k), Parts::new(b.format(), b.codes(), k));
    let widen = FRACTION - x.mantissa - y.mantissa;
    let by_block = a.width().min(b.width()) < k;
    let stretch = if by_block || promotion == Promotion::Block { BLOCK } else { x.cols };
    for (i, out) in out.chunks_exact_mut(n).enumerate() {
        for (j, out) in out.iter_mut().enumerate() {
            let special = x.special[i] || y.special[j];
            let mut promoted = 0.0_f32;
            for left in (0..k).step_by(stretch) {
                let part = left..(left + stretch).min(x.cols);
                let sums = if special {
                    let (from, to) = (left, (left + stretch).min(k));
                    plain(
                        (a.format(), &a.codes()[i * k + from..i * k + to]),
                        (b.format(), &b.codes()[j * k + from..j * k + to]),
                    )
                } else {
                    let ((ae, am), (be, bm)) = (x.row(i), y.row(j));
                    let (ae, am) = (&ae[part.clone()], &am[part.clone()]);
                    steps(level, (ae, am), (&be[part.clone()], &bm[part]), widen, 0.0)
                };
                promoted = if by_block {
                    sums.mul_add(a.scale(i, left / a.width()) * b.scale(j, left / b.width()), promoted)
                } else {
                    promoted + sums
                };
            }
            *out = if by_block { promoted } else { promoted * a.scale(i, 0) * b.scale(j, 0) };
        }
    }
}
