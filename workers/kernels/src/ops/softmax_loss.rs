//! Cross-entropy over all classes, fused with the product that makes the logits.
//!
//! ```text
//! per chunk of rows:   blocks of classes: logits → running max → e^(logit − max) and its sum     (one product)
//!                      blocks of classes: e → weight · (p − one-hot) → d x, d table              (two products)
//! ```
//! In: rows, a table, targets, weights. Out: the weighted sum of losses. Holds one chunk of rows × classes, never all
//! rows. When training, the gradients of rows and table are computed on the way forward, where the exponentials are at
//! hand, and only scaled on the way back: three products instead of four.

use std::ops::Range;

use crate::ParamId;
use crate::buffer::Buffer;
use crate::cpu::elementwise::{add_scaled, scale, scale_in_place};
use crate::cpu::exp::exp_below;
use crate::cpu::matmul::{Output, View, gemm};
use crate::cpu::reduce::max_of;
use crate::cpu::{Level, kernel};
use crate::graph::{Backward, Forward, Value, Var};

/// Rows of a chunk and classes of a block: a block of both is 512 KiB, within a core's second-level cache.
const CHUNK: usize = 256;
const BLOCK: usize = 512;
/// A chunk's logits at most (32 MiB), unless that leaves too few rows for a fast product.
const MOST_LOGITS: usize = 8 << 20;
const LEAST_ROWS: usize = 32;

/// Rows whose logits over `classes` are held at once.
pub(crate) fn rows_at_once(classes: usize) -> usize {
    (MOST_LOGITS / classes.max(1)).clamp(LEAST_ROWS, CHUNK)
}

/// `Σ wᵢ · −log softmax(xᵢ · tableᵀ)[targetᵢ]`. Saved: 0 gradient of the rows, 1 gradient of the table's classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftmaxLoss {
    pub x: Var,
    pub table: ParamId,
    pub first: usize,
}

/// The weights, or ones.
pub(crate) fn weights_of(weights: Option<&[f32]>, rows: usize) -> impl Fn(usize) -> f32 + '_ {
    assert!(weights.is_none_or(|w| w.len() == rows), "one weight a row");
    move |row| weights.map_or(1.0, |w| w[row])
}

/// One row's state while its blocks pass.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f64,
    target: f32,
}

impl Running {
    const START: Self = Self { max: f32::NEG_INFINITY, sum: 0.0, target: f32::NEG_INFINITY };

    /// `−log softmax` of the target.
    fn loss(self) -> f64 {
        f64::from(self.max) + self.sum.ln() - f64::from(self.target)
    }
}

/// A chunk of rows against all classes.
struct Chunk<'a> {
    level: Level,
    x: View<'a>,
    rows: usize,
    dim: usize,
    table: &'a [f32],
    targets: &'a [u32],
}

kernel! {
    /// Turns a row's logits into `e^(logit − max)` where `max` is the largest so far; returns it and the sum.
    fn exponentials<S>(row: &mut [f32], before: f32) -> (f32, f32) {
        let block = max_of(row);
        let max = if block > before { block } else { before };
        (max, exp_below::<S>(row, max))
    }
}

