//! A linear map over packed weights with what follows it: an activation, a gate, rows to add to. Serving only.
//!
//! In: rows. Out: rows of another width. There is no way back: tapes that train compose the same from operations that
//! have one, and agree within the bound of a product: `depth · 2⁻²⁴ · Σ |x · w|` an output, before what follows. Maps in
//! eight bits agree with the same map on a tape without packed weights in bits, before what follows.

use crate::ParamId;
use crate::cpu::coded::{self, Left};
use crate::cpu::panels::{Curve, Then, shared_product};
use crate::graph::{Amount, Forward, Rows, Value, Var};
use crate::ops::elementwise::Activation;
use crate::packed::{Map, Packed};

/// `onto + f(x · Wᵀ + b)`.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    x: Var,
    map: &'a Map,
    bias: Option<ParamId>,
    curve: Curve,
    gated: bool,
    onto: Option<Var>,
}

impl<'a> Dense<'a> {
    /// The map alone, where its weights are packed.
    pub fn new(packed: Option<&'a Packed>, x: Var, weight: ParamId, bias: Option<ParamId>) -> Option<Self> {
        let map = packed?.map(weight)?;
        Some(Self { x, map, bias, curve: Curve::None, gated: false, onto: None })
    }

    pub fn activated(self, f: Activation) -> Self {
        let curve = match f {
            Activation::Relu => Curve::Relu,
            Activation::Gelu => Curve::Gelu,
            Activation::Silu => Curve::Silu,
            Activation::Sigmoid => Curve::Sigmoid,
        };
        Self { curve, ..self }
    }

    pub fn gated(self) -> Self {
        Self { gated: true, ..self }
    }

    pub fn added(self, onto: Var) -> Self {
        Self { onto: Some(onto), ..self }
    }

    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let x = f.value(self.x);
        let (depth, outputs, width, gated) = match self.map {
            Map::F32(panels) => (panels.depth(), panels.outputs(), panels.width(), panels.gated()),
            Map::Coded(panels) => (panels.depth(), panels.outputs(), panels.width(), panels.gated()),
        };
        assert_eq!(x.cols, depth, "columns of the input of packed weights");
        assert_eq!(self.gated, gated, "gated weights are packed for their gate");
        let mut out = f.output(x.rows, width, false);
        let bias = self.bias.map_or(&[][..], |bias| f.param(bias));
        let onto = self.onto.map_or(&[][..], |onto| &f.value(onto).data);
        assert!(self.onto.is_none_or(|onto| f.value(onto).cols == out.cols), "columns to add to");
        let then = Then { bias, curve: self.curve, onto };
        let (level, amount) = (f.level, Amount::product(x.rows, depth * outputs));
        match self.map {
            Map::F32(panels) => shared_product(f.team(amount), level, &mut out.data, &x.data, panels, then),
            Map::Coded(panels) => {
                let how = Rows { amount, width, scratch: panels.room(level, x.rows) };
                f.rows_with(&mut out.data, how, coded::tile_of, |rows, out, scratch| {
                    let onto = then.onto.get(rows.start * width..rows.end * width).unwrap_or_default();
                    let x = &x.data[rows.start * depth..rows.end * depth];
                    coded::product(level, out, Left::Plain(x), panels, Then { onto, ..then }, scratch);
                });
            }
        }
        out
    }
}
