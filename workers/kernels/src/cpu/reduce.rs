//! Sums, products and maxima over slices: 16 lanes, folded by a fixed tree.
//!
//! In: slices. Out: a number that depends on the slice and the rounding of the level only.

use super::{Isa, kernel};

/// Lanes of every reduction, whatever the width of the machine.
pub(crate) const LANES: usize = 16;

#[inline(always)]
pub(crate) fn fold_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn fold_max(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = larger(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// `Σ xᵢ`.
#[inline(always)]
pub(crate) fn sum_of(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for chunk in body {
        for i in 0..LANES {
            lanes[i] += chunk[i];
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(tail) {
        *lane += value;
    }
    fold_sum(lanes)
}

/// `Σ aᵢ · bᵢ` over equal lengths.
#[inline(always)]
pub(crate) fn dot_of<S: Isa>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (left, left_tail) = a.as_chunks::<LANES>();
    let (right, right_tail) = b.as_chunks::<LANES>();
    for (x, y) in left.iter().zip(right) {
        for i in 0..LANES {
            lanes[i] = S::fma(x[i], y[i], lanes[i]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(left_tail.iter().zip(right_tail)) {
        *lane = S::fma(x, y, *lane);
    }
    fold_sum(lanes)
}

/// The largest value; `−∞` of nothing. NaN may be passed over.
#[inline(always)]
pub(crate) fn max_of(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for chunk in body {
        for i in 0..LANES {
            lanes[i] = larger(chunk[i], lanes[i]);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(tail) {
        *lane = larger(value, *lane);
    }
    fold_max(lanes)
}

kernel! {
    /// `Σ aᵢ · bᵢ`.
    pub(crate) fn dot<S>(a: &[f32], b: &[f32]) -> f32 {
        dot_of::<S>(a, b)
    }
}

kernel! {
    /// `acc[c] += Σ_rows x[r, c]`.
    pub(crate) fn add_columns<S>(acc: &mut [f32], x: &[f32]) {
        for row in x.chunks_exact(acc.len().max(1)) {
            for (a, &v) in acc.iter_mut().zip(row) {
                *a += v;
            }
        }
    }
}
