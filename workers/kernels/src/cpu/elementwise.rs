//! Element-wise loops over equal lengths.
//!
//! In: slices. Out: written or added into the first one. Lengths are the caller's care; a shorter slice ends the loop.

use super::exp::sigmoid;
use super::{Isa, kernel};

kernel! {
    /// `y += x`.
    pub(crate) fn add_to<S>(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

kernel! {
    /// `y += c · x`.
    pub(crate) fn add_scaled<S>(y: &mut [f32], c: f32, x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = S::fma(c, x, *y);
        }
    }
}

kernel! {
    /// `y = c · x`.
    pub(crate) fn scale<S>(y: &mut [f32], c: f32, x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = c * x;
        }
    }
}

kernel! {
    /// `y *= c`.
    pub(crate) fn scale_in_place<S>(y: &mut [f32], c: f32) {
        for y in y {
            *y *= c;
        }
    }
}

kernel! {
    /// `y = a + b`.
    pub(crate) fn add<S>(y: &mut [f32], a: &[f32], b: &[f32]) {
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            *y = a + b;
        }
    }
}

kernel! {
    /// `y = a ∘ b`.
    pub(crate) fn mul<S>(y: &mut [f32], a: &[f32], b: &[f32]) {
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            *y = a * b;
        }
    }
}

kernel! {
    /// `y ∘= x`.
    pub(crate) fn mul_in_place<S>(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y *= x;
        }
    }
}

/// `max(0, x)`; not by `max`: NaN has to go through.
#[inline(always)]
pub(crate) fn relu_of(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

kernel! {
    /// `y = max(0, x)`.
    pub(crate) fn relu<S>(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = relu_of(x);
        }
    }
}

kernel! {
    /// `dy` becomes `dy · relu′(x)`.
    pub(crate) fn relu_back<S>(dy: &mut [f32], x: &[f32]) {
        for (dy, &x) in dy.iter_mut().zip(x) {
            *dy = if x > 0.0 { *dy } else { 0.0 };
        }
    }
}

/// `√(2/π)` and the cubic weight of the tanh form.
const GELU_LINEAR: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

/// `x · Φ(x)` in its tanh form; `½(1 + tanh u)` is `σ(2u)`.
#[inline(always)]
pub(crate) fn gelu_of<S: Isa>(x: f32) -> f32 {
    let u = GELU_LINEAR * S::fma(GELU_CUBIC * x, x * x, x);
    x * sigmoid::<S>(2.0 * u)
}

kernel! {
    /// `y = x · Φ(x)` in its tanh form.
    pub(crate) fn gelu<S>(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = gelu_of::<S>(x);
        }
    }
}

kernel! {
    /// `dy` becomes `dy · gelu′(x)`.
    pub(crate) fn gelu_back<S>(dy: &mut [f32], x: &[f32]) {
        for (dy, &x) in dy.iter_mut().zip(x) {
            let u = GELU_LINEAR * S::fma(GELU_CUBIC * x, x * x, x);
            let slope = GELU_LINEAR * S::fma(3.0 * GELU_CUBIC * x, x, 1.0);
            let s = sigmoid::<S>(2.0 * u);
            *dy *= S::fma(2.0 * x * s * (1.0 - s), slope, s);
        }
    }
}

kernel! {
    /// `y = x · σ(x)`.
    pub(crate) fn silu<S>(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * sigmoid::<S>(x);
        }
    }
}

kernel! {
    /// `dy` becomes `dy · silu′(x)`.
    pub(crate) fn silu_back<S>(dy: &mut [f32], x: &[f32]) {
        for (dy, &x) in dy.iter_mut().zip(x) {
            let s = sigmoid::<S>(x);
            *dy *= s * S::fma(x, 1.0 - s, 1.0);
        }
    }
}

kernel! {
    /// `y = σ(x)`.
    pub(crate) fn logistic<S>(y: &mut [f32], x: &[f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = sigmoid::<S>(x);
        }
    }
}

kernel! {
    /// `dy` becomes `dy · σ(x) · (1 − σ(x))`.
    pub(crate) fn logistic_back<S>(dy: &mut [f32], x: &[f32]) {
        for (dy, &x) in dy.iter_mut().zip(x) {
            let s = sigmoid::<S>(x);
            *dy *= s * (1.0 - s);
        }
    }
}

kernel! {
    /// `y = silu(left) ∘ right`, halves of rows `2 · width`.
    pub(crate) fn swiglu<S>(y: &mut [f32], x: &[f32], width: usize) {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(2 * width)) {
            let (left, right) = x.split_at(width);
            for (y, (&l, &r)) in y.iter_mut().zip(left.iter().zip(right)) {
                *y = l * sigmoid::<S>(l) * r;
            }
        }
    }
}

kernel! {
    /// `dx` of [`swiglu`].
    pub(crate) fn swiglu_back<S>(dx: &mut [f32], dy: &[f32], x: &[f32], width: usize) {
        for ((dx, x), dy) in dx.chunks_exact_mut(2 * width).zip(x.chunks_exact(2 * width)).zip(dy.chunks_exact(width)) {
            let (left, right) = x.split_at(width);
            let (d_left, d_right) = dx.split_at_mut(width);
            let halves = left.iter().zip(right).zip(d_left.iter_mut().zip(d_right));
            for (((&l, &r), (d_left, d_right)), &d) in halves.zip(dy) {
                let s = sigmoid::<S>(l);
                *d_left = d * r * s * S::fma(l, 1.0 - s, 1.0);
                *d_right = d * l * s;
            }
        }
    }
}
