//! A gated mixture: each row a weighted sum of its experts' rows.
//!
//! In: gates `[n, e]` and experts `[n, e·d]`. Out: `[n, d]`.

use crate::buffer::Buffer;
use crate::cpu::kernel;
use crate::cpu::reduce::dot_of;
use crate::graph::{Backward, Forward, Value, Var};

/// `out[i] = Σ_e gates[i, e] · experts[i, e·d..(e+1)·d]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub gates: Var,
    pub experts: Var,
}

kernel! {
    fn mix<S>(out: &mut [f32], gates: &[f32], experts: &[f32], width: usize, count: usize) {
        for ((out, gates), experts) in
            out.chunks_exact_mut(width).zip(gates.chunks_exact(count)).zip(experts.chunks_exact(count * width))
        {
            out.fill(0.0);
            for (&gate, expert) in gates.iter().zip(experts.chunks_exact(width)) {
                for (out, &x) in out.iter_mut().zip(expert) {
                    *out = S::fma(gate, x, *out);
                }
            }
        }
    }
}

kernel! {
    fn gates_back<S>(d_gates: &mut [f32], dy: &[f32], experts: &[f32], width: usize, count: usize) {
        for ((d_gates, dy), experts) in
            d_gates.chunks_exact_mut(count).zip(dy.chunks_exact(width)).zip(experts.chunks_exact(count * width))
        {
            for (d, expert) in d_gates.iter_mut().zip(experts.chunks_exact(width)) {
                *d = dot_of::<S>(dy, expert);
            }
        }
    }
}

kernel! {
    fn experts_back<S>(d_experts: &mut [f32], dy: &[f32], gates: &[f32], width: usize, count: usize) {
        for ((d_experts, dy), gates) in
            d_experts.chunks_exact_mut(count * width).zip(dy.chunks_exact(width)).zip(gates.chunks_exact(count))
        {
            for (d, &gate) in d_experts.chunks_exact_mut(width).zip(gates) {
                for (d, &dy) in d.iter_mut().zip(dy) {
                    *d = gate * dy;
                }
            }
        }
    }
}

impl Mix {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let (gates, experts) = (f.value(self.gates), f.value(self.experts));
        assert_eq!(gates.rows, experts.rows, "rows of gates and experts");
        assert!(gates.cols > 0 && experts.cols > 0 && experts.cols % gates.cols == 0, "columns of gates and experts");
        let width = experts.cols / gates.cols;
        let mut out = f.output(gates.rows, width, gates.needs_grad || experts.needs_grad);
        mix(f.level, &mut out.data, &gates.data, &experts.data, width, gates.cols);
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let (gates, experts) = (b.value(self.gates), b.value(self.experts));
        if gates.needs_grad {
            let mut d = b.pool.take(gates.data.len());
            gates_back(b.level, &mut d, &dy, &experts.data, y.cols, gates.cols);
            b.give(self.gates, d);
        }
        if experts.needs_grad {
            let mut d = b.pool.take(experts.data.len());
            experts_back(b.level, &mut d, &dy, &gates.data, y.cols, gates.cols);
            b.give(self.experts, d);
        }
        b.pool.give(dy);
    }
}
