//! Binary cross-entropy of logits.
//!
//! In: logits `[n, 1]`, labels in `0..=1`, weights. Out: the weighted sum. Kept: the gradient of each logit.

use crate::buffer::Buffer;
use crate::cpu::elementwise::scale;
use crate::graph::{Backward, Forward, Value, Var};

/// `Σ wᵢ · BCE(σ(zᵢ), yᵢ)`. Saved: 0 `wᵢ · (σ(zᵢ) − yᵢ)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bce {
    pub logits: Var,
}

impl Bce {
    pub fn forward(self, f: &mut Forward<'_>, labels: &[f32], weights: Option<&[f32]>) -> Value {
        let z = f.value(self.logits);
        assert_eq!(z.data.len(), labels.len(), "one label a logit");
        let weight_of = crate::ops::softmax_loss::weights_of(weights, labels.len());
        let mut gradient = f.pool.take(labels.len());
        let mut loss = 0.0_f64;
        for (i, (&z, &label)) in z.data.iter().zip(labels).enumerate() {
            let (z, label, weight) = (f64::from(z), f64::from(label), f64::from(weight_of(i)));
            // softplus(z) − y·z, without overflow on either side.
            let small = (-z.abs()).exp();
            loss += weight * (z.max(0.0) + small.ln_1p() - label * z);
            let sigmoid = if z >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
            gradient[i] = (weight * (sigmoid - label)) as f32;
        }
        let mut out = f.scalar(loss as f32, z.needs_grad);
        if f.training {
            out.saved[0] = gradient
        } else {
            f.pool.give(gradient)
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let mut dz = b.pool.take(y.saved[0].len());
        scale(b.level, &mut dz, dy[0], &y.saved[0]);
        b.pool.give(dy);
        b.give(self.logits, dz);
    }
}
