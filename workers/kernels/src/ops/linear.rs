//! The linear map `x · Wᵀ + b`.
//!
//! In: rows. Out: rows of another width. Weights are `[out, in]`, so a row of `W` is one output's weights.

use super::linear_bf16;
use crate::ParamId;
use crate::buffer::Buffer;
use crate::cpu::matmul::{Output, View, gemm};
use crate::cpu::reduce::add_columns;
use crate::graph::{Backward, Forward, Value, Var};

/// `x · Wᵀ + b`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub x: Var,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
}

impl Linear {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let (x, w) = (f.value(self.x), f.params.get(self.weight));
        assert_eq!(x.cols, w.cols, "columns of the input of {}", w.name);
        let mut out = f.output(x.rows, w.rows, true);
        if let Some(quantised) = f.params.quantised(self.weight).filter(|_| !f.training) {
            quantised.product(f.level, f.pool, &mut out.data, &x.data, &w.data);
            let bias = self.bias.map_or(&[][..], |bias| f.param(bias));
            for row in out.data.chunks_exact_mut(w.rows.max(1)) {
                row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
            return out;
        }
        let how = match self.bias {
            Some(bias) => {
                let bias = f.param(bias);
                assert_eq!(bias.len(), w.rows, "bias of {}", w.name);
                for row in out.data.chunks_exact_mut(w.rows.max(1)) {
                    row.copy_from_slice(bias);
                }
                Output::Add
            }
            None => Output::Write,
        };
        if !linear_bf16::forward(f, x, self.weight, &mut out.data, how) {
            gemm(&mut out.data, how, 1.0, View::new(&x.data, x.rows, x.cols), View::new(&w.data, w.rows, w.cols).t());
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let (x, w) = (b.value(self.x), b.params.get(self.weight));
        let gradient = View::new(&dy, y.rows, y.cols);
        if !linear_bf16::weight_gradient(b, x, self.weight, &dy) {
            gemm(b.grads.get_mut(self.weight), Output::Add, 1.0, gradient.t(), View::new(&x.data, x.rows, x.cols));
        }
        if let Some(bias) = self.bias {
            add_columns(b.level, b.grads.get_mut(bias), &dy);
        }
        if x.needs_grad {
            let (mut dx, how) = match b.slots[self.x.0].take() {
                Some(sum) => (sum, Output::Add),
                None => (b.pool.take(x.data.len()), Output::Write),
            };
            if !linear_bf16::input_gradient(b, (&dy, y.rows), self.weight, &mut dx, how) {
                gemm(&mut dx, how, 1.0, gradient, View::new(&w.data, w.rows, w.cols));
            }
            b.slots[self.x.0] = Some(dx);
        }
        b.pool.give(dy);
    }
}
