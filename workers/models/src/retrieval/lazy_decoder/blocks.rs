//! The sublayers: self-attention, cross-attention, feed-forward. Each adds its result to its input.
//!
//! In: rows and where they may look. Out: rows of the same shape.

use recmesh_kernels::{Attention, ParamId, RelativeBias, Span, Tape, Var};

use super::layout::{CrossAttention, FeedForward, SelfAttention};

/// What every sublayer needs to know of the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub heads: usize,
    pub groups: usize,
    pub dropout: f32,
}

/// Positions of query and key rows, for scores by distance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance<'a> {
    pub table: ParamId,
    pub query: &'a [u32],
    pub key: &'a [u32],
}

impl Shape {
    /// Keys and values of rows about to attend to each other, with the normed rows themselves.
    pub(super) fn project(&self, tape: &mut Tape<'_>, own: &SelfAttention, x: Var) -> (Var, Var, Var) {
        let normed = tape.rms_norm_for(x, own.norm, &[own.query, own.key, own.value]);
        (normed, tape.linear(normed, own.key, None), tape.linear(normed, own.value, None))
    }

    /// Self-attention of projected rows over keys and values that may hold more rows than `x`.
    pub(super) fn attend(
        &self,
        tape: &mut Tape<'_>,
        own: &SelfAttention,
        x: Var,
        (normed, key, value): (Var, Var, Var),
        spans: &[Span],
        distance: Option<Distance<'_>>,
    ) -> Var {
        let query = tape.linear(normed, own.query, None);
        let bias = distance.map(|d| RelativeBias { table: d.table, query: d.query, key: d.key });
        let how = Attention { heads: self.heads, groups: self.heads, spans, bias };
        let attended = tape.attention(query, key, value, how);
        tape.linear_added(attended, own.output, None, self.dropout, x)
    }

    /// Attention to the context's keys and values as they are.
    pub(super) fn cross(
        &self,
        tape: &mut Tape<'_>,
        cross: &CrossAttention,
        x: Var,
        (key, value): (Var, Var),
        spans: &[Span],
        (query_positions, key_positions): (&[u32], &[u32]),
    ) -> Var {
        let normed = tape.rms_norm_for(x, cross.norm, &[cross.query]);
        let query = tape.linear(normed, cross.query, None);
        let bias = RelativeBias { table: cross.bias, query: query_positions, key: key_positions };
        let how = Attention { heads: self.heads, groups: self.groups, spans, bias: Some(bias) };
        let attended = tape.attention(query, key, value, how);
        tape.linear_added(attended, cross.output, None, self.dropout, x)
    }

    /// SwiGLU.
    pub(super) fn feed_forward(&self, tape: &mut Tape<'_>, ffn: &FeedForward, x: Var) -> Var {
        let normed = tape.rms_norm_for(x, ffn.norm, &[ffn.up]);
        let hidden = tape.linear_swiglu_for(normed, ffn.up, ffn.down);
        tape.linear_added(hidden, ffn.down, None, self.dropout, x)
    }
}
