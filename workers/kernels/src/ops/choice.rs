//! Cross-entropy over each row's own options: a softmax over some rows of a table, other ones for every row.
//!
//! In: rows, a table, options one list after another, which option is right, weights. Out: the weighted sum of losses.
//! When training, the gradient of the rows and the pull of every option are computed on the way forward. Made for
//! short lists; a list that is the same for all rows is the full softmax.

use crate::ParamId;
use crate::buffer::Buffer;
use crate::cpu::elementwise::{add_scaled, scale};
use crate::cpu::reduce::dot;
use crate::graph::{Backward, Forward, Value, Var};
use crate::ops::softmax_loss::weights_of;

/// Options of rows, one list after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// Rows of the table.
    pub ids: &'a [u32],
    /// Where each row's list starts; rows + 1 entries.
    pub offsets: &'a [u32],
    /// Place of the right option in each row's list.
    pub right: &'a [u32],
}

/// Saved: 0 gradient of the rows; 1 `w · (p − y)` of every option; 2 options, then offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChoiceLoss {
    pub x: Var,
    pub table: ParamId,
}

impl ChoiceLoss {
    pub fn forward(self, f: &mut Forward<'_>, options: Options<'_>, weights: Option<&[f32]>) -> Value {
        let Options { ids, offsets, right } = options;
        let (x, table) = (f.value(self.x), f.params.get(self.table));
        let dim = x.cols;
        assert_eq!(dim, table.cols, "columns of rows and table {}", table.name);
        assert_eq!((offsets.len(), right.len()), (x.rows + 1, x.rows), "a list and a right option a row");
        assert_eq!(offsets[x.rows] as usize, ids.len(), "the lists' end");
        let weight_of = weights_of(weights, x.rows);
        let mut dx = f.pool.zeros(if f.training { x.data.len() } else { 0 });
        let mut pulls = f.pool.take(ids.len());
        let mut loss = 0.0;
        for row in 0..x.rows {
            let list = offsets[row] as usize..offsets[row + 1] as usize;
            let target = right[row] as usize;
            assert!(target < list.len(), "row {row}: option {target} of {}", list.len());
            let own = &x.data[row * dim..][..dim];
            let weight = f64::from(weight_of(row));
            let scores = &mut pulls[list.clone()];
            for (score, &id) in scores.iter_mut().zip(&ids[list.clone()]) {
                *score = dot(f.level, own, &table.data[id as usize * dim..][..dim]);
            }
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|&score| f64::from(score - max).exp()).sum();
            loss += weight * (f64::from(max) + sum.ln() - f64::from(scores[target]));
            if f.training {
                for (place, (score, &id)) in scores.iter_mut().zip(&ids[list]).enumerate() {
                    let p = f64::from(*score - max).exp() / sum;
                    *score = (weight * (p - f64::from(u8::from(place == target)))) as f32;
                    add_scaled(f.level, &mut dx[row * dim..][..dim], *score, &table.data[id as usize * dim..][..dim]);
                }
            }
        }
        let mut out = f.scalar(loss as f32, true);
        if f.training {
            let mut lists = f.pool.take(ids.len() + offsets.len());
            lists.words_mut()[..ids.len()].copy_from_slice(ids);
            lists.words_mut()[ids.len()..].copy_from_slice(offsets);
            out.saved = [dx, pulls, lists];
        } else {
            f.pool.give(dx);
            f.pool.give(pulls);
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let x = b.value(self.x);
        let [saved_dx, pulls, lists] = &y.saved;
        let cols = x.cols;
        let (ids, offsets) = lists.words().split_at(lists.len() - x.rows - 1);
        let grad = b.grads.get_mut(self.table);
        for row in 0..x.rows {
            let own = &x.data[row * cols..][..cols];
            for place in offsets[row] as usize..offsets[row + 1] as usize {
                let id = ids[place] as usize;
                add_scaled(b.level, &mut grad[id * cols..][..cols], dy[0] * pulls[place], own);
            }
        }
        let mut dx = b.pool.take(saved_dx.len());
        scale(b.level, &mut dx, dy[0], saved_dx);
        b.pool.give(dy);
        b.give(self.x, dx);
    }
}
