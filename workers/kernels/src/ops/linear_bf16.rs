//! The products of a linear map with operands in bf16.
//!
//! ```text
//! y  = x · Wᵀ          x  left,  Wᵀ right (packed once a step)
//! dx = dy · W          dy left,  W  right (packed once a step)
//! dW = dyᵀ · x         dyᵀ left, x  right
//! ```
//! In: f32 rows. Out: f32 sums, written or added to. Rounds operands and nothing else; bounds stand in
//! [`crate::cpu::bf16`]. Where no instruction multiplies bf16, rounded copies are multiplied in f32.

use crate::ParamId;
use crate::buffer::{Buffer, Pool};
use crate::cpu::Level;
use crate::cpu::bf16::pack::{Of, pack_left, pack_right, words};
use crate::cpu::bf16::{Left, Right, product, round_in};
use crate::cpu::matmul::{Output, View, gemm};
use crate::graph::{Backward, Forward, Value};
use crate::{Bf16Weights, Params};

/// The weights of a product with rows on its left.
#[derive(Clone, Copy)]
struct Weights<'a> {
    of: &'a Bf16Weights,
    params: &'a Params,
    id: ParamId,
    /// `Wᵀ`, or `W`.
    side: Of,
}

impl Weights<'_> {
    /// `out = x · W` or `x · Wᵀ`, or adds it; `x` is `[rows × depth]`.
    fn times(
        self,
        level: Level,
        pool: &mut Pool,
        out: &mut [f32],
        how: Output,
        (x, rows, depth): (&[f32], usize, usize),
    ) {
        let Self { of, params, id, side } = self;
        let w = params.get(id);
        if !level.multiplies_bf16() {
            let (left, right) = (rounded(level, pool, x), of.rounded(level, params, id, 0..w.rows));
            let right = View::new(&right, w.rows, w.cols);
            let right = if side == Of::Transpose { right.t() } else { right };
            gemm(out, how, 1.0, View::new(&left, rows, depth), right);
            return pool.give(left);
        }
        let right = of.right(level, params, id, 0..w.rows, side);
        let width = if side == Of::Transpose { w.rows } else { w.cols };
        let mut left = pool.take(words(rows, depth));
        pack_left(level, left.words_mut(), x, (rows, depth), Of::Matrix);
        product(level, out, how, Left::new(left.words(), rows, depth), Right::new(right.words(), depth, width));
        pool.give(left);
    }
}

/// A rounded copy.
fn rounded(level: Level, pool: &mut Pool, x: &[f32]) -> Buffer {
    let mut copy = pool.take(x.len());
    copy.copy_from_slice(x);
    round_in(level, &mut copy);
    copy
}

/// `out = x · Wᵀ`, or adds it, where the tape is one in bf16; says whether it was.
pub(crate) fn forward(f: &mut Forward<'_>, x: &Value, weight: ParamId, out: &mut [f32], how: Output) -> bool {
    let Some(of) = f.bf16 else { return false };
    let weights = Weights { of, params: f.params, id: weight, side: Of::Transpose };
    weights.times(f.level, f.pool, out, how, (&x.data, x.rows, x.cols));
    true
}

/// `dW += dyᵀ · x`, where the tape is one in bf16; says whether it was.
pub(crate) fn weight_gradient(b: &mut Backward<'_>, x: &Value, weight: ParamId, dy: &[f32]) -> bool {
    if b.bf16.is_none() {
        return false;
    }
    let (rows, width) = (x.rows, b.params.get(weight).rows);
    let (left, right) = if b.level.multiplies_bf16() {
        let (mut left, mut right) = (b.pool.take(words(width, rows)), b.pool.take(words(x.cols, rows)));
        pack_left(b.level, left.words_mut(), dy, (rows, width), Of::Transpose);
        pack_right(b.level, right.words_mut(), &x.data, (rows, x.cols), Of::Matrix);
        let sides = (Left::new(left.words(), width, rows), Right::new(right.words(), rows, x.cols));
        product(b.level, b.grads.get_mut(weight), Output::Add, sides.0, sides.1);
        (left, right)
    } else {
        let (left, right) = (rounded(b.level, b.pool, dy), rounded(b.level, b.pool, &x.data));
        let sides = (View::new(&left, rows, width).t(), View::new(&right, rows, x.cols));
        gemm(b.grads.get_mut(weight), Output::Add, 1.0, sides.0, sides.1);
        (left, right)
    };
    b.pool.give(left);
    b.pool.give(right);
    true
}

