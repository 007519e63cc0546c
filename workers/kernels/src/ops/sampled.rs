//! Cross-entropy over each row's target and negatives shared by all rows.
//!
//! In: rows, a table, targets, negatives, weights. Out: the weighted sum of losses. A negative equal to a row's target
//! is left out for that row. When training, gradients of rows, negatives and targets are computed on the way forward
//! and scaled on the way back. Holds one chunk of rows × negatives.

use crate::ParamId;
use crate::buffer::Buffer;
use crate::cpu::elementwise::{add_scaled, scale};
use crate::cpu::exp::exp_below;
use crate::cpu::kernel;
use crate::cpu::matmul::{Output, View, gemm};
use crate::cpu::reduce::{dot, max_of};
use crate::graph::{Backward, Forward, Value, Var};
use crate::ops::softmax_loss::{rows_at_once, weights_of};

/// Saved: 0 gradient of the rows; 1 gradient of the gathered negatives, then each row's `w · (p − 1)` of its target;
/// 2 negatives, then targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampledLoss {
    pub x: Var,
    pub table: ParamId,
}

kernel! {
    /// Turns logits into `e^(logit − max)`, zero where the negative is the target; returns the largest logit seen
    /// (the target's own included) and the sum of the row.
    fn exponentials<S>(row: &mut [f32], negatives: &[u32], target: u32, own: f32) -> (f32, f32) {
        for (value, &negative) in row.iter_mut().zip(negatives) {
            *value = if negative == target { f32::NEG_INFINITY } else { *value };
        }
        let largest = max_of(row);
        let max = if largest > own { largest } else { own };
        (max, exp_below::<S>(row, max))
    }
}

impl SampledLoss {
    pub fn forward(self, f: &mut Forward<'_>, targets: &[u32], negatives: &[u32], weights: Option<&[f32]>) -> Value {
        let (x, table) = (f.value(self.x), f.params.get(self.table));
        let (dim, count) = (x.cols, negatives.len());
        assert_eq!(dim, table.cols, "columns of rows and table {}", table.name);
        assert_eq!(targets.len(), x.rows, "one target a row");
        let weight_of = weights_of(weights, x.rows);
        let mut gathered = f.pool.take(count * dim);
        for (to, &id) in gathered.chunks_exact_mut(dim.max(1)).zip(negatives) {
            to.copy_from_slice(&table.data[id as usize * dim..][..dim]);
        }
        let most = rows_at_once(count);
        let mut logits = f.pool.take(most.min(x.rows) * count);
        let mut dx = f.pool.take(if f.training { x.data.len() } else { 0 });
        let mut d_rows = f.pool.zeros(if f.training { count * dim + x.rows } else { 0 });
        let mut loss = 0.0;
        for start in (0..x.rows).step_by(most) {
            let rows = most.min(x.rows - start);
            let chunk = View::new(&x.data[start * dim..(start + rows) * dim], rows, dim);
            let logits = &mut logits[..rows * count];
            gemm(logits, Output::Write, 1.0, chunk, View::new(&gathered, count, dim).t());
            for row in 0..rows {
                let (at, target, weight) = (start + row, targets[start + row], weight_of(start + row));
                let own_row = &table.data[target as usize * dim..][..dim];
                let own = dot(f.level, &x.data[at * dim..][..dim], own_row);
                let logits = &mut logits[row * count..(row + 1) * count];
                let (max, sum) = exponentials(f.level, logits, negatives, target, own);
                let own_part = f64::from(own - max).exp();
                let all = f64::from(sum) + own_part;
                loss += f64::from(weight) * (f64::from(max) + all.ln() - f64::from(own));
                if f.training {
                    crate::cpu::elementwise::scale_in_place(f.level, logits, (f64::from(weight) / all) as f32);
                    let pull = (f64::from(weight) * (own_part / all - 1.0)) as f32;
                    scale(f.level, &mut dx[at * dim..][..dim], pull, own_row);
                    d_rows[count * dim + at] = pull;
                }
            }
            if f.training {
                let p = View::new(logits, rows, count);
                gemm(&mut dx[start * dim..][..rows * dim], Output::Add, 1.0, p, View::new(&gathered, count, dim));
                gemm(&mut d_rows[..count * dim], Output::Add, 1.0, p.t(), chunk);
            }
        }
        f.pool.give(gathered);
        f.pool.give(logits);
        let mut out = f.scalar(loss as f32, true);
        if f.training {
            let mut ids = f.pool.take(count + targets.len());
            ids.words_mut()[..count].copy_from_slice(negatives);
            ids.words_mut()[count..].copy_from_slice(targets);
            out.saved = [dx, d_rows, ids];
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let x = b.value(self.x);
        let [saved_dx, d_rows, ids] = &y.saved;
        let cols = x.cols;
        let (negatives, targets) = ids.words().split_at(ids.len() - x.rows);
        let grad = b.grads.get_mut(self.table);
        for (i, &id) in negatives.iter().enumerate() {
            add_scaled(b.level, &mut grad[id as usize * cols..][..cols], dy[0], &d_rows[i * cols..][..cols]);
        }
        let pulls = &d_rows[negatives.len() * cols..];
        for (row, &id) in targets.iter().enumerate() {
            let row_values = &x.data[row * cols..][..cols];
            add_scaled(b.level, &mut grad[id as usize * cols..][..cols], dy[0] * pulls[row], row_values);
        }
        let mut dx = b.pool.take(saved_dx.len());
        scale(b.level, &mut dx, dy[0], saved_dx);
        b.pool.give(dy);
        b.give(self.x, dx);
    }
}
