//! Cross-entropy over all classes with operands in bf16, where an instruction multiplies them: the products of
//! [`super::softmax_loss`] over packed sides.
//!
//! ```text
//! per chunk of rows:  panels of classes:  x · tableᵀ → logits f32 → e = e^(logit − shift) f32, summed, rounded
//!                     groups of panels:   e · table → d x
//!                     at the end:         eᵀ · (x · weight / sum) → d table
//! ```
//! In: rows, a table packed once a step, targets, weights. Out: the weighted sum of losses, and both gradients. Logits,
//! exponentials, their sums and the one-hot part are f32; only operands of products are rounded. Exponentials are kept
//! for a chunk, in 16 bits; d x needs them only once, since a row's sum is applied to it at the end.

use std::ops::Range;

use super::softmax_loss::{CHUNK, LARGEST_SUM, Row, SUMMED, exponentials, raise, rows_at_once, weights_of};
use crate::ParamId;
use crate::buffer::{Buffer, Pool};
use crate::cpu::Level;
use crate::cpu::bf16::pack::{
    DEPTH, Of, SIDE, TILE, pack_left, pack_right, pairs_of_columns, pairs_of_rows, turn, words,
};
use crate::cpu::bf16::{Left, Right, product};
use crate::cpu::elementwise::{add_scaled, scale, scale_in_place};
use crate::cpu::matmul::Output;
use crate::cpu::reduce::{LANES, fold_sum};
use crate::graph::{Forward, Value};

/// Classes of a panel: whole tiles.
const PANEL: usize = 64;
/// Classes whose exponentials enter d x together: whole panels.
const GROUP: usize = 4 * PANEL;

/// A chunk of rows against all classes.
struct Chunk<'a> {
    level: Level,
    x: &'a [f32],
    dim: usize,
    classes: usize,
    /// The table's transpose, and the table.
    across: Right<'a>,
    along: Right<'a>,
    targets: &'a [u32],
}

/// Memory of a chunk.
struct Scratch {
    /// The rows, packed.
    rows: Buffer,
    /// A panel of all rows.
    logits: Buffer,
    /// Exponentials of a group of classes, rows × classes.
    group: Buffer,
    /// Exponentials of all classes, classes × rows.
    kept: Buffer,
    /// Rows times their weight over their sum, and packed.
    scaled: Buffer,
    right: Buffer,
}