impl Chunk<'_> {
    /// The blocks of classes: number, first class, how many, their rows of the table.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize, View<'_>)> {
        self.table.chunks(BLOCK * self.dim.max(1)).enumerate().map(|(block, rows)| {
            let width = rows.len() / self.dim.max(1);
            (block, block * BLOCK, width, View::new(rows, width, self.dim))
        })
    }

    /// Where a row's target lies in a block of classes.
    fn target_in(&self, row: usize, first: usize, width: usize) -> Option<usize> {
        (self.targets[row] as usize).checked_sub(first).filter(|&at| at < width)
    }

    /// Fills `states` and, block by block, the largest logit so far. `logits` keeps the exponentials of all blocks, or
    /// of the last one only.
    fn exponentiate(&self, logits: &mut [f32], keep: bool, states: &mut [Running], maxima: &mut [f32]) {
        states.fill(Running::START);
        for (block, first, width, table) in self.blocks() {
            let at = if keep { self.rows * first } else { 0 };
            let logits = &mut logits[at..at + self.rows * width];
            gemm(logits, Output::Write, 1.0, self.x, table.t());
            for (row, logits) in logits.chunks_exact_mut(width).enumerate() {
                let state = &mut states[row];
                if let Some(at) = self.target_in(row, first, width) {
                    state.target = logits[at];
                }
                let (max, sum) = exponentials(self.level, logits, state.max);
                state.sum = state.sum * f64::from(state.max - max).exp() + f64::from(sum);
                state.max = max;
                maxima[block * self.rows + row] = max;
            }
        }
    }

    /// Writes `dx` and adds to `d_table`, from the exponentials that [`Chunk::exponentiate`] kept.
    fn gradients(&self, kept: Kept<'_>, weight_of: impl Fn(usize) -> f32, dx: &mut [f32], d_table: &mut [f32]) {
        for (block, first, width, table) in self.blocks() {
            let p = &mut kept.exponentials[self.rows * first..self.rows * (first + width)];
            for (row, p) in p.chunks_exact_mut(width).enumerate() {
                let (state, weight) = (&kept.states[row], weight_of(row));
                let to_final = f64::from(kept.maxima[block * self.rows + row] - state.max).exp();
                scale_in_place(self.level, p, (f64::from(weight) * to_final / state.sum) as f32);
                if let Some(at) = self.target_in(row, first, width) {
                    p[at] -= weight;
                }
            }
            let p = View::new(p, self.rows, width);
            gemm(dx, if block == 0 { Output::Write } else { Output::Add }, 1.0, p, table);
            gemm(&mut d_table[first * self.dim..][..width * self.dim], Output::Add, 1.0, p.t(), self.x);
        }
    }
}

/// What one pass over the classes leaves for the next.
struct Kept<'a> {
    exponentials: &'a mut [f32],
    states: &'a [Running],
    maxima: &'a [f32],
}

impl SoftmaxLoss {
    pub fn forward(
        self,
        f: &mut Forward<'_>,
        classes: Range<usize>,
        targets: &[u32],
        weights: Option<&[f32]>,
    ) -> Value {
        let (x, table) = (f.value(self.x), f.params.get(self.table));
        let (dim, count, training) = (x.cols, classes.len(), f.training);
        assert_eq!(dim, table.cols, "columns of rows and table {}", table.name);
        assert_eq!(targets.len(), x.rows, "one target a row");
        assert!(targets.iter().all(|&t| (t as usize) < count), "targets lie within {count} classes");
        let weight_of = weights_of(weights, x.rows);
        let table = &table.data[classes.start * dim..classes.end * dim];
        let most = rows_at_once(count).min(x.rows.max(1));
        let mut logits = f.pool.take(most * if training { count } else { BLOCK.min(count) });
        let mut maxima = f.pool.take(most * count.div_ceil(BLOCK));
        let mut dx = f.pool.take(if training { x.data.len() } else { 0 });
        let mut d_table = f.pool.zeros(if training { table.len() } else { 0 });
        let mut states = [Running::START; CHUNK];
        let mut loss = 0.0;
        for start in (0..x.rows).step_by(most) {
            let rows = most.min(x.rows - start);
            let (values, states) = (start * dim..(start + rows) * dim, &mut states[..rows]);
            let targets = &targets[start..start + rows];
            let chunk =
                Chunk { level: f.level, x: View::new(&x.data[values.clone()], rows, dim), rows, dim, table, targets };
            chunk.exponentiate(&mut logits, training, states, &mut maxima);
            loss += (0..rows).map(|row| f64::from(weight_of(start + row)) * states[row].loss()).sum::<f64>();
            if training {
                let kept = Kept { exponentials: &mut logits, states, maxima: &maxima };
                chunk.gradients(kept, |row| weight_of(start + row), &mut dx[values], &mut d_table);
            }
        }
        f.pool.give(logits);
        f.pool.give(maxima);
        let mut out = f.scalar(loss as f32, true);
        out.saved = [dx, d_table, Buffer::default()];
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let mut dx = b.pool.take(y.saved[0].len());
        scale(b.level, &mut dx, dy[0], &y.saved[0]);
        let d_table = &y.saved[1];
        let cols = b.value(self.x).cols;
        add_scaled(b.level, &mut b.grads.get_mut(self.table)[self.first * cols..][..d_table.len()], dy[0], d_table);
        b.pool.give(dy);
        b.give(self.x, dx);
    }
}