/// `dx = dy · W`, or adds it, where the tape is one in bf16; says whether it was.
pub(crate) fn input_gradient(
    b: &mut Backward<'_>,
    (dy, rows): (&[f32], usize),
    weight: ParamId,
    dx: &mut [f32],
    how: Output,
) -> bool {
    let Some(of) = b.bf16 else { return false };
    let weights = Weights { of, params: b.params, id: weight, side: Of::Matrix };
    weights.times(b.level, b.pool, dx, how, (dy, rows, b.params.get(weight).rows));
    true
}

#[cfg(test)]
mod tests {
    use crate::bf16::{round, widen};
    use crate::{Bf16Weights, Grads, Init, Level, Params, Role, Tape, Workspace};

    /// Values and gradients against sums of rounded operands in f64: rows and weights forward; the incoming gradient,
    /// which is another map's rounded weight, and rows or weights going back.
    #[test]
    fn values_and_gradients_are_those_of_rounded_operands_at_every_level() {
        let of = |x: f32| f64::from(widen(round(x)));
        for (rows, width, out) in [(1, 1, 1), (19, 33, 17), (70, 8, 40)] {
            let mut params = Params::default();
            let own = params.add("rows", Role::Embedding, rows, width, Init::Normal(1.0), 3);
            let weight = params.add("weight", Role::Matrix, out, width, Init::Normal(0.5), 3);
            let bias = params.add("bias", Role::Vector, 1, out, Init::Normal(1.0), 3);
            let last = params.add("last", Role::Matrix, 1, out, Init::Normal(1.0), 3);
            let ids: Vec<u32> = (0..rows as u32).collect();
            let [x, w, b, last] = [own, weight, bias, last].map(|id| (id, params.get(id).data.clone()));
            for level in Level::all() {
                let (mut workspace, mut grads) = (Workspace::with_level(level), Grads::zeros(&params));
                let weights = Bf16Weights::default();
                let mut tape = Tape::train_bf16(&params, &mut workspace, 0, &weights);
                let input = tape.embed(own, &ids);
                let hidden = tape.linear(input, weight, Some(bias));
                let score = tape.linear(hidden, last.0, None);
                let found = tape.value(hidden).to_vec();
                let near = |what: &str, at: usize, found: f32, terms: &mut dyn Iterator<Item = f64>| {
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    let error = (f64::from(found) - sum).abs();
                    assert!(error <= 1e-5 * size, "{level:?} {what} {rows} {at}: {found} {sum}");
                };
                for (at, &found) in found.iter().enumerate() {
                    let (row, o) = (at / out, at % out);
                    let products = (0..width).map(|c| of(x.1[row * width + c]) * of(w.1[o * width + c]));
                    near("value", at, found, &mut products.chain([f64::from(b.1[o])]));
                }
                let value = tape.bce_loss(score, &vec![0.0; rows], None);
                let slopes: Vec<f32> = tape.value(score).iter().map(|&z| 1.0 / (1.0 + (-z).exp())).collect();
                tape.backward(&[(value, 1.0)], &mut grads);
                // What reaches `hidden`: rounded slope times rounded weight, whose sum of one term is f32.
                let dy = |row: usize, o: usize| (of(slopes[row]) * of(last.1[o])) as f32;
                let coarse = |what: &str, at: usize, found: f32, terms: &mut dyn Iterator<Item = f64>| {
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    // A slope may be rounded to a neighbour here, as the exponential differs in its last bit.
                    let error = (f64::from(found) - sum).abs();
                    assert!(error <= 0.008 * size, "{level:?} {what} {rows} {at}: {found} {sum}");
                };
                for (at, &found) in grads.get(own).iter().enumerate() {
                    let (row, c) = (at / width, at % width);
                    coarse("rows", at, found, &mut (0..out).map(|o| of(dy(row, o)) * of(w.1[o * width + c])));
                }
                for (at, &found) in grads.get(weight).iter().enumerate() {
                    let (o, c) = (at / width, at % width);
                    coarse("weight", at, found, &mut (0..rows).map(|row| of(dy(row, o)) * of(x.1[row * width + c])));
                }
            }
        }
    }
}
