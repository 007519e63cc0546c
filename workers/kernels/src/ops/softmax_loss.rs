//! Cross-entropy over all classes, fused with the products that make its logits and its gradients.
//!
//! ```text
//! per chunk of rows:   panels of classes: logits → e = e^(logit − shift), summed                  (one product)
//!                      panels of classes: e · table → d x, eᵀ · (x · weight / sum) → d table      (two products)
//! ```
//! In: rows, a table, targets, weights. Out: the weighted sum of losses. Holds one chunk of rows × classes, never all
//! rows. A row's shift is its largest logit of the first panel, so its exponentials are made at once and never touched
//! again: division by their sum and the one-hot part are applied to the rows around the products. A row that outgrows
//! its shift sends the chunk back with the largest logits of all. When training, the gradients of rows and table are
//! computed on the way forward, where the exponentials are at hand, and only scaled on the way back. On a tape in bf16 the
//! operands of the three products are rounded; where an instruction multiplies bf16, [`super::softmax_bf16`] takes over.

use std::ops::Range;

use super::softmax_bf16;
use crate::ParamId;
use crate::buffer::{Buffer, Pool};
use crate::cpu::bf16::{round_in, rounding};
use crate::cpu::elementwise::{add_scaled, scale, scale_in_place};
use crate::cpu::exp::exp;
use crate::cpu::matmul::Output;
use crate::cpu::reduce::{LANES, fold_sum, max_of};
use crate::cpu::thin::{Left, thin};
use crate::cpu::{Level, kernel};
use crate::graph::{Backward, Forward, Value, Var};

/// Rows of a chunk.
pub(super) const CHUNK: usize = 256;
/// Classes of a panel: with a width of 64 it is 16 KiB, within the nearest cache.
const PANEL: usize = 64;
/// Rows whose logits of a panel are exponentiated while they are in the nearest cache; a whole number of tiles.
const GROUP: usize = 30;
/// Rows that a product over rows takes at once, for the same reason.
const DEPTH: usize = 128;
/// Panels whose exponentials are summed in f32.
pub(super) const SUMMED: usize = 8;
/// A sum beyond this has outgrown its shift.
pub(super) const LARGEST_SUM: f64 = 1e20;
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

/// One row's state while its panels pass.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub shift: f32,
    /// Sums of the last panels' exponentials.
    pub lanes: [f32; LANES],
    pub sum: f64,
    pub target: f32,
}

impl Row {
    pub const START: Self = Self { shift: f32::NEG_INFINITY, lanes: [0.0; LANES], sum: 0.0, target: f32::NEG_INFINITY };

    /// `−log softmax` of the target.
    pub fn loss(&self) -> f64 {
        f64::from(self.shift) + self.sum.ln() - f64::from(self.target)
    }
}

/// A chunk of rows against all classes.
struct Chunk<'a> {
    level: Level,
    x: &'a [f32],
    dim: usize,
    table: &'a [f32],
    targets: &'a [u32],
    /// Rows and table as products take them: the same, or rounded to bf16.
    operands: (&'a [f32], &'a [f32]),
    rounded: bool,
}

/// Memory of a chunk.
struct Scratch {
    /// Exponentials, a panel of all rows after another; of the last panel only when nothing trains.
    exponentials: Buffer,
    /// A panel of the table, transposed.
    packed: Buffer,
    /// Rows times their weight over their sum.
    scaled: Buffer,
}

kernel! {
    /// Rows of the table become columns of a panel; columns beyond the last row are zero.
    fn pack<S>(packed: &mut [f32], rows: &[f32], dim: usize) {
        for (c, panel) in packed.chunks_exact_mut(PANEL).enumerate() {
            let (filled, rest) = panel.split_at_mut(rows.len() / dim);
            for (value, row) in filled.iter_mut().zip(rows.chunks_exact(dim)) {
                *value = row[c];
            }
            rest.fill(0.0);
        }
    }
}

