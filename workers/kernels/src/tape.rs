//! The tape: a list of fused operations, walked forward once and, in training, backward once.
//!
//! In: parameters, a workspace, inputs. Out: values, and gradients added to a [`Grads`]. A tape runs on its caller's
//! thread and never changes a parameter. Methods panic when shapes do not fit: that is a mistake in the model's code.

use std::ops::Range;

use crate::graph::{Backward, Forward, Value, Var};
use crate::noise;
use crate::ops::attention::{Attend, Attention, Span};
use crate::ops::bce::Bce;
use crate::ops::choice::{ChoiceLoss, Options};
use crate::ops::dense::Dense;
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Activate, Activation, Add, Mul, Scale, Swiglu};
use crate::ops::linear::Linear;
use crate::ops::lookup::{Embed, EmbedBag, Gather};
use crate::ops::mixture::Mix;
use crate::ops::norm::{LayerNorm, RmsNorm};
use crate::ops::sampled::SampledLoss;
use crate::ops::shape::{Columns, Concat, Stack};
use crate::ops::softmax::Softmax;
use crate::ops::softmax_loss::SoftmaxLoss;
use crate::ops::unprojected::Unprojected;
use crate::ops::{Op, logits};
use crate::{Bf16Weights, Grads, Packed, ParamId, Params, Workspace};

/// A list of operations over one batch.
pub struct Tape<'a> {
    params: &'a Params,
    packed: Option<&'a Packed>,
    workspace: &'a mut Workspace,
    training: bool,
    noise: u64,
    bf16: Option<&'a Bf16Weights>,
}

