//! Softmax over columns.
//!
//! In: rows of scores. Out: rows that sum to one. Backward needs only the output.

use crate::buffer::Buffer;
use crate::cpu::exp::exp;
use crate::cpu::kernel;
use crate::cpu::reduce::{dot_of, max_of, sum_of};
use crate::graph::{Backward, Forward, Value, Var};

/// Softmax over columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Softmax {
    pub x: Var,
}

kernel! {
    fn rows<S>(y: &mut [f32], x: &[f32], cols: usize) {
        for (y, x) in y.chunks_exact_mut(cols).zip(x.chunks_exact(cols)) {
            let max = max_of(x);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = exp::<S>(x - max);
            }
            let inverse = 1.0 / sum_of(y);
            for y in y {
                *y *= inverse;
            }
        }
    }
}

kernel! {
    /// `dy` becomes `y ∘ (dy − Σ y·dy)`.
    fn rows_back<S>(dy: &mut [f32], y: &[f32], cols: usize) {
        for (dy, y) in dy.chunks_exact_mut(cols).zip(y.chunks_exact(cols)) {
            let dot = dot_of::<S>(dy, y);
            for (dy, &y) in dy.iter_mut().zip(y) {
                *dy = y * (*dy - dot);
            }
        }
    }
}

impl Softmax {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let x = f.value(self.x);
        let mut out = f.output(x.rows, x.cols, x.needs_grad);
        rows(f.level, &mut out.data, &x.data, x.cols.max(1));
        out
    }

    pub fn backward(self, y: &Value, mut dy: Buffer, b: &mut Backward<'_>) {
        rows_back(b.level, &mut dy, &y.data, y.cols.max(1));
        b.give(self.x, dy);
    }
}
