//! What operations are given: the values so far on the way forward, the gradients so far on the way back.
//!
//! In: a tape's state, split into parts that may be borrowed side by side. Out: new values and gradients. Never knows
//! which operations there are.

use crate::buffer::{Buffer, Pool};
use crate::cpu::{Level, elementwise};
use crate::{Bf16Weights, Grads, Packed, ParamId, Params};

/// A value on a tape: `rows × cols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(pub(crate) usize);

/// A computed value and what its operation keeps for the way back (each operation says what lies in which slot).
#[derive(Debug)]
pub(crate) struct Value {
    pub rows: usize,
    pub cols: usize,
    pub data: Buffer,
    pub saved: [Buffer; 3],
    /// Whether a gradient has to reach it.
    pub needs_grad: bool,
}

/// The way forward.
pub(crate) struct Forward<'w> {
    pub values: &'w [Value],
    pub pool: &'w mut Pool,
    pub params: &'w Params,
    /// Weights that were packed for serving.
    pub packed: Option<&'w Packed>,
    pub level: Level,
    /// Whether anything has to be kept.
    pub training: bool,
    /// Weights in bf16, on a tape that multiplies so.
    pub bf16: Option<&'w Bf16Weights>,
}

impl<'w> Forward<'w> {
    pub fn value(&self, x: Var) -> &'w Value {
        &self.values[x.0]
    }

    /// A value of these sizes with stale contents.
    pub fn output(&mut self, rows: usize, cols: usize, needs_grad: bool) -> Value {
        let data = self.pool.take(rows * cols);
        Value { rows, cols, data, saved: Default::default(), needs_grad: self.training && needs_grad }
    }

    /// A 1×1 value.
    pub fn scalar(&mut self, value: f32, needs_grad: bool) -> Value {
        let mut out = self.output(1, 1, needs_grad);
        out.data[0] = value;
        out
    }

    /// The values of a parameter.
    pub fn param(&self, id: ParamId) -> &'w [f32] {
        &self.params.get(id).data
    }
}

/// The way back.
pub(crate) struct Backward<'w> {
    pub values: &'w [Value],
    pub slots: &'w mut [Option<Buffer>],
    pub pool: &'w mut Pool,
    pub params: &'w Params,
    pub grads: &'w mut Grads,
    pub level: Level,
    pub bf16: Option<&'w Bf16Weights>,
}

impl<'w> Backward<'w> {
    pub fn value(&self, x: Var) -> &'w Value {
        &self.values[x.0]
    }

    pub fn needs(&self, x: Var) -> bool {
        self.values[x.0].needs_grad
    }

    pub fn param(&self, id: ParamId) -> &'w [f32] {
        &self.params.get(id).data
    }

    /// Adds a whole gradient to that of `x` and takes the buffer.
    pub fn give(&mut self, x: Var, gradient: Buffer) {
        if !self.needs(x) {
            self.pool.give(gradient);
            return;
        }
        match &mut self.slots[x.0] {
            Some(sum) => {
                elementwise::add_to(self.level, sum, &gradient);
                self.pool.give(gradient);
            }
            slot @ None => *slot = Some(gradient),
        }
    }

    /// The gradient of `x` so far, to be added to; zeros at first. `None` when nobody needs it.
    pub fn sum(&mut self, x: Var) -> Option<&mut Buffer> {
        if !self.needs(x) {
            return None;
        }
        let len = self.values[x.0].data.len();
        let Self { slots, pool, .. } = self;
        Some(slots[x.0].get_or_insert_with(|| pool.zeros(len)))
    }
}
