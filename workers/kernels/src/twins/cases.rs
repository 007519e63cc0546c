//! What kernels are checked on: random, adversarial and trained matrices, the same on every machine.
//!
//! In: a seed and a shape. Out: matrices. Nothing is read from files; a caller that has real weights passes them in.

use crate::{Grads, Init, Params, Role, Tape, Workspace, noise};

/// Standard normals.
#[must_use]
pub fn normals(seed: u64, count: usize) -> Vec<f32> {
    // Taken out of the loop: inside, the optimiser does not come to an end.
    let key = noise::key_of("twins", seed);
    (0..count as u64).map(|i| noise::normal(key, i) as f32).collect()
}

/// Whole numbers below `end`.
#[must_use]
pub fn indices(seed: u64, count: usize, end: u32) -> Vec<u32> {
    let key = noise::key_of("indices", seed);
    (0..count as u64).map(|i| (noise::hash(key, i) % u64::from(end.max(1))) as u32).collect()
}

/// Normals with what activations have at their worst, row by row: nothing, zeros, outliers of 10⁶, denormals, one
/// outlier, NaN.
#[must_use]
pub fn adversarial(seed: u64, rows: usize, cols: usize) -> Vec<f32> {
    let mut x = normals(seed, rows * cols);
    for (row, part) in x.chunks_mut(cols.max(1)).enumerate() {
        match row % 6 {
            1 => part.fill(0.0),
            2 => part.iter_mut().step_by(7).for_each(|x| *x *= 1e6),
            3 => part.iter_mut().for_each(|x| *x *= 1e-40),
            4 => part[row % cols] *= 1e6,
            5 => part[row % cols] = f32::NAN,
            _ => {}
        }
    }
    x
}

/// The same without NaN.
#[must_use]
pub fn outlying(seed: u64, rows: usize, cols: usize) -> Vec<f32> {
    let mut x = adversarial(seed, rows, cols);
    x.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = -3.0);
    x
}

/// Rounds to bf16, ties to even; NaN stays NaN. What attention takes is rounded so, that no implementation may blame its
/// operands.
#[must_use]
pub fn bf16(x: f32) -> f32 {
    crate::bf16::widen(crate::bf16::round(x))
}

/// [`bf16`] of all.
#[must_use]
pub fn all_bf16(mut x: Vec<f32>) -> Vec<f32> {
    x.iter_mut().for_each(|x| *x = bf16(*x));
    x
}

/// Rows and columns of [`trained`].
pub const TRAINED: (usize, usize) = (384, 64);

/// An item table trained on a planted chain of items by gradient descent: structured, anisotropic rows such as a served
/// model has.
#[must_use]
pub fn trained() -> Vec<f32> {
    let (items, width) = TRAINED;
    let mut params = Params::default();
    let table = params.add("items", Role::Embedding, items, width, Init::Normal(0.05), 7);
    let mut workspace = Workspace::default();
    for step in 0..60_u64 {
        let from = indices(step, 128, items as u32);
        let noise = indices(step + 1000, 128, 8);
        // The next item lies a few places on; low numbers are popular.
        let to: Vec<u32> = from.iter().zip(&noise).map(|(&from, &by)| (from / 2 + by) % items as u32).collect();
        let mut grads = Grads::zeros(&params);
        let mut tape = Tape::train(&params, &mut workspace, step);
        let x = tape.embed(table, &from);
        let loss = tape.softmax_loss(x, table, 0..items, &to, None);
        tape.backward(&[(loss, 1.0 / 128.0)], &mut grads);
        let gradient = grads.get(table).to_vec();
        for (weight, gradient) in params.get_mut(table).data.iter_mut().zip(gradient) {
            *weight -= 8.0 * gradient;
        }
    }
    params.get(table).data.clone()
}
