//! Scaled dot-product attention over ragged spans.
//!
//! ```text
//! rows with one first key ─► keys packed once a group ─► 4 queries at a time: scores ─► softmax ─► · values
//! a row of its own        ─► dot products with the keys where they lie    ─► softmax ─► · values
//! ```
//! In: queries, keys, values and who sees whom. Out: one row a query. Short causal rows and many queries that share one
//! long span run through the same loops; no matrix product is called per head, no mask is stored, and keys outside a
//! span are never exponentiated. Training keeps the probabilities.

mod kernels;
mod single;
mod tiles;

use crate::ParamId;
use crate::buffer::Buffer;
use crate::graph::{Amount, Backward, Forward, Rows, Value, Var};
use kernels::{Bias, Gradients, Problem, Scratch, backward_all, forward_all, scratch_sizes};

/// What a query costs besides its keys, in keys.
const QUERY: usize = 8;

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

/// Saved: 0 probabilities `[query][head][key of its span]`; 1 spans as pairs; 2 positions of queries, then keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attend {
    pub q: Var,
    pub k: Var,
    pub v: Var,
    pub heads: usize,
    pub groups: usize,
    pub bias: Option<ParamId>,
}

impl Attend {
    fn problem<'w>(self, values: [&'w Value; 3], spans: &'w [u32], bias: Option<Bias<'w>>) -> Problem<'w> {
        let [q, k, v] = values;
        let width = q.cols / self.heads;
        Problem { q: &q.data, k: &k.data, v: &v.data, heads: self.heads, groups: self.groups, width, spans, bias }
    }

    fn check(self, values: [&Value; 3], how: &Attention<'_>) {
        let [q, k, v] = values;
        let (heads, groups) = (self.heads, self.groups);
        assert!(heads > 0 && groups > 0 && heads.is_multiple_of(groups), "{groups} groups of {heads} heads");
        assert!(q.cols.is_multiple_of(heads), "{} columns in {heads} heads", q.cols);
        assert_eq!(k.cols, groups * (q.cols / heads), "columns of keys");
        assert_eq!((v.rows, v.cols), (k.rows, k.cols), "shapes of keys and values");
        assert_eq!(how.spans.len(), q.rows, "one span a query");
        assert!(how.spans.iter().all(|s| s.end <= s.start || s.end as usize <= k.rows), "spans lie within the keys");
        if let Some(bias) = how.bias {
            assert_eq!((bias.query.len(), bias.key.len()), (q.rows, k.rows), "one position a query and a key");
        }
    }

    pub fn forward(self, f: &mut Forward<'_>, how: &Attention<'_>) -> Value {
        let values = [self.q, self.k, self.v].map(|x| f.value(x));
        self.check(values, how);
        let mut spans = f.pool.take(2 * how.spans.len());
        let mut seen = 0;
        for (pair, span) in spans.words_mut().chunks_exact_mut(2).zip(how.spans) {
            // An empty span becomes 0..0, so that its length is never negative.
            let span = if span.end > span.start { *span } else { Span { start: 0, end: 0 } };
            pair.copy_from_slice(&[span.start, span.end]);
            seen += (span.end - span.start) as usize;
        }
        let bias = how.bias.map(|b| {
            let table = f.params.get(b.table);
            assert!(table.rows == self.heads && table.cols > 0, "{} has a row a head", table.name);
            Bias { table: &table.data, cols: table.cols, query: b.query, key: b.key }
        });
        let mut out = f.output(values[0].rows, values[0].cols, true);
        let problem = self.problem(values, spans.words(), bias);
        let (sizes, level) = (scratch_sizes(&problem), f.level);
        if f.training {
            let mut probabilities = f.pool.take(self.heads * seen);
            let mut memory = f.pool.take(sizes.all());
            forward_all(level, problem, sizes.cut(&mut memory), &mut out.data, &mut probabilities);
            f.pool.give(memory);
            let mut positions = Buffer::default();
            if let Some(bias) = how.bias {
                positions = f.pool.take(bias.query.len() + bias.key.len());
                positions.words_mut()[..bias.query.len()].copy_from_slice(bias.query);
                positions.words_mut()[bias.query.len()..].copy_from_slice(bias.key);
            }
            out.saved = [probabilities, spans, positions];
        } else {
            let amount = Amount::Products(2 * (seen + QUERY * values[0].rows) * values[0].cols);
            let how = Rows { amount, width: values[0].cols, scratch: sizes.all() };
            f.rows_with(
                &mut out.data,
                how,
                |row| problem.edge(row),
                |rows, out, memory| {
                    forward_all(level, problem.some(rows), sizes.cut(memory), out, &mut []);
                },
            );
            f.pool.give(spans);
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let values = [self.q, self.k, self.v].map(|x| b.value(x));
        let [probabilities, spans, positions] = &y.saved;
        let bias = self.bias.map(|id| {
            let table = b.params.get(id);
            let (query, key) = positions.words().split_at(y.rows);
            Bias { table: &table.data, cols: table.cols, query, key }
        });
        let problem = self.problem(values, spans.words(), bias);
        let sizes = scratch_sizes(&problem);
        let mut packed = b.pool.take(sizes.packed);
        let (mut scores, mut more) = (b.pool.take(sizes.scores), b.pool.take(sizes.scores));
        let mut gradients = values.map(|x| b.pool.zeros(x.data.len()));
        let [dq, dk, dv] = &mut gradients;
        let no_bias: &mut [f32] = &mut [];
        let d_bias = self.bias.map_or(no_bias, |id| b.grads.get_mut(id));
        let scratch = Scratch { packed: &mut packed, scores: &mut scores, more: &mut more };
        backward_all(b.level, problem, scratch, probabilities, &dy, Gradients { dq, dk, dv, d_bias });
        for buffer in [packed, scores, more, dy] {
            b.pool.give(buffer);
        }
        for (x, gradient) in [self.q, self.k, self.v].into_iter().zip(gradients) {
            b.give(x, gradient);
        }
    }
}
