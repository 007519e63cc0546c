//! Dropout whose mask is a hash of noise, operation and element: nothing to keep, the same for any thread count.
//!
//! In: a value and a chance. Out: its survivors, scaled up. Backward makes the same mask again.

use crate::buffer::Buffer;
use crate::cpu::kernel;
use crate::graph::{Backward, Forward, Value, Var};
use crate::noise::mask_bits;

/// Each element kept with chance `1 − p`, scaled by `1 / (1 − p)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    pub x: Var,
    pub p: f32,
    pub key: u64,
}

kernel! {
    fn mask<S>(y: &mut [f32], x: &[f32], drop_below: u32, scale: f32, key: u64) {
        for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            let factor = if mask_bits(key, i as u32) < drop_below { 0.0 } else { scale };
            *y = x * factor;
        }
    }
}

kernel! {
    fn mask_in_place<S>(y: &mut [f32], drop_below: u32, scale: f32, key: u64) {
        for (i, y) in y.iter_mut().enumerate() {
            let factor = if mask_bits(key, i as u32) < drop_below { 0.0 } else { scale };
            *y *= factor;
        }
    }
}

impl Dropout {
    fn threshold(self) -> (u32, f32) {
        ((f64::from(self.p) * 4_294_967_296.0) as u32, 1.0 / (1.0 - self.p))
    }

    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let x = f.value(self.x);
        let mut out = f.output(x.rows, x.cols, x.needs_grad);
        let (drop_below, scale) = self.threshold();
        mask(f.level, &mut out.data, &x.data, drop_below, scale, self.key);
        out
    }

    pub fn backward(self, mut dy: Buffer, b: &mut Backward<'_>) {
        let (drop_below, scale) = self.threshold();
        mask_in_place(b.level, &mut dy, drop_below, scale, self.key);
        b.give(self.x, dy);
    }
}
