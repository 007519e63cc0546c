//! One model, two machines: the tape under test, and a naive one in f64.
//!
//! In: a model written against [`Machine`]. Out: its loss on either. The trait only repeats the tape's methods.

use std::ops::Range;

use recmesh_kernels::{Activation, Attention, ParamId, Tape, Var};

pub trait Machine {
    type Var: Copy;
    fn constant(&mut self, rows: usize, cols: usize, data: &[f32]) -> Self::Var;
    fn embed(&mut self, table: ParamId, ids: &[u32]) -> Self::Var;
    fn embed_bag(&mut self, table: ParamId, ids: &[u32], offsets: &[u32], mean: bool) -> Self::Var;
    fn gather(&mut self, x: Self::Var, rows: &[u32]) -> Self::Var;
    fn concat(&mut self, parts: &[Self::Var]) -> Self::Var;
    fn columns(&mut self, x: Self::Var, range: Range<usize>) -> Self::Var;
    fn stack(&mut self, parts: &[Self::Var]) -> Self::Var;
    fn linear(&mut self, x: Self::Var, weight: ParamId, bias: Option<ParamId>) -> Self::Var;
    fn add(&mut self, a: Self::Var, b: Self::Var) -> Self::Var;
    fn mul(&mut self, a: Self::Var, b: Self::Var) -> Self::Var;
    fn scale(&mut self, x: Self::Var, c: f32) -> Self::Var;
    fn activate(&mut self, x: Self::Var, f: Activation) -> Self::Var;
    fn swiglu(&mut self, x: Self::Var) -> Self::Var;
    fn dropout(&mut self, x: Self::Var, p: f32) -> Self::Var;
    fn layer_norm(&mut self, x: Self::Var, gain: ParamId, bias: ParamId) -> Self::Var;
    fn rms_norm(&mut self, x: Self::Var, gain: ParamId) -> Self::Var;
    fn softmax(&mut self, x: Self::Var) -> Self::Var;
    fn mix(&mut self, gates: Self::Var, experts: Self::Var) -> Self::Var;
    fn attention(&mut self, q: Self::Var, k: Self::Var, v: Self::Var, how: Attention<'_>) -> Self::Var;
    fn softmax_loss(
        &mut self,
        x: Self::Var,
        table: ParamId,
        classes: Range<usize>,
        targets: &[u32],
        weights: Option<&[f32]>,
    ) -> Self::Var;
    fn sampled_softmax_loss(
        &mut self,
        x: Self::Var,
        table: ParamId,
        targets: &[u32],
        negatives: &[u32],
        weights: Option<&[f32]>,
    ) -> Self::Var;
    fn choice_loss(
        &mut self,
        x: Self::Var,
        table: ParamId,
        lists: (&[u32], &[u32]),
        right: &[u32],
        weights: Option<&[f32]>,
    ) -> Self::Var;
    fn bce_loss(&mut self, logits: Self::Var, labels: &[f32], weights: Option<&[f32]>) -> Self::Var;
}

macro_rules! delegate {
    ($(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        impl Machine for Tape<'_> {
            type Var = Var;
            $(fn $name(&mut self, $($arg: $ty),*) -> Var { Tape::$name(self, $($arg),*) })*
        }
    };
}

delegate! {
    fn constant(rows: usize, cols: usize, data: &[f32]);
    fn embed(table: ParamId, ids: &[u32]);
    fn embed_bag(table: ParamId, ids: &[u32], offsets: &[u32], mean: bool);
    fn gather(x: Var, rows: &[u32]);
    fn concat(parts: &[Var]);
    fn columns(x: Var, range: Range<usize>);
    fn stack(parts: &[Var]);
    fn linear(x: Var, weight: ParamId, bias: Option<ParamId>);
    fn add(a: Var, b: Var);
    fn mul(a: Var, b: Var);
    fn scale(x: Var, c: f32);
    fn activate(x: Var, f: Activation);
    fn swiglu(x: Var);
    fn dropout(x: Var, p: f32);
    fn layer_norm(x: Var, gain: ParamId, bias: ParamId);
    fn rms_norm(x: Var, gain: ParamId);
    fn softmax(x: Var);
    fn mix(gates: Var, experts: Var);
    fn attention(q: Var, k: Var, v: Var, how: Attention<'_>);
    fn softmax_loss(x: Var, table: ParamId, classes: Range<usize>, targets: &[u32], weights: Option<&[f32]>);
    fn sampled_softmax_loss(x: Var, table: ParamId, targets: &[u32], negatives: &[u32], weights: Option<&[f32]>);
    fn choice_loss(x: Var, table: ParamId, lists: (&[u32], &[u32]), right: &[u32], weights: Option<&[f32]>);
    fn bce_loss(logits: Var, labels: &[f32], weights: Option<&[f32]>);
}
