//! Sums, products, scalings and activations of values.
//!
//! In: values of equal shape. Out: one of that shape (half as wide for the gated unit). Nothing is kept: inputs are on
//! the tape.

use crate::buffer::Buffer;
use crate::cpu::elementwise as cpu;
use crate::graph::{Backward, Forward, Value, Var};

/// An element-wise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// `x · Φ(x)`, tanh form.
    Gelu,
    /// `x · σ(x)`.
    Silu,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
}

fn equal_shapes<'w>(f: &Forward<'w>, a: Var, b: Var) -> (&'w Value, &'w Value) {
    let (a, b) = (f.value(a), f.value(b));
    assert_eq!((a.rows, a.cols), (b.rows, b.cols), "shapes of an element-wise operation");
    (a, b)
}

/// `a + b`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Add {
    pub a: Var,
    pub b: Var,
}

impl Add {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let (a, b) = equal_shapes(f, self.a, self.b);
        let mut out = f.output(a.rows, a.cols, a.needs_grad || b.needs_grad);
        cpu::add(f.level, &mut out.data, &a.data, &b.data);
        out
    }

    pub fn backward(self, dy: Buffer, back: &mut Backward<'_>) {
        let level = back.level;
        if back.needs(self.a) {
            if let Some(sum) = &mut back.slots[self.a.0] {
                cpu::add_to(level, sum, &dy);
            } else {
                back.slots[self.a.0] = Some(back.pool.copy(&dy));
            }
        }
        back.give(self.b, dy);
    }
}

/// `a ∘ b`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mul {
    pub a: Var,
    pub b: Var,
}

impl Mul {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let (a, b) = equal_shapes(f, self.a, self.b);
        let mut out = f.output(a.rows, a.cols, a.needs_grad || b.needs_grad);
        cpu::mul(f.level, &mut out.data, &a.data, &b.data);
        out
    }

    pub fn backward(self, mut dy: Buffer, back: &mut Backward<'_>) {
        if back.needs(self.a) {
            let mut da = back.pool.take(dy.len());
            cpu::mul(back.level, &mut da, &dy, &back.value(self.b).data);
            back.give(self.a, da);
        }
        cpu::mul_in_place(back.level, &mut dy, &back.value(self.a).data);
        back.give(self.b, dy);
    }
}

/// `c · x`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub x: Var,
    pub c: f32,
}

impl Scale {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let x = f.value(self.x);
        let mut out = f.output(x.rows, x.cols, x.needs_grad);
        cpu::scale(f.level, &mut out.data, self.c, &x.data);
        out
    }

    pub fn backward(self, mut dy: Buffer, back: &mut Backward<'_>) {
        cpu::scale_in_place(back.level, &mut dy, self.c);
        back.give(self.x, dy);
    }
}

/// An activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activate {
    pub x: Var,
    pub f: Activation,
}

impl Activate {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let x = f.value(self.x);
        let mut out = f.output(x.rows, x.cols, x.needs_grad);
        let run = match self.f {
            Activation::Relu => cpu::relu,
            Activation::Gelu => cpu::gelu,
            Activation::Silu => cpu::silu,
            Activation::Sigmoid => cpu::logistic,
        };
        run(f.level, &mut out.data, &x.data);
        out
    }

    pub fn backward(self, mut dy: Buffer, back: &mut Backward<'_>) {
        let run = match self.f {
            Activation::Relu => cpu::relu_back,
            Activation::Gelu => cpu::gelu_back,
            Activation::Silu => cpu::silu_back,
            Activation::Sigmoid => cpu::logistic_back,
        };
        run(back.level, &mut dy, &back.value(self.x).data);
        back.give(self.x, dy);
    }
}

/// `silu(left half) ∘ right half`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swiglu {
    pub x: Var,
}

impl Swiglu {
    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let x = f.value(self.x);
        assert!(x.cols > 0 && x.cols.is_multiple_of(2), "a gated unit takes two halves, not {} columns", x.cols);
        let mut out = f.output(x.rows, x.cols / 2, x.needs_grad);
        cpu::swiglu(f.level, &mut out.data, &x.data, x.cols / 2);
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, back: &mut Backward<'_>) {
        let x = back.value(self.x);
        let mut dx = back.pool.take(x.data.len());
        cpu::swiglu_back(back.level, &mut dx, &dy, &x.data, y.cols);
        back.pool.give(dy);
        back.give(self.x, dx);
    }
}
