//! Attention of few queries to rows that are keys and values only after a projection, without projecting them.
//!
//! ```text
//! (Wk x) · q = x · (Wkᵀ q)         Σ p (Wv x) = Wv (Σ p x)
//! ```
//! In: queries, rows, and the two projections. Out: one row a query, as from projected keys and values: only sums are
//! taken in another order. Pays off where a span has far more rows than there are queries to it, as the last block of a
//! model that is asked for its last position only. Serving only: there is no way back.
//!
//! **Bound.** With `u = 2⁻²⁴`, `d` columns, heads of width `w` and spans of `n` rows, scores differ from the exact ones by
//! at most `(d + w) · u · Σ |q · W · x| / √w`, and a result by at most `(d + n) · u` times the same sum of magnitudes,
//! plus what the change of its probabilities makes.

use crate::ParamId;
use crate::cpu::exp::exp;
use crate::cpu::kernel;
use crate::cpu::reduce::{dot_of, max_of, sum_of};
use crate::graph::{Forward, Value, Var};
use crate::ops::attention::Span;

/// `softmax(q · (rows · Wkᵀ)ᵀ / √w) · (rows · Wvᵀ)` by head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unprojected {
    /// `[queries, d]`, projected.
    pub q: Var,
    /// `[m, d]`.
    pub rows: Var,
    /// `[d, d]`, unpacked.
    pub key: ParamId,
    pub value: ParamId,
    pub heads: usize,
}

/// One query: its projected row, the rows it sees, both projections, and scratch.
struct One<'a> {
    q: &'a [f32],
    rows: &'a [f32],
    key: &'a [f32],
    value: &'a [f32],
    heads: usize,
    /// Two rows.
    wide: &'a mut [f32],
    scores: &'a mut [f32],
}

kernel! {
    fn attend<S>(out: &mut [f32], one: One<'_>) {
        let (cols, width) = (out.len(), out.len() / one.heads);
        let scale = 1.0 / (width as f32).sqrt();
        let (unprojected, mixed) = one.wide.split_at_mut(cols);
        let scores = &mut one.scores[..one.rows.len() / cols];
        for head in 0..one.heads {
            let weights = one.key[head * width * cols..].chunks_exact(cols);
            unprojected.fill(0.0);
            for (&q, weights) in one.q[head * width..][..width].iter().zip(weights) {
                for (sum, &weight) in unprojected.iter_mut().zip(weights) {
                    *sum = S::fma(q, weight, *sum);
                }
            }
            for (score, row) in scores.iter_mut().zip(one.rows.chunks_exact(cols)) {
                *score = dot_of::<S>(unprojected, row);
            }
            let max = max_of(scores);
            for score in scores.iter_mut() {
                *score = exp::<S>((*score - max) * scale);
            }
            let inverse = 1.0 / sum_of(scores);
            mixed.fill(0.0);
            for (&score, row) in scores.iter().zip(one.rows.chunks_exact(cols)) {
                let share = score * inverse;
                for (sum, &x) in mixed.iter_mut().zip(row) {
                    *sum = S::fma(share, x, *sum);
                }
            }
            let weights = one.value[head * width * cols..].chunks_exact(cols);
            for (out, weights) in out[head * width..][..width].iter_mut().zip(weights) {
                *out = dot_of::<S>(mixed, weights);
            }
        }
    }
}

impl Unprojected {
    pub fn forward(self, f: &mut Forward<'_>, spans: &[Span]) -> Value {
        assert!(!f.training, "attention to rows before their projection has no way back");
        let (q, rows, heads) = (f.value(self.q), f.value(self.rows), self.heads);
        let cols = rows.cols;
        assert!(heads > 0 && cols > 0 && cols.is_multiple_of(heads), "{cols} columns in {heads} heads");
        assert_eq!((q.cols, q.rows), (cols, spans.len()), "one span a query, of the rows' columns");
        assert!(spans.iter().all(|s| s.end <= s.start || s.end as usize <= rows.rows), "spans lie within the rows");
        let [key, value] = [self.key, self.value].map(|id| f.param(id));
        assert!(key.len() == cols * cols && value.len() == cols * cols, "square projections of {cols} columns");
        let longest = spans.iter().map(|span| span.end.saturating_sub(span.start)).max().unwrap_or(0);
        let mut out = f.output(q.rows, cols, false);
        let (mut wide, mut scores) = (f.pool.take(2 * cols), f.pool.take(longest as usize));
        for ((out, q), span) in out.data.chunks_exact_mut(cols).zip(q.data.chunks_exact(cols)).zip(spans) {
            if span.end <= span.start {
                out.fill(0.0);
                continue;
            }
            let rows = &rows.data[span.start as usize * cols..span.end as usize * cols];
            attend(f.level, out, One { q, rows, key, value, heads, wide: &mut wide, scores: &mut scores });
        }
        f.pool.give(wide);
        f.pool.give(scores);
        out
    }
}