impl Chunk<'_> {
    fn rows(&self) -> usize {
        self.targets.len()
    }

    fn panels(&self, classes: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let end = classes.end;
        classes.step_by(PANEL).map(move |first| first..end.min(first + PANEL))
    }

    fn logits(&self, memory: &mut Scratch, panel: Range<usize>) {
        let rows = self.rows();
        let left = Left::new(&memory.rows.words()[..words(rows, self.dim)], rows, self.dim);
        let out = &mut memory.logits[..rows * panel.len()];
        product(self.level, out, Output::Write, left, self.across.cols(panel));
    }

    /// Fills `states`, `dx` but for sums and targets, and what is kept.
    fn exponentiate(&self, memory: &mut Scratch, states: &mut [Row], dx: &mut [f32]) {
        states.fill(Row::START);
        if self.summed(memory, states, dx, true) {
            return;
        }
        states.fill(Row::START);
        for panel in self.panels(0..self.classes) {
            self.logits(memory, panel.clone());
            raise(self.level, &memory.logits[..self.rows() * panel.len()], states, panel.len(), panel.len());
        }
        self.summed(memory, states, dx, false);
    }

    /// Whether all sums stayed within bounds, which they do unless the shifts come from the first panel (`shifting`).
    fn summed(&self, memory: &mut Scratch, states: &mut [Row], dx: &mut [f32], shifting: bool) -> bool {
        let rows = self.rows();
        for start in (0..self.classes).step_by(GROUP) {
            let group = start..self.classes.min(start + GROUP);
            for panel in self.panels(group.clone()) {
                self.logits(memory, panel.clone());
                let width = panel.len();
                let logits = &mut memory.logits[..rows * width];
                for ((logits, state), &target) in logits.chunks_exact(width).zip(&mut *states).zip(self.targets) {
                    if let Some(&logit) = logits.get((target as usize).wrapping_sub(panel.start)) {
                        state.target = logit;
                    }
                }
                exponentials(self.level, logits, states, (width, width), shifting && panel.start == 0, false);
                self.keep(memory, &panel, &group);
                if (panel.start / PANEL + 1).is_multiple_of(SUMMED) || panel.end == self.classes {
                    for state in states.iter_mut() {
                        state.sum += f64::from(fold_sum(std::mem::replace(&mut state.lanes, [0.0; LANES])));
                    }
                    // NaN, too, is no sum within bounds.
                    if shifting && !states.iter().all(|state| state.sum <= LARGEST_SUM) {
                        return false;
                    }
                }
            }
            let how = if start == 0 { Output::Write } else { Output::Add };
            let left = &memory.group.words()[..words(rows, group.len())];
            let left = Left::new(left, rows, group.len());
            product(self.level, dx, how, left, self.along.depth(group));
        }
        true
    }

    /// Packs a panel's exponentials twice: for d x, and for d table.
    fn keep(&self, memory: &mut Scratch, panel: &Range<usize>, group: &Range<usize>) {
        let (rows, width) = (self.rows(), panel.len());
        let Scratch { logits, group: along, kept, .. } = memory;
        let logits = &logits[..rows * width];
        let (ends, deep) = ((rows, width), group.len().div_ceil(DEPTH));
        let first = (panel.start - group.start) / DEPTH;
        let along = along.words_mut().as_chunks_mut::<TILE>().0;
        for row in (0..rows).step_by(SIDE) {
            for col in (0..width).step_by(DEPTH) {
                let tile = &mut along[row / SIDE * deep + first + col / DEPTH];
                pairs_of_columns(self.level, tile, logits, width, (row, col), ends);
            }
        }
        let deep = rows.div_ceil(DEPTH);
        let kept = kept.words_mut().as_chunks_mut::<TILE>().0;
        for row in (0..rows).step_by(DEPTH) {
            for col in (0..width).step_by(SIDE) {
                let tile = &mut kept[(panel.start + col) / SIDE * deep + row / DEPTH];
                pairs_of_rows(self.level, tile, logits, width, (row, col), ends);
                turn(self.level, tile);
            }
        }
    }

    /// Finishes `dx` and adds to `d_table`, from what [`Chunk::exponentiate`] left.
    fn gradients(
        &self,
        memory: &mut Scratch,
        states: &[Row],
        weight_of: impl Fn(usize) -> f32,
        (dx, d_table): (&mut [f32], &mut [f32]),
        table: &[f32],
    ) {
        let (rows, dim) = (self.rows(), self.dim);
        let factor = |row: usize| (f64::from(weight_of(row)) / states[row].sum) as f32;
        let scaled = &mut memory.scaled[..rows * dim];
        for (row, scaled) in scaled.chunks_exact_mut(dim).enumerate() {
            scale(self.level, scaled, factor(row), &self.x[row * dim..][..dim]);
        }
        let right = &mut memory.right.words_mut()[..words(dim, rows)];
        pack_right(self.level, right, scaled, (rows, dim), Of::Matrix);
        let left = Left::new(&memory.kept.words()[..words(self.classes, rows)], self.classes, rows);
        product(self.level, d_table, Output::Add, left, Right::new(right, rows, dim));
        for (row, dx) in dx.chunks_exact_mut(dim).enumerate() {
            let (weight, target) = (weight_of(row), self.targets[row] as usize * dim);
            scale_in_place(self.level, dx, factor(row));
            add_scaled(self.level, dx, -weight, &table[target..][..dim]);
            add_scaled(self.level, &mut d_table[target..][..dim], -weight, &self.x[row * dim..][..dim]);
        }
    }
}

impl Scratch {
    fn new(pool: &mut Pool, rows: usize, classes: usize, dim: usize) -> Self {
        Self {
            rows: pool.take(words(rows, dim)),
            logits: pool.take(rows * PANEL.min(classes)),
            group: pool.take(words(rows, GROUP.min(classes))),
            kept: pool.take(words(classes, rows)),
            scaled: pool.take(rows * dim),
            right: pool.take(words(dim, rows)),
        }
    }

    fn end(self, pool: &mut Pool) {
        let Self { rows, logits, group, kept, scaled, right } = self;
        [rows, logits, group, kept, scaled, right].into_iter().for_each(|buffer| pool.give(buffer));
    }
}

/// The loss, its gradients by the rows and by the table's classes, where the tape is one in bf16 and the level multiplies it.
pub(crate) fn forward(
    f: &mut Forward<'_>,
    x: &Value,
    table: ParamId,
    classes: Range<usize>,
    targets: &[u32],
    weights: Option<&[f32]>,
) -> Option<(f64, Buffer, Buffer)> {
    let packed = f.bf16.filter(|_| f.level.multiplies_bf16())?;
    let (dim, count) = (x.cols, classes.len());
    let weight_of = weights_of(weights, x.rows);
    let across = packed.right(f.level, f.params, table, classes.clone(), Of::Transpose);
    let along = packed.right(f.level, f.params, table, classes.clone(), Of::Matrix);
    let table = &f.params.get(table).data[classes.start * dim..classes.end * dim];
    let most = rows_at_once(count).min(x.rows.max(1));
    let mut memory = Scratch::new(f.pool, most, count, dim);
    let mut dx = f.pool.take(x.data.len());
    let mut d_table = f.pool.zeros(table.len());
    let mut states = [Row::START; CHUNK];
    let mut loss = 0.0;
    for start in (0..x.rows).step_by(most) {
        let rows = most.min(x.rows - start);
        let (values, states) = (start * dim..(start + rows) * dim, &mut states[..rows]);
        let chunk = Chunk {
            level: f.level,
            x: &x.data[values.clone()],
            dim,
            classes: count,
            across: Right::new(across.words(), dim, count),
            along: Right::new(along.words(), count, dim),
            targets: &targets[start..start + rows],
        };
        let packed = &mut memory.rows.words_mut()[..words(rows, dim)];
        pack_left(f.level, packed, chunk.x, (rows, dim), Of::Matrix);
        let dx = &mut dx[values];
        chunk.exponentiate(&mut memory, states, dx);
        loss += (0..rows).map(|row| f64::from(weight_of(start + row)) * states[row].loss()).sum::<f64>();
        chunk.gradients(&mut memory, states, |row| weight_of(start + row), (dx, &mut d_table), table);
    }
    memory.end(f.pool);
    Some((loss, dx, d_table))
}

