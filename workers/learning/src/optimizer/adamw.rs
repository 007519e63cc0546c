//! AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2): Adam with bias correction and decoupled decay.
//!
//! In: a piece of a tensor with its gradient and state. Out: both, one step on:
//! `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `w ← (1−ηλ)w − η · m̂ / (√v̂ + ε)`. Element by element, so pieces may be
//! done in any order.

use recmesh_contract::config;

use super::StepScale;

/// Stands in for a smaller `eps`: with 0, a weight that had no gradient yet, such as an unseen item's, would become 0 / 0.
/// Roots of mean squares that f32 can hold are far above it.
const SMALLEST_EPS: f32 = 1e-15;

/// The numbers of one step, worked out once in f64.
pub(super) struct Rates {
    gradient: f32,
    beta1: f32,
    beta2: f32,
    /// `1 − β₁` and `1 − β₂`, rounded once: `1.0f32 − 0.999f32` would be off by 5e-5 of itself.
    rest1: f32,
    rest2: f32,
    /// `η / (1 − β₁ᵗ)`.
    rate: f32,
    /// `1 / √(1 − β₂ᵗ)`.
    root: f32,
    eps: f32,
    /// `1 − ηλ`.
    keep: f32,
}

impl Rates {
    /// For step `step`, from 1.
    pub fn new(config: &config::AdamW, step: u64, scale: StepScale) -> Self {
        let rate = config.lr * scale.rate;
        let power = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            gradient: scale.gradient as f32,
            beta1: config.beta1 as f32,
            beta2: config.beta2 as f32,
            rest1: (1.0 - config.beta1) as f32,
            rest2: (1.0 - config.beta2) as f32,
            rate: (rate / power(config.beta1)) as f32,
            root: (1.0 / power(config.beta2).sqrt()) as f32,
            eps: (config.eps as f32).max(SMALLEST_EPS),
            keep: (1.0 - rate * config.weight_decay) as f32,
        }
    }
}

/// A piece of a tensor; all slices have one length.
pub(super) struct Piece<'a> {
    pub weights: &'a mut [f32],
    pub grad: &'a [f32],
    pub mean: &'a mut [f32],
    pub square: &'a mut [f32],
    pub decayed: bool,
}

impl Piece<'_> {
    /// One step. The loop has no branch and no bound check, so that it becomes vector code.
    pub fn run(self, rates: &Rates) {
        let keep = if self.decayed { rates.keep } else { 1.0 };
        let state = self.mean.iter_mut().zip(self.square.iter_mut());
        for ((weight, &grad), (mean, square)) in self.weights.iter_mut().zip(self.grad).zip(state) {
            let grad = grad * rates.gradient;
            *mean = rates.beta1 * *mean + rates.rest1 * grad;
            *square = rates.beta2 * *square + rates.rest2 * (grad * grad);
            *weight = keep * *weight - rates.rate * *mean / (square.sqrt() * rates.root + rates.eps);
        }
    }
}