kernel! {
    /// Logits of rows over a panel, `pitch` apart, become `e^(logit − shift)`, added to the rows' lanes, and are rounded to
    /// bf16 where asked. The first panel sets the shift.
    pub(super) fn exponentials<S>(
        logits: &mut [f32],
        rows: &mut [Row],
        panel: (usize, usize),
        first: bool,
        rounded: bool,
    ) {
        let (pitch, width) = panel;
        for (logits, row) in logits.chunks_exact_mut(pitch).zip(rows) {
            let logits = &mut logits[..width];
            if first {
                row.shift = max_of(logits);
            }
            let shift = row.shift;
            let (body, tail) = logits.as_chunks_mut::<LANES>();
            for chunk in body {
                for (value, lane) in chunk.iter_mut().zip(&mut row.lanes) {
                    let e = exp::<S>(*value - shift);
                    *lane += e;
                    *value = if rounded { rounding(e) } else { e };
                }
            }
            for (lane, value) in row.lanes.iter_mut().zip(tail) {
                let e = exp::<S>(*value - shift);
                *lane += e;
                *value = if rounded { rounding(e) } else { e };
            }
        }
    }
}

kernel! {
    /// Raises the shifts to the largest logit of a panel, whose rows are `pitch` apart.
    pub(super) fn raise<S>(logits: &[f32], rows: &mut [Row], pitch: usize, width: usize) {
        for (logits, row) in logits.chunks_exact(pitch).zip(rows) {
            let max = max_of(&logits[..width]);
            row.shift = if max > row.shift { max } else { row.shift };
        }
    }
}

impl Chunk<'_> {
    fn rows(&self) -> usize {
        self.targets.len()
    }

    /// The panels of classes: first class, how many, their rows of the table.
    fn panels(&self) -> impl Iterator<Item = (usize, usize, &[f32])> {
        let panels = self.operands.1.chunks(PANEL * self.dim).enumerate();
        panels.map(|(panel, rows)| (panel * PANEL, rows.len() / self.dim, rows))
    }

    /// Logits of some rows over a packed panel.
    fn logits(&self, out: &mut [f32], packed: &[f32], first: usize, rows: usize) {
        let data = &self.operands.0[first * self.dim..];
        let left = Left { data, row: self.dim, step: 1, rows, depth: self.dim };
        thin(self.level, out, Output::Write, left, packed, PANEL);
    }

    /// Fills `states`; keeps the exponentials of all panels, or of the last one only.
    fn exponentiate(&self, memory: &mut Scratch, keep: bool, states: &mut [Row]) {
        states.fill(Row::START);
        if self.summed(memory, keep, states, true) {
            return;
        }
        states.fill(Row::START);
        for (_, width, rows) in self.panels() {
            pack(self.level, &mut memory.packed, rows, self.dim);
            let logits = &mut memory.exponentials[..self.rows() * PANEL];
            self.logits(logits, &memory.packed, 0, self.rows());
            raise(self.level, logits, states, PANEL, width);
        }
        self.summed(memory, keep, states, false);
    }

    /// Whether all sums stayed within bounds, which they do unless the shifts come from the first panel (`shifting`).
    fn summed(&self, memory: &mut Scratch, keep: bool, states: &mut [Row], shifting: bool) -> bool {
        let rows = self.rows();
        let classes = self.table.len() / self.dim;
        for (first, width, table) in self.panels() {
            pack(self.level, &mut memory.packed, table, self.dim);
            let at = if keep { rows * first } else { 0 };
            let panel = &mut memory.exponentials[at..at + rows * PANEL];
            for (group, logits) in panel.chunks_mut(GROUP * PANEL).enumerate() {
                let begin = group * GROUP;
                let count = logits.len() / PANEL;
                self.logits(logits, &memory.packed, begin, count);
                let states = &mut states[begin..begin + count];
                for ((logits, state), &target) in
                    logits.chunks_exact(PANEL).zip(&mut *states).zip(&self.targets[begin..])
                {
                    let at = (target as usize).wrapping_sub(first);
                    if at < width {
                        state.target = logits[at];
                    }
                }
                exponentials(self.level, logits, states, (PANEL, width), shifting && first == 0, self.rounded);
            }
            if (first / PANEL + 1).is_multiple_of(SUMMED) || first + width == classes {
                for state in states.iter_mut() {
                    state.sum += f64::from(fold_sum(std::mem::replace(&mut state.lanes, [0.0; LANES])));
                }
                // NaN, too, is no sum within bounds.
                if shifting && !states.iter().all(|state| state.sum <= LARGEST_SUM) {
                    return false;
                }
            }
        }
        true
    }

    /// Writes `dx` and adds to `d_table`, from the exponentials that [`Chunk::exponentiate`] kept.
    fn gradients(
        &self,
        memory: &mut Scratch,
        states: &[Row],
        weight_of: impl Fn(usize) -> f32,
        dx: &mut [f32],
        d_table: &mut [f32],
    ) {
        let (rows, dim) = (self.rows(), self.dim);
        let factor = |row: usize| (f64::from(weight_of(row)) / states[row].sum) as f32;
        for (row, scaled) in memory.scaled[..rows * dim].chunks_exact_mut(dim).enumerate() {
            scale(self.level, scaled, factor(row), &self.x[row * dim..][..dim]);
            if self.rounded {
                round_in(self.level, scaled);
            }
        }
        for (first, width, table) in self.panels() {
            let e = &memory.exponentials[rows * first..][..rows * PANEL];
            let how = if first == 0 { Output::Write } else { Output::Add };
            thin(self.level, dx, how, Left { data: e, row: PANEL, step: 1, rows, depth: width }, table, dim);
            let d_rows = &mut d_table[first * dim..][..width * dim];
            for (e, scaled) in e.chunks(DEPTH * PANEL).zip(memory.scaled[..rows * dim].chunks(DEPTH * dim)) {
                let left = Left { data: e, row: 1, step: PANEL, rows: width, depth: scaled.len() / dim };
                thin(self.level, d_rows, Output::Add, left, scaled, dim);
            }
        }
        for (row, dx) in dx.chunks_exact_mut(dim).enumerate() {
            let (weight, target) = (weight_of(row), self.targets[row] as usize * dim);
            scale_in_place(self.level, dx, factor(row));
            add_scaled(self.level, dx, -weight, &self.table[target..][..dim]);
            add_scaled(self.level, &mut d_table[target..][..dim], -weight, &self.x[row * dim..][..dim]);
        }
    }
}

