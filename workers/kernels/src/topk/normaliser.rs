//! Sums of exponentials over a row of logits, in one pass.
//!
//! In: a row and a number near its largest. Out: `Σ e^(x − reference)`, or as much of it as shows that it is more than
//! asked for. Any reference gives the same logarithm `reference + ln Σ` as long as nothing overflows, so a row need not
//! be read for its maximum first.

use crate::cpu::exp::exp;
use crate::cpu::reduce::{LANES, fold_sum};
use crate::cpu::{Level, kernel};

/// Columns between two looks at the sum.
const BLOCK: usize = 1024;

/// The largest value of a row; NaN when any value is, `−∞` of nothing.
#[must_use]
pub fn largest(row: &[f32]) -> f32 {
    largest_at(Level::detect(), row)
}

/// `Σ e^(x − reference)`, left off where it has come above `enough`: then some number above that. NaN when a value read or
/// the reference is NaN, or both are infinite alike; infinite when a value read lies more than 88 above the reference. A
/// value of `−∞` adds nothing, and below a reference of `∞` all finite values together are 0.
#[must_use]
pub fn sum_exp(row: &[f32], reference: f32, enough: f32) -> f32 {
    sum_exp_at(Level::detect(), row, reference, enough)
}

/// `ln Σ e^x` by way of the largest value; NaN when some value is NaN or the largest is infinite.
#[must_use]
pub fn log_sum_exp(row: &[f32]) -> f32 {
    let top = largest(row);
    top + sum_exp(row, top, f32::INFINITY).ln()
}

kernel! {
    fn largest_at<S>(row: &[f32]) -> f32 {
        let (mut lanes, mut numbers) = ([f32::NEG_INFINITY; LANES], [true; LANES]);
        let (body, tail) = row.as_chunks::<LANES>();
        for chunk in body {
            for i in 0..LANES {
                lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
                numbers[i] &= !chunk[i].is_nan();
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(tail) {
            *lane = if value > *lane { value } else { *lane };
        }
        let numbers = numbers.iter().all(|&number| number) && !tail.iter().any(|value| value.is_nan());
        if numbers { lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max) } else { f32::NAN }
    }
}

kernel! {
    fn sum_exp_at<S>(row: &[f32], reference: f32, enough: f32) -> f32 {
        let mut lanes = [0.0; LANES];
        let (body, tail) = row.as_chunks::<LANES>();
        for block in body.chunks(BLOCK / LANES) {
            for chunk in block {
                for i in 0..LANES {
                    lanes[i] += exp::<S>(chunk[i] - reference);
                }
            }
            if fold_sum(lanes) > enough {
                return fold_sum(lanes);
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(tail) {
            *lane += exp::<S>(value - reference);
        }
        fold_sum(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_their_bound_at_every_level() {
        for count in [1, 15, 16, 17, 256, 8192] {
            for spread in [0.0, 1.0, 30.0, 1e4] {
                let row: Vec<f32> = (0..count)
                    .map(|i| spread * ((crate::noise::hash(3, i) >> 40) as f32 / (1 << 23) as f32 - 1.0))
                    .collect();
                let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = row.iter().map(|&x| (f64::from(x) - f64::from(top)).exp()).sum();
                let exact = f64::from(top) + sum.ln();
                for level in Level::all() {
                    assert_eq!(largest_at(level, &row), top);
                    // Any reference near the top will do.
                    for reference in [top, top - 20.0, top + 20.0] {
                        let found = reference + sum_exp_at(level, &row, reference, f32::INFINITY).ln();
                        let bound = 1e-5 + 2e-7 * exact.abs();
                        assert!(
                            (f64::from(found) - exact).abs() <= bound,
                            "{level:?} {count} {spread}: {found} {exact}"
                        );
                    }
                    let half = (sum / 2.0) as f32;
                    assert!(sum_exp_at(level, &row, top, half) > half, "{level:?} {count} {spread}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_shows() {
        for level in Level::all() {
            assert_eq!(largest_at(level, &[]), f32::NEG_INFINITY);
            for at in [0, 16, 20] {
                let mut row = [1.0; 21];
                row[at] = f32::NAN;
                assert!(largest_at(level, &row).is_nan());
                row[at] = f32::INFINITY;
                assert_eq!(largest_at(level, &row), f32::INFINITY);
            }
        }
        assert!(sum_exp(&[0.0, 100.0], 0.0, 1e9).is_infinite());
        assert!(sum_exp(&[0.0; 3], f32::NAN, 1e9).is_nan());
        assert!(sum_exp(&[0.0, f32::INFINITY], f32::INFINITY, 1e9).is_nan());
        assert_eq!(sum_exp(&[0.0, f32::NEG_INFINITY], 0.0, 1e9), 1.0);
        assert_eq!(sum_exp(&[0.0; 20], f32::INFINITY, 1e9), 0.0);
        assert!(log_sum_exp(&[f32::NEG_INFINITY; 4]).is_nan());
        assert!(log_sum_exp(&[f32::INFINITY, 0.0]).is_nan());
        assert!(log_sum_exp(&[0.0, f32::NAN]).is_nan());
        assert_eq!(log_sum_exp(&[7.0]), 7.0);
    }
}
