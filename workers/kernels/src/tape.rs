//! The tape: a list of fused operations, walked forward once and, in training, backward once.

use std::ops::Range;

use crate::{Grads, ParamId, Params};

/// A value on a tape: `rows × cols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(usize);

/// Memory that tapes reuse; one a thread. After warm-up no operation allocates.
#[derive(Debug, Default)]
pub struct Workspace {}

/// Key/value rows `start..end` that a query row sees. Empty spans give a zero row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First row.
    pub start: u32,
    /// One past the last row.
    pub end: u32,
}

/// How rows attend.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Query heads; the head width is the query's columns divided by it.
    pub heads: usize,
    /// Key/value groups; must divide `heads`. Keys and values have `groups × head width` columns.
    pub groups: usize,
    /// One span a query row.
    pub spans: &'a [Span],
    /// A learned score added by distance.
    pub bias: Option<RelativeBias<'a>>,
}

/// A learned score by head and distance: column `min(query − key, cols − 1)` (0 when negative) of a `[heads, cols]` table.
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    /// The table.
    pub table: ParamId,
    /// Position of each query row.
    pub query: &'a [u32],
    /// Position of each key row.
    pub key: &'a [u32],
}

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

/// A list of operations over one batch.
pub struct Tape<'a> {
    params: &'a Params,
    #[allow(dead_code)]
    workspace: &'a mut Workspace,
}

#[allow(unused_variables, missing_docs)]
impl<'a> Tape<'a> {
    /// A tape that keeps nothing for a backward pass; dropout is off.
    pub fn serve(params: &'a Params, workspace: &'a mut Workspace) -> Self {
        Self { params, workspace }
    }
    /// A tape that can go backward. `noise` seeds dropout: equal noise, equal masks.
    pub fn train(params: &'a Params, workspace: &'a mut Workspace, noise: u64) -> Self {
        Self { params, workspace }
    }
    /// The weights this tape reads.
    pub fn params(&self) -> &'a Params {
        self.params
    }
    /// `(rows, cols)`.
    pub fn shape(&self, x: Var) -> (usize, usize) { unimplemented!() }
    /// Row-major values.
    pub fn value(&self, x: Var) -> &[f32] { unimplemented!() }
    /// A value without gradient.
    pub fn constant(&mut self, rows: usize, cols: usize, data: &[f32]) -> Var { unimplemented!() }

    // --- look-ups
    /// Row `ids[i]` of a table: `[ids, cols]`.
    pub fn embed(&mut self, table: ParamId, ids: &[u32]) -> Var { unimplemented!() }
    /// Sum (or mean) of the rows `ids[offsets[i]..offsets[i + 1]]`; an empty bag is a zero row. `offsets` has rows + 1 entries.
    pub fn embed_bag(&mut self, table: ParamId, ids: &[u32], offsets: &[u32], mean: bool) -> Var { unimplemented!() }
    /// Rows `rows[i]` of a value, any order, repeats allowed.
    pub fn gather(&mut self, x: Var, rows: &[u32]) -> Var { unimplemented!() }

    // --- shape
    /// Columns side by side.
    pub fn concat(&mut self, parts: &[Var]) -> Var { unimplemented!() }
    /// Some columns.
    pub fn columns(&mut self, x: Var, range: Range<usize>) -> Var { unimplemented!() }
    /// Rows below each other; equal columns.
    pub fn stack(&mut self, parts: &[Var]) -> Var { unimplemented!() }

    // --- dense
    /// `x · Wᵀ + b`, `W: [out, in]`, `b: [1, out]`.
    pub fn linear(&mut self, x: Var, weight: ParamId, bias: Option<ParamId>) -> Var { unimplemented!() }
    /// `a + b`, equal shapes.
    pub fn add(&mut self, a: Var, b: Var) -> Var { unimplemented!() }
    /// `a ∘ b`, equal shapes.
    pub fn mul(&mut self, a: Var, b: Var) -> Var { unimplemented!() }
    /// `c · x`.
    pub fn scale(&mut self, x: Var, c: f32) -> Var { unimplemented!() }
    /// An element-wise function.
    pub fn activate(&mut self, x: Var, f: Activation) -> Var { unimplemented!() }
    /// `silu(left half) ∘ right half`: `[n, 2h] → [n, h]`.
    pub fn swiglu(&mut self, x: Var) -> Var { unimplemented!() }
    /// Each element kept with chance `1 − p` and scaled by `1 / (1 − p)`; the identity when serving or `p = 0`.
    pub fn dropout(&mut self, x: Var, p: f32) -> Var { unimplemented!() }
    /// Layer norm over columns, eps 1e-5; gain and bias `[1, cols]`.
    pub fn layer_norm(&mut self, x: Var, gain: ParamId, bias: ParamId) -> Var { unimplemented!() }
    /// Root-mean-square norm over columns, eps 1e-6; gain `[1, cols]`.
    pub fn rms_norm(&mut self, x: Var, gain: ParamId) -> Var { unimplemented!() }
    /// Softmax over columns.
    pub fn softmax(&mut self, x: Var) -> Var { unimplemented!() }
    /// `out[i] = Σ_e gates[i, e] · experts[i, e·d..(e+1)·d]`; gates `[n, e]`, experts `[n, e·d]`.
    pub fn mix(&mut self, gates: Var, experts: Var) -> Var { unimplemented!() }

    // --- attention
    /// Scaled dot-product attention over spans: q `[n, heads·w]`, k and v `[m, groups·w]`, out `[n, heads·w]`; scale `1/√w`.
    pub fn attention(&mut self, q: Var, k: Var, v: Var, how: Attention<'_>) -> Var { unimplemented!() }

    // --- losses; each a 1×1 value holding a weighted sum, `weights` default to 1
    /// `Σ wᵢ · −log softmax(x · table[classes]ᵀ)[targets[i]]`; targets count from `classes.start`.
    /// Fused and chunked: never holds rows × classes.
    pub fn softmax_loss(&mut self, x: Var, table: ParamId, classes: Range<usize>, targets: &[u32], weights: Option<&[f32]>) -> Var { unimplemented!() }
    /// The same over the target and `negatives` (rows of the table shared by all; one equal to a row's target is left out for it).
    pub fn sampled_softmax_loss(&mut self, x: Var, table: ParamId, targets: &[u32], negatives: &[u32], weights: Option<&[f32]>) -> Var { unimplemented!() }
    /// `Σ wᵢ · BCE(σ(logits[i]), labels[i])`; logits `[n, 1]`.
    pub fn bce_loss(&mut self, logits: Var, labels: &[f32], weights: Option<&[f32]>) -> Var { unimplemented!() }

    // --- serving
    /// `x · table[classes]ᵀ`: `[n, classes]`. Serving only: no backward.
    pub fn logits(&mut self, x: Var, table: ParamId, classes: Range<usize>) -> Var { unimplemented!() }

    /// Adds `d (Σ scale · loss) / d params` to `grads`.
    pub fn backward(&mut self, losses: &[(Var, f32)], grads: &mut Grads) { unimplemented!() }
}