impl Scratch {
    fn new(pool: &mut Pool, rows: usize, classes: usize, dim: usize, training: bool) -> Self {
        let panels = if training { classes.div_ceil(PANEL) } else { 1 };
        Self {
            exponentials: pool.take(rows * panels * PANEL),
            packed: pool.take(dim * PANEL),
            scaled: pool.take(if training { rows * dim } else { 0 }),
        }
    }

    fn end(self, pool: &mut Pool) {
        let Self { exponentials, packed, scaled } = self;
        [exponentials, packed, scaled].into_iter().for_each(|buffer| pool.give(buffer));
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
        let (dim, count, training) = (x.cols, classes.len(), f.training);
        assert!(dim > 0 && dim == table.cols, "columns of rows and table {}", table.name);
        assert_eq!(targets.len(), x.rows, "one target a row");
        assert!(targets.iter().all(|&t| (t as usize) < count), "targets lie within {count} classes");
        if let Some((loss, dx, d_table)) = softmax_bf16::forward(f, x, self.table, classes.clone(), targets, weights) {
            let mut out = f.scalar(loss as f32, true);
            out.saved = [dx, d_table, Buffer::default()];
            return out;
        }
        let weight_of = weights_of(weights, x.rows);
        let table = &table.data[classes.start * dim..classes.end * dim];
        let rounded_table = f.bf16.map(|weights| weights.rounded(f.level, f.params, self.table, classes.clone()));
        let mut rounded_rows = f.pool.take(if rounded_table.is_some() { x.data.len() } else { 0 });
        if rounded_table.is_some() {
            rounded_rows.copy_from_slice(&x.data);
            round_in(f.level, &mut rounded_rows);
        }
        let most = rows_at_once(count).min(x.rows.max(1));
        let mut memory = Scratch::new(f.pool, most, count, dim, training);
        let mut dx = f.pool.take(if training { x.data.len() } else { 0 });
        let mut d_table = f.pool.zeros(if training { table.len() } else { 0 });
        let mut states = [Row::START; CHUNK];
        let mut loss = 0.0;
        for start in (0..x.rows).step_by(most) {
            let rows = most.min(x.rows - start);
            let (values, states) = (start * dim..(start + rows) * dim, &mut states[..rows]);
            let targets = &targets[start..start + rows];
            let own = &x.data[values.clone()];
            let operands = match &rounded_table {
                Some(table) => (&rounded_rows[values.clone()], &table[..]),
                None => (own, table),
            };
            let rounded = rounded_table.is_some();
            let chunk = Chunk { level: f.level, x: own, dim, table, targets, operands, rounded };
            chunk.exponentiate(&mut memory, training, states);
            loss += (0..rows).map(|row| f64::from(weight_of(start + row)) * states[row].loss()).sum::<f64>();
            if training {
                chunk.gradients(&mut memory, states, |row| weight_of(start + row), &mut dx[values], &mut d_table);
            }
        }
        memory.end(f.pool);
        f.pool.give(rounded_rows);
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

#[cfg(test)]
mod tests {
    use crate::{Grads, Init, Level, Params, Role, Tape, Workspace};

    /// Loss and gradient of the rows in f64.
    fn naive(x: &[f32], table: &[f32], dim: usize, targets: &[u32]) -> (f64, Vec<f64>) {
        let (mut loss, mut dx) = (0.0, Vec::new());
        for (x, &target) in x.chunks_exact(dim).zip(targets) {
            let product = |row: &[f32]| row.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let logits: Vec<f64> = table.chunks_exact(dim).map(product).collect();
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - max).exp()).sum();
            loss += max + sum.ln() - logits[target as usize];
            for column in 0..dim {
                let pull = |(class, logit): (usize, &f64)| {
                    let one = f64::from(u8::from(class == target as usize));
                    ((logit - max).exp() / sum - one) * f64::from(table[class * dim + column])
                };
                dx.push(logits.iter().enumerate().map(pull).sum());
            }
        }
        (loss, dx)
    }

