//! A small Adam and a naive AUC, so that models can be trained where no trainer may be imported.

use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use recmesh_kernels::{Grads, Tape, Workspace};

use crate::Trainable;

/// Trains for some epochs in batches of 64.
pub(super) fn train<M: Trainable>(model: &mut M, examples: &[M::Example], epochs: usize, rate: f32) {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut workspace = Workspace::default();
    let mut grads = Grads::zeros(model.params());
    let mut moments: Vec<Vec<[f32; 2]>> =
        model.params().tensors().iter().map(|t| vec![[0.0; 2]; t.data.len()]).collect();
    let mut step = 0i32;
    for _ in 0..epochs {
        order.shuffle(&mut random);
        for batch in order.chunks(64) {
            let batch: Vec<&M::Example> = batch.iter().map(|&i| &examples[i]).collect();
            let total: f64 = batch.iter().map(|e| model.weight(e)).sum();
            step += 1;
            grads.clear();
            let mut tape = Tape::train(model.params(), &mut workspace, step as u64);
            let loss = model.loss(&mut tape, &batch, step as u64);
            tape.backward(&[(loss, 1.0 / total as f32)], &mut grads);
            let correct = [1.0 - 0.9f32.powi(step), 1.0 - 0.999f32.powi(step)];
            for (t, tensor) in model.params_mut().tensors_mut().iter_mut().enumerate() {
                let grad = grads.get(recmesh_kernels::ParamId(t));
                for ((x, &g), m) in tensor.data.iter_mut().zip(grad).zip(&mut moments[t]) {
                    *m = [0.9 * m[0] + 0.1 * g, 0.999 * m[1] + 0.001 * g * g];
                    *x -= rate * (m[0] / correct[0]) / ((m[1] / correct[1]).sqrt() + 1e-8);
                }
            }
        }
    }
}

/// The chance that a yes scores above a no; ties count half.
pub(super) fn auc(scores: impl Iterator<Item = f32>, labels: impl Iterator<Item = bool>) -> f64 {
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    scores.zip(labels).for_each(|(s, y)| if y { yes.push(s) } else { no.push(s) });
    let won = |a: f32| no.iter().map(|&b| f64::from(u8::from(a > b)) + 0.5 * f64::from(u8::from(a == b))).sum::<f64>();
    yes.iter().map(|&a| won(a)).sum::<f64>() / (yes.len() * no.len()) as f64
}
