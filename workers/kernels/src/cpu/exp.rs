//! The exponential and what is made of it, branch-free so that loops over them become vector code.
//!
//! In: one number. Out: one number, relative error at most 2e-7. Results that would be denormal are zero: denormals
//! slow a whole step down. NaN stays NaN.

use super::Isa;
use super::reduce::{LANES, fold_sum};

/// Adding this to a small float rounds it to an integer, which then stands in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;
/// Below this the result is zero.
pub(crate) const LOWEST: f32 = -86.6;
/// Above this the result is infinite.
const HIGHEST: f32 = 88.722_83;
/// ln 2 in two parts: the first has few bits, so its product with an exponent is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`: `2^n · e^r` with `|r| ≤ ln 2 / 2` and a polynomial of degree 7 in `r`.
#[inline(always)]
pub(crate) fn exp<S: Isa>(x: f32) -> f32 {
    let shifted = S::fma(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = S::fma(n, -LN_2_LOW, S::fma(n, -LN_2_HIGH, x));
    let mut p = 1.987_569_1e-4;
    p = S::fma(p, r, 1.398_2e-3);
    p = S::fma(p, r, 8.333_452e-3);
    p = S::fma(p, r, 4.166_579_6e-2);
    p = S::fma(p, r, 1.666_666_5e-1);
    p = S::fma(p, r, 0.5);
    p = S::fma(p, r * r, r) + 1.0;
    // 2^(n − 1), doubled afterwards: 2^128 has no float.
    let half = f32::from_bits((shifted.to_bits() << 23).wrapping_add(126 << 23));
    let value = p * half * 2.0;
    let value = if x > HIGHEST { f32::INFINITY } else { value };
    if x < LOWEST { 0.0 } else { value }
}

/// `1 / (1 + e^−x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Isa>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<S>(-x))
}

/// `row` becomes `e^(row − max)`; returns its sum.
#[inline(always)]
pub(crate) fn exp_below<S: Isa>(row: &mut [f32], max: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (body, tail) = row.as_chunks_mut::<LANES>();
    for chunk in body {
        for i in 0..LANES {
            chunk[i] = exp::<S>(chunk[i] - max);
            lanes[i] += chunk[i];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *value = exp::<S>(*value - max);
        *lane += *value;
    }
    fold_sum(lanes)
}

#[cfg(test)]
mod tests {
    use super::super::{Level, kernel};
    use super::*;

    kernel! {
        fn map<S>(xs: &mut [f32]) {
            for x in xs {
                *x = exp::<S>(*x);
            }
        }
    }

    #[test]
    fn error_is_bounded_at_every_level() {
        for level in Level::all() {
            let xs: Vec<f32> = (0..2_000_000).map(|i| -86.59 + 175.3 * (i as f32 / 2e6)).collect();
            let mut ys = xs.clone();
            map(level, &mut ys);
            for (&x, &y) in xs.iter().zip(&ys) {
                let exact = f64::from(x).exp();
                assert!(((f64::from(y) - exact) / exact).abs() <= 2e-7, "{level:?} {x} {y} {exact}");
            }
        }
    }

    #[test]
    fn ends_are_flushed_and_nan_stays() {
        for level in Level::all() {
            let mut xs =
                [f32::NEG_INFINITY, -1e30, -200.0, -87.5, 0.0, 89.0, 1e30, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE];
            map(level, &mut xs);
            assert_eq!(&xs[..5], [0.0, 0.0, 0.0, 0.0, 1.0]);
            assert!(xs[5..8].iter().all(|x| *x == f32::INFINITY));
            assert!(xs[8].is_nan());
            assert_eq!(xs[9], 1.0);
        }
    }
}