    /// The largest logits lie far beyond those of the first panel, both ways, in some rows only; classes and rows are
    /// no whole number of panels and tiles.
    #[test]
    fn rows_that_outgrow_their_first_panel_are_exact_at_every_level() {
        let (rows, dim, classes) = (37, 5, 201);
        let x: Vec<f32> = (0..rows * dim).map(|i| (i as f32 * 0.7).sin()).collect();
        let every: Vec<u32> = (0..rows as u32).collect();
        let targets: Vec<u32> = (0..rows as u32).map(|row| row * 5 % classes as u32).collect();
        for (class, size) in [(150, 90.0), (200, 300.0), (3, 200.0), (70, -80.0)] {
            let mut params = Params::default();
            let id = params.add("table", Role::Embedding, classes, dim, Init::Normal(1.0), 7);
            params.get_mut(id).data[class * dim..][..dim].fill(size);
            let own = params.add("rows", Role::Embedding, rows, dim, Init::Zeros, 7);
            params.get_mut(own).data.copy_from_slice(&x);
            let (loss, dx) = naive(&x, &params.get(id).data, dim, &targets);
            for level in Level::all() {
                let mut workspace = Workspace::with_level(level);
                let mut grads = Grads::zeros(&params);
                let mut tape = Tape::train(&params, &mut workspace, 0);
                // The rows are a table of their own, so that their gradient can be read.
                let input = tape.embed(own, &every);
                let value = tape.softmax_loss(input, id, 0..classes, &targets, None);
                let found = f64::from(tape.value(value)[0]);
                assert!((found - loss).abs() <= 1e-5 * loss.abs().max(1.0), "{level:?} {class}: {found} {loss}");
                tape.backward(&[(value, 1.0)], &mut grads);
                for (at, (&found, &exact)) in grads.get(own).iter().zip(&dx).enumerate() {
                    let bound = 1e-5 * f64::from(size.abs());
                    assert!((f64::from(found) - exact).abs() <= bound, "{level:?} {class} {at}: {found} {exact}");
                }
                assert!(grads.get(id).iter().all(|g| g.is_finite()));
            }
        }
    }
}