#[cfg(test)]
mod tests {
    use crate::bf16::{round, widen};
    use crate::{Bf16Weights, Grads, Init, Level, Params, Role, Tape, Workspace};

    /// In f64, with rounded operands of the logits: the loss, gradients of rows and table, and for each of these the sum
    /// of sizes that bounds it.
    fn naive(x: &[f32], table: &[f32], dim: usize, targets: &[u32]) -> (f64, [Vec<f64>; 2], [Vec<f64>; 2]) {
        let of = |x: f32| f64::from(widen(round(x)));
        let (mut loss, mut d_table, mut t_size) = (0.0, vec![0.0; table.len()], vec![0.0; table.len()]);
        let (mut dx, mut x_size) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (row, (values, &target)) in x.chunks_exact(dim).zip(targets).enumerate() {
            let product = |line: &[f32]| line.iter().zip(values).map(|(&a, &b)| of(a) * of(b)).sum::<f64>();
            let logits: Vec<f64> = table.chunks_exact(dim).map(product).collect();
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - max).exp()).sum();
            loss += max + sum.ln() - logits[target as usize];
            for (class, logit) in logits.iter().enumerate() {
                let p = (logit - max).exp() / sum;
                let one = f64::from(u8::from(class == target as usize));
                for column in 0..dim {
                    let (t, v) = (f64::from(table[class * dim + column]), f64::from(values[column]));
                    dx[row * dim + column] += (p - one) * t;
                    x_size[row * dim + column] += (p + one) * t.abs();
                    d_table[class * dim + column] += (p - one) * v;
                    t_size[class * dim + column] += (p + one) * v.abs();
                }
            }
        }
        (loss, [dx, d_table], [x_size, t_size])
    }

    /// Ragged rows and classes, several groups and chunks, rows that outgrow the shift of their first panel: the loss is
    /// that of rounded rows and classes, and a gradient's terms are off by two roundings, 2 · 2⁻⁹, and a little.
    #[test]
    fn losses_and_gradients_are_those_of_rounded_operands_at_every_level() {
        let dim = 5;
        for (rows, classes, class, size) in
            [(37, 201, 150, 90.0), (1, 1, 0, 1.0), (300, 600, 599, 30.0), (9, 70, 3, -80.0)]
        {
            let x: Vec<f32> = (0..rows * dim).map(|i| (i as f32 * 0.7).sin()).collect();
            let every: Vec<u32> = (0..rows as u32).collect();
            let targets: Vec<u32> = every.iter().map(|row| row * 5 % classes as u32).collect();
            let mut params = Params::default();
            // Classes begin within the table.
            let id = params.add("table", Role::Embedding, classes + 3, dim, Init::Normal(1.0), 7);
            let table = &mut params.get_mut(id).data[3 * dim..];
            table[class * dim..][..dim].fill(size);
            let (loss, exact, sizes) = naive(&x, table, dim, &targets);
            let own = params.add("rows", Role::Embedding, rows, dim, Init::Zeros, 7);
            params.get_mut(own).data.copy_from_slice(&x);
            for level in Level::all() {
                let (mut workspace, mut grads) = (Workspace::with_level(level), Grads::zeros(&params));
                let weights = Bf16Weights::default();
                let mut tape = Tape::train_bf16(&params, &mut workspace, 0, &weights);
                let input = tape.embed(own, &every);
                let value = tape.softmax_loss(input, id, 3..classes + 3, &targets, None);
                let found = f64::from(tape.value(value)[0]);
                assert!((found - loss).abs() <= 1e-5 * loss.abs().max(1.0), "{level:?} {class}: {found} {loss}");
                tape.backward(&[(value, 1.0)], &mut grads);
                let table = &grads.get(id)[3 * dim..];
                for ((found, exact), sizes) in [grads.get(own), table].into_iter().zip(&exact).zip(&sizes) {
                    for (at, &found) in found.iter().enumerate() {
                        let bound = 0.0045 * sizes[at] + 1e-30;
                        assert!(
                            (f64::from(found) - exact[at]).abs() <= bound,
                            "{level:?} {class} {at}: {found} {exact:?}"
                        );
                    }
                }
            }
        }
    }
}
