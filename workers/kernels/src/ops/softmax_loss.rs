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
use crate::cpu::elementwise::{add_scaled, scale};
use crate::cpu::exp::exp;
use crate::cpu::kernel;
use crate::cpu::matmul::{Output, View, gemm};
use crate::cpu::reduce::{LANES, fold_sum, max_of};
use crate::graph::{Backward, Forward, Value, Var};

/// Rows of a chunk and classes of a block: a block of both is 512 KiB, within a core's second-level cache.
const CHUNK: usize = 256;
const BLOCK: usize = 512;

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
pub(crate) struct Running {
    pub max: f32,
    pub sum: f64,
    pub target: f32,
}

impl Running {
    pub const START: Self = Self { max: f32::NEG_INFINITY, sum: 0.0, target: f32::NEG_INFINITY };

    /// `−log softmax` of the target.
    pub fn loss(self) -> f64 {
        f64::from(self.max) + self.sum.ln() - f64::from(self.target)
    }
}

kernel! {
    /// Turns a row's logits into `e^(logit − max)` where `max` is the largest so far; returns it and the sum.
    fn exponentials<S>(row: &mut [f32], before: f32) -> (f32, f32) {
        let block = max_of(row);
        let max = if block > before { block } else { before };
        let mut lanes = [0.0; LANES];
        let (body, tail) = row.as_chunks_mut::<LANES>();
        for chunk in body {
            for i in 0..LANES {
                chunk[i] = exp::<S>(chunk[i] - max);
                lanes[i] += chunk[i];
            }
        }
        for (lane, value) in lanes.iter_mut().zip(tail) {
            *value = exp::<S>(*value - max);
            *lane += *value;
        }
        (max, fold_sum(lanes))
    }
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
        let (dim, count) = (x.cols, classes.len());
        assert_eq!(dim, table.cols, "columns of rows and table {}", table.name);
        assert_eq!(targets.len(), x.rows, "one target a row");
        assert!(targets.iter().all(|&t| (t as usize) < count), "targets lie within {count} classes");
        let weight_of = weights_of(weights, x.rows);
        let table = &table.data[classes.start * dim..classes.end * dim];
        let training = f.training;
        let chunk = CHUNK.min(x.rows);
        let mut logits = f.pool.take(chunk * if training { count } else { BLOCK.min(count) });
        let blocks = count.div_ceil(BLOCK);
        let mut maxima = f.pool.take(chunk * blocks);
        let mut dx = f.pool.take(if training { x.data.len() } else { 0 });
        let mut d_table = f.pool.zeros(if training { table.len() } else { 0 });
        let mut loss = 0.0;
        let mut states = [Running::START; CHUNK];
        for start in (0..x.rows).step_by(CHUNK) {
            let rows = CHUNK.min(x.rows - start);
            let x_chunk = View::new(&x.data[start * dim..(start + rows) * dim], rows, dim);
            states.fill(Running::START);
            for (block, first) in (0..count).step_by(BLOCK).enumerate() {
                let width = BLOCK.min(count - first);
                let at = if training { rows * first } else { 0 };
                let logits = &mut logits[at..at + rows * width];
                let weights = View::new(&table[first * dim..(first + width) * dim], width, dim);
                gemm(logits, Output::Write, 1.0, x_chunk, weights.t());
                for (row, logits) in logits.chunks_exact_mut(width).enumerate() {
                    let state = &mut states[row];
                    let target = targets[start + row] as usize;
                    if (first..first + width).contains(&target) {
                        state.target = logits[target - first];
                    }
                    let (max, sum) = exponentials(f.level, logits, state.max);
                    if max > state.max {
                        state.sum *= f64::from(state.max - max).exp();
                        state.max = max;
                    }
                    state.sum += f64::from(sum);
                    maxima[row * blocks + block] = max;
                }
            }
            for (row, state) in states[..rows].iter().enumerate() {
                loss += f64::from(weight_of(start + row)) * state.loss();
            }
            if !training {
                continue;
            }
            let dx_chunk = &mut dx[start * dim..(start + rows) * dim];
            for (block, first) in (0..count).step_by(BLOCK).enumerate() {
                let width = BLOCK.min(count - first);
                let p = &mut logits[rows * first..rows * (first + width)];
                for (row, p) in p.chunks_exact_mut(width).enumerate() {
                    let (state, weight) = (&states[row], weight_of(start + row));
                    let factor = f64::from(maxima[row * blocks + block] - state.max).exp() / state.sum;
                    crate::cpu::elementwise::scale_in_place(f.level, p, (f64::from(weight) * factor) as f32);
                    let target = targets[start + row] as usize;
                    if (first..first + width).contains(&target) {
                        p[target - first] -= weight;
                    }
                }
                let p = View::new(p, rows, width);
                let weights = View::new(&table[first * dim..(first + width) * dim], width, dim);
                let how = if block == 0 { Output::Write } else { Output::Add };
                gemm(dx_chunk, how, 1.0, p, weights);
                gemm(&mut d_table[first * dim..(first + width) * dim], Output::Add, 1.0, p.t(), x_chunk);
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