impl<'a> Tape<'a> {
    /// A tape that keeps nothing for a backward pass; dropout is off.
    pub fn serve(params: &'a Params, workspace: &'a mut Workspace) -> Self {
        workspace.reset();
        Self { params, packed: None, workspace, training: false, noise: 0, bf16: None }
    }
    /// The same, multiplying with packed weights where there are some.
    pub fn serve_packed(params: &'a Params, packed: &'a Packed, workspace: &'a mut Workspace) -> Self {
        Self { packed: Some(packed), ..Self::serve(params, workspace) }
    }
    /// A tape that can go backward. `noise` seeds dropout: equal noise, equal masks.
    pub fn train(params: &'a Params, workspace: &'a mut Workspace, noise: u64) -> Self {
        workspace.reset();
        Self { params, packed: None, workspace, training: true, noise, bf16: None }
    }
    /// A tape that can go backward and multiplies in bf16 with sums in f32: linear maps and the softmax over all classes,
    /// forward and back. Everything else stays f32. `weights` holds what is packed of `params`, for all tapes until they
    /// change.
    pub fn train_bf16(params: &'a Params, workspace: &'a mut Workspace, noise: u64, weights: &'a Bf16Weights) -> Self {
        Self { bf16: Some(weights), ..Self::train(params, workspace, noise) }
    }
    /// The weights this tape reads.
    #[must_use]
    pub fn params(&self) -> &'a Params {
        self.params
    }
    /// `(rows, cols)`.
    #[must_use]
    pub fn shape(&self, x: Var) -> (usize, usize) {
        let value = &self.workspace.values[x.0];
        (value.rows, value.cols)
    }
    /// Row-major values.
    ///
    /// # Panics
    /// If rows were coded as they were made, and have none.
    #[must_use]
    pub fn value(&self, x: Var) -> &[f32] {
        let value = &self.workspace.values[x.0];
        assert!(value.coding.is_none(), "rows that were coded for a map have no values");
        &value.data
    }
    /// How many values there are so far; a point from which to [`release`](Tape::release).
    #[must_use]
    pub fn mark(&self) -> usize {
        self.workspace.values.len()
    }
    /// Ends the values made since a mark, but those in `keep`, on a tape that serves: later operations use their memory.
    /// Their shape becomes 0 × 0. A tape that trains needs them for the way back, and keeps them.
    pub fn release(&mut self, since: usize, keep: &[Var]) {
        if self.training {
            return;
        }
        let Workspace { pool, values, .. } = &mut *self.workspace;
        for (at, value) in values.iter_mut().enumerate().skip(since) {
            if keep.contains(&Var(at)) {
                continue;
            }
            (value.rows, value.cols) = (0, 0);
            pool.give(std::mem::take(&mut value.data));
            value.saved.iter_mut().for_each(|buffer| pool.give(std::mem::take(buffer)));
        }
    }
    /// A value without gradient.
    pub fn constant(&mut self, rows: usize, cols: usize, data: &[f32]) -> Var {
        assert_eq!(data.len(), rows * cols, "values of a constant {rows} x {cols}");
        self.record(Op::Leaf, |f| {
            let mut out = f.output(rows, cols, false);
            out.data.copy_from_slice(data);
            out
        })
    }
    /// Zeros without gradient.
    pub fn zeros(&mut self, rows: usize, cols: usize) -> Var {
        self.record(Op::Leaf, |f| {
            let mut out = f.output(rows, cols, false);
            out.data.fill(0.0);
            out
        })
    }

    // --- look-ups
    /// Row `ids[i]` of a table: `[ids, cols]`.
    pub fn embed(&mut self, table: ParamId, ids: &[u32]) -> Var {
        let op = Embed { table };
        self.record(Op::Embed(op), |f| op.forward(f, ids))
    }
    /// Sum (or mean) of the rows `ids[offsets[i]..offsets[i + 1]]`; an empty bag is a zero row. `offsets` has rows + 1
    /// entries.
    pub fn embed_bag(&mut self, table: ParamId, ids: &[u32], offsets: &[u32], mean: bool) -> Var {
        let op = EmbedBag { table, mean };
        self.record(Op::EmbedBag(op), |f| op.forward(f, ids, offsets))
    }
    /// Rows `rows[i]` of a value, any order, repeats allowed.
    pub fn gather(&mut self, x: Var, rows: &[u32]) -> Var {
        let op = Gather { x };
        self.record(Op::Gather(op), |f| op.forward(f, rows))
    }

    // --- shape
    /// Columns side by side.
    pub fn concat(&mut self, parts: &[Var]) -> Var {
        self.record(Op::Concat(Concat), |f| Concat.forward(f, parts))
    }
    /// Some columns.
    pub fn columns(&mut self, x: Var, range: Range<usize>) -> Var {
        let op = Columns { x, start: range.start };
        self.record(Op::Columns(op), |f| op.forward(f, range))
    }
    /// Rows below each other; equal columns.
    pub fn stack(&mut self, parts: &[Var]) -> Var {
        self.record(Op::Stack(Stack), |f| Stack.forward(f, parts))
    }

    // --- dense
    /// `x · Wᵀ + b`, `W: [out, in]`, `b: [1, out]`.
    pub fn linear(&mut self, x: Var, weight: ParamId, bias: Option<ParamId>) -> Var {
        if let Some(dense) = Dense::new(self.packed, x, weight, bias) {
            return self.record(Op::Leaf, |f| dense.forward(f));
        }
        let op = Linear { x, weight, bias };
        self.record(Op::Linear(op), |f| op.forward(f))
    }
    /// An element-wise function of a linear map; one pass over packed weights.
    pub fn linear_activated(&mut self, x: Var, weight: ParamId, bias: Option<ParamId>, f: Activation) -> Var {
        if let Some(dense) = Dense::new(self.packed, x, weight, bias) {
            return self.record(Op::Leaf, |forward| dense.activated(f).forward(forward));
        }
        let y = self.linear(x, weight, bias);
        self.activate(y, f)
    }
    /// [`swiglu`](Tape::swiglu) of a linear map without bias; one pass over packed weights.
    pub fn linear_swiglu(&mut self, x: Var, weight: ParamId) -> Var {
        if let Some(dense) = Dense::new(self.packed, x, weight, None) {
            return self.record(Op::Leaf, |f| dense.gated().forward(f));
        }
        let y = self.linear(x, weight, None);
        self.swiglu(y)
    }
    /// The same for one map that alone reads it: where both are packed in eight bits, rows are coded as they are made, and
    /// have no values.
    pub fn linear_swiglu_for(&mut self, x: Var, weight: ParamId, next: ParamId) -> Var {
        let coding = self.packed.and_then(|packed| packed.coding(&[next]));
        match (Dense::new(self.packed, x, weight, None), coding) {
            (Some(dense), Some(coding)) => self.record(Op::Leaf, |f| dense.gated().coded(f, coding)),
            _ => self.linear_swiglu(x, weight),
        }
    }
    /// `onto + dropout(x · Wᵀ + b)`; one pass over packed weights.
    pub fn linear_added(&mut self, x: Var, weight: ParamId, bias: Option<ParamId>, p: f32, onto: Var) -> Var {
        if let Some(dense) = Dense::new(self.packed, x, weight, bias) {
            return self.record(Op::Leaf, |f| dense.added(onto).forward(f));
        }
        let y = self.linear(x, weight, bias);
        let y = self.dropout(y, p);
        self.add(onto, y)
    }
    /// `a + b`, equal shapes.
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        let op = Add { a, b };
        self.record(Op::Add(op), |f| op.forward(f))
    }
    /// `a ∘ b`, equal shapes.
    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        let op = Mul { a, b };
        self.record(Op::Mul(op), |f| op.forward(f))
    }
    /// `c · x`.
    pub fn scale(&mut self, x: Var, c: f32) -> Var {
        let op = Scale { x, c };
        self.record(Op::Scale(op), |f| op.forward(f))
    }
    /// An element-wise function.
    pub fn activate(&mut self, x: Var, f: Activation) -> Var {
        let op = Activate { x, f };
        self.record(Op::Activate(op), |f| op.forward(f))
    }
    /// `silu(left half) ∘ right half`: `[n, 2h] → [n, h]`.
    pub fn swiglu(&mut self, x: Var) -> Var {
        let op = Swiglu { x };
        self.record(Op::Swiglu(op), |f| op.forward(f))
    }
    /// Each element kept with chance `1 − p` and scaled by `1 / (1 − p)`; the identity when serving or `p = 0`.
    pub fn dropout(&mut self, x: Var, p: f32) -> Var {
        assert!((0.0..1.0).contains(&p), "dropout {p} is not within 0..1");
        if !self.training || p == 0.0 {
            return x;
        }
        let key = noise::hash(self.noise, self.workspace.values.len() as u64);
        let op = Dropout { x, p, key };
        self.record(Op::Dropout(op), |f| op.forward(f))
    }
    /// Layer norm over columns, eps 1e-5; gain and bias `[1, cols]`.
    pub fn layer_norm(&mut self, x: Var, gain: ParamId, bias: ParamId) -> Var {
        let op = LayerNorm { x, gain, bias };
        self.record(Op::LayerNorm(op), |f| op.forward(f))
    }
    /// Root-mean-square norm over columns, eps 1e-6; gain `[1, cols]`.
    pub fn rms_norm(&mut self, x: Var, gain: ParamId) -> Var {
        let op = RmsNorm { x, gain };
        self.record(Op::RmsNorm(op), |f| op.forward(f))
    }
    /// [`layer_norm`](Tape::layer_norm) for linear maps that alone read it: where all are packed in eight bits of one kind,
    /// rows are coded as they are made, once for all, and have no values.
    pub fn layer_norm_for(&mut self, x: Var, gain: ParamId, bias: ParamId, maps: &[ParamId]) -> Var {
        match self.packed.and_then(|packed| packed.coding(maps)) {
            Some(coding) => self.record(Op::Leaf, |f| LayerNorm { x, gain, bias }.coded(f, coding)),
            None => self.layer_norm(x, gain, bias),
        }
    }
    /// [`rms_norm`](Tape::rms_norm), likewise.
    pub fn rms_norm_for(&mut self, x: Var, gain: ParamId, maps: &[ParamId]) -> Var {
        match self.packed.and_then(|packed| packed.coding(maps)) {
            Some(coding) => self.record(Op::Leaf, |f| RmsNorm { x, gain }.coded(f, coding)),
            None => self.rms_norm(x, gain),
        }
    }
    /// Softmax over columns.
    pub fn softmax(&mut self, x: Var) -> Var {
        let op = Softmax { x };
        self.record(Op::Softmax(op), |f| op.forward(f))
    }
    /// `out[i] = Σ_e gates[i, e] · experts[i, e·d..(e+1)·d]`; gates `[n, e]`, experts `[n, e·d]`.
    pub fn mix(&mut self, gates: Var, experts: Var) -> Var {
        let op = Mix { gates, experts };
        self.record(Op::Mix(op), |f| op.forward(f))
    }

    // --- attention
    /// Scaled dot-product attention over spans: q `[n, heads·w]`, k and v `[m, groups·w]`, out `[n, heads·w]`; scale
    /// `1/√w`.
    pub fn attention(&mut self, q: Var, k: Var, v: Var, how: Attention<'_>) -> Var {
        let op = Attend { q, k, v, heads: how.heads, groups: how.groups, bias: how.bias.map(|b| b.table) };
        self.record(Op::Attend(op), |f| op.forward(f, &how))
    }

    // --- losses; each a 1×1 value holding a weighted sum, `weights` default to 1
    /// `Σ wᵢ · −log softmax(x · table[classes]ᵀ)[targets[i]]`; targets count from `classes.start`.
    /// Fused and chunked: never holds rows × classes.
    pub fn softmax_loss(
        &mut self,
        x: Var,
        table: ParamId,
        classes: Range<usize>,
        targets: &[u32],
        weights: Option<&[f32]>,
    ) -> Var {
        let op = SoftmaxLoss { x, table, first: classes.start };
        self.record(Op::SoftmaxLoss(op), |f| op.forward(f, classes, targets, weights))
    }
    /// The same over the target and `negatives` (rows of the table shared by all; one equal to a row's target is left
    /// out for it).
    pub fn sampled_softmax_loss(
        &mut self,
        x: Var,
        table: ParamId,
        targets: &[u32],
        negatives: &[u32],
        weights: Option<&[f32]>,
    ) -> Var {
        let op = SampledLoss { x, table };
        self.record(Op::SampledLoss(op), |f| op.forward(f, targets, negatives, weights))
    }
    /// The same over each row's own options: rows `ids[offsets[i]..offsets[i + 1]]` of the table, of which option
    /// `right[i]` is the target. `offsets` has rows + 1 entries; lists are meant to be short.
    pub fn choice_loss(
        &mut self,
        x: Var,
        table: ParamId,
        (ids, offsets): (&[u32], &[u32]),
        right: &[u32],
        weights: Option<&[f32]>,
    ) -> Var {
        let op = ChoiceLoss { x, table };
        self.record(Op::ChoiceLoss(op), |f| op.forward(f, Options { ids, offsets, right }, weights))
    }
    /// `Σ wᵢ · BCE(σ(logits[i]), labels[i])`; logits `[n, 1]`.
    pub fn bce_loss(&mut self, logits: Var, labels: &[f32], weights: Option<&[f32]>) -> Var {
        let op = Bce { logits };
        self.record(Op::Bce(op), |f| op.forward(f, labels, weights))
    }

    // --- serving
    /// `x · table[classes]ᵀ`: `[n, classes]`. Serving only: no backward.
    pub fn logits(&mut self, x: Var, table: ParamId, classes: Range<usize>) -> Var {
        self.record(Op::Leaf, |f| logits::forward(f, x, table, classes))
    }

    /// [`attention`](Tape::attention) of projected queries to the keys `rows · keyᵀ` and values `rows · valueᵀ`, which
    /// are never computed: for few queries to many rows. Both maps are `[d, d]`, neither packed away nor quantised.
    /// Serving only: no backward.
    pub fn attention_unprojected(
        &mut self,
        q: Var,
        rows: Var,
        (key, value): (ParamId, ParamId),
        heads: usize,
        spans: &[Span],
    ) -> Var {
        let op = Unprojected { q, rows, key, value, heads };
        self.record(Op::Leaf, |f| op.forward(f, spans))
    }

    /// Adds `d (Σ scale · loss) / d params` to `grads`.
    ///
    /// # Panics
    /// If the tape is one that serves, or a loss is not 1×1.
    pub fn backward(&mut self, losses: &[(Var, f32)], grads: &mut Grads) {
        assert!(self.training, "only a tape made to train goes backward");
        let Workspace { level, pool, values, ops, slots, .. } = &mut *self.workspace;
        slots.resize_with(values.len(), || None);
        for &(loss, scale) in losses {
            assert_eq!(values[loss.0].data.len(), 1, "a loss is one number");
            let slot = slots[loss.0].get_or_insert_with(|| pool.zeros(1));
            slot[0] += scale;
        }
        let mut back = Backward { values, slots, pool, params: self.params, grads, level: *level, bf16: self.bf16 };
        for i in (0..values.len()).rev() {
            if let Some(dy) = back.slots[i].take() {
                ops[i].backward(&values[i], dy, &mut back);
            }
        }
    }

    fn record(&mut self, op: Op, run: impl FnOnce(&mut Forward<'_>) -> Value) -> Var {
        let Workspace { level, pool, values, ops, team, .. } = &mut *self.workspace;
        let (params, packed, bf16, training) = (self.params, self.packed, self.bf16, self.training);
        let team = team.as_deref().filter(|_| !training);
        let mut forward = Forward { values, pool, params, packed, bf16, level: *level, training, team };
        let value = run(&mut forward);
        values.push(value);
        ops.push(if self.training { op } else { Op::Leaf });
        Var(values.len() - 1)
    }
}
