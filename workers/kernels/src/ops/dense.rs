//! A linear map over packed weights with what follows it: an activation, a gate, rows to add to. Serving only.
//!
//! In: rows. Out: rows of another width. There is no way back: tapes that train compose the same from operations that
//! have one, and agree within the bound of a product: `depth · 2⁻²⁴ · Σ |x · w|` an output, before what follows. Maps in
//! eight bits agree with the same map on a tape without packed weights in bits, before what follows.

use std::ops::Range;

use crate::ParamId;
use crate::cpu::coded::{self, Coding, Left};
use crate::cpu::panels::{Curve, Then, shared_product};
use crate::graph::{Amount, Forward, Rows, Value, Var};
use crate::ops::elementwise::Activation;
use crate::packed::{Map, Packed};

/// Values that are made before they are coded: a share of the second cache.
const VALUES: usize = 1 << 16;

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
        let x = self.checked(f);
        let (depth, outputs, width) = self.shape();
        let mut out = f.output(x.rows, width, false);
        let then = self.then(f, x.rows);
        let (level, amount) = (f.level, Amount::product(x.rows, depth * outputs));
        match self.map {
            Map::F32(panels) => shared_product(f.team(amount), level, &mut out.data, &x.data, panels, then),
            Map::Coded(panels) => {
                let how = Rows { amount, width, scratch: panels.room(level, x.rows) };
                f.rows_with(&mut out.data, how, coded::tile_of, |rows, out, scratch| {
                    let onto = then.onto.get(rows.start * width..rows.end * width).unwrap_or_default();
                    coded::product(level, out, left(x, panels, rows), panels, Then { onto, ..then }, scratch);
                });
            }
        }
        out
    }

    /// The same as codes for the one map that reads it: rows are coded while they are in the nearest caches.
    pub fn coded(self, f: &mut Forward<'_>, coding: Coding) -> Value {
        let Map::Coded(panels) = self.map else {
            // Rows of f32 products are coded by who reads them.
            return self.forward(f);
        };
        let x = self.checked(f);
        let (depth, outputs, width) = self.shape();
        let then = self.then(f, x.rows);
        assert!(then.onto.is_empty(), "codes are added to nothing");
        let level = f.level;
        // Whole tiles, at least one.
        let at_once = coded::tile_of(VALUES / width.max(1)).max(coded::MOST).min(x.rows);
        let how = (Amount::product(x.rows, depth * outputs), at_once * width + panels.room(level, at_once));
        f.coded((x.rows, width), coding, how, |rows, out, memory| {
            let (made, scratch) = memory.split_at_mut(at_once * width);
            for first in rows.clone().step_by(at_once.max(1)) {
                let some = first..rows.end.min(first + at_once);
                let made = &mut made[..some.len() * width];
                coded::product(level, made, left(x, panels, some), panels, then, scratch);
                coding.code(level, &mut out[(first - rows.start) * coding.stride()..], made);
            }
        })
    }

    /// The input, which fits.
    fn checked<'w>(&self, f: &Forward<'w>) -> &'w Value {
        let x = f.value_or_codes(self.x);
        let gated = match self.map {
            Map::F32(panels) => panels.gated(),
            Map::Coded(panels) => panels.gated(),
        };
        assert_eq!(x.cols, self.shape().0, "columns of the input of packed weights");
        assert_eq!(self.gated, gated, "gated weights are packed for their gate");
        if let Some(coding) = x.coding {
            assert!(
                matches!(self.map, Map::Coded(panels) if panels.coding() == coding),
                "rows coded for other weights"
            );
        }
        x
    }

    /// Columns of the input, products of a row, columns of the result.
    fn shape(&self) -> (usize, usize, usize) {
        match self.map {
            Map::F32(panels) => (panels.depth(), panels.outputs(), panels.width()),
            Map::Coded(panels) => (panels.depth(), panels.outputs(), panels.width()),
        }
    }

    fn then<'w>(&self, f: &Forward<'w>, rows: usize) -> Then<'w> {
        let bias = self.bias.map_or(&[][..], |bias| f.param(bias));
        let onto = self.onto.map_or(&[][..], |onto| {
            let onto = f.value(onto);
            assert_eq!((onto.rows, onto.cols), (rows, self.shape().2), "rows and columns to add to");
            &onto.data
        });
        Then { bias, curve: self.curve, onto }
    }
}

/// Some rows of an input, as a product takes them.
fn left<'a>(x: &'a Value, panels: &coded::Panels, rows: Range<usize>) -> Left<'a> {
    if x.coding.is_some() {
        return Left::Coded(&x.saved[0].words()[rows.start * panels.coding().stride()..]);
    }
    Left::Plain(&x.data[rows.start * panels.depth()..rows.end * panels.depth()])
}
