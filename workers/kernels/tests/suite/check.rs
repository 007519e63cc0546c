//! The check every operation goes through: value and gradients of the tape against the naive machine, at every level.
//!
//! In: a model that ends in one loss. Out: nothing, or a failure that names tensor and element.

use std::collections::VecDeque;

use recmesh_kernels::{Grads, Level, ParamId, Params, Tape, Workspace};

use crate::machine::Machine;
use crate::naive::Naive;

/// A model over fixed parameters.
pub trait Model {
    fn loss<M: Machine>(&self, m: &mut M) -> M::Var;
}

/// Step of the central difference.
const STEP: f64 = 1e-5;

/// Asserts that loss and gradients agree: `|a − b| ≤ tolerance · (scale + |b|)`, scale the root mean square of the
/// tensor's gradient.
pub fn check(params: &Params, model: &impl Model, tolerance: f64) {
    run_check(params, model, tolerance, &Setting { noise: 0, masks: VecDeque::new(), every: 1 });
}

/// The same for one element in `every`, where a difference of each would take too long.
pub fn check_some(params: &Params, model: &impl Model, tolerance: f64, every: usize) {
    run_check(params, model, tolerance, &Setting { noise: 0, masks: VecDeque::new(), every });
}

/// The same for a model with dropout, whose masks under this noise are known.
pub fn check_with_masks(params: &Params, model: &impl Model, tolerance: f64, noise: u64, masks: VecDeque<Vec<f64>>) {
    run_check(params, model, tolerance, &Setting { noise, masks, every: 1 });
}

struct Setting {
    noise: u64,
    masks: VecDeque<Vec<f64>>,
    every: usize,
}

fn run_check(params: &Params, model: &impl Model, tolerance: f64, setting: &Setting) {
    let Setting { noise, masks, every } = setting;
    let run = |naive: &mut Naive| {
        naive.values.clear();
        naive.masks = masks.clone();
        let loss = model.loss(naive);
        naive.values[loss].data[0]
    };
    let mut naive = Naive::new(params);
    let expected = run(&mut naive);
    let gradients: Vec<Vec<f64>> = (0..params.tensors().len())
        .map(|t| {
            (0..params.tensors()[t].data.len())
                .step_by(*every)
                .map(|i| {
                    let original = naive.params[t].data[i];
                    naive.params[t].data[i] = original + STEP;
                    let above = run(&mut naive);
                    naive.params[t].data[i] = original - STEP;
                    let below = run(&mut naive);
                    naive.params[t].data[i] = original;
                    (above - below) / (2.0 * STEP)
                })
                .collect()
        })
        .collect();
    for level in Level::all() {
        let mut workspace = Workspace::with_level(level);
        let mut grads = Grads::zeros(params);
        let mut tape = Tape::train(params, &mut workspace, *noise);
        let loss = model.loss(&mut tape);
        let found = f64::from(tape.value(loss)[0]);
        assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{level:?} loss {found}, not {expected}");
        // Half now, half on top: gradients add up and scales are honoured.
        tape.backward(&[(loss, 0.25)], &mut grads);
        tape.backward(&[(loss, 0.5), (loss, 0.25)], &mut grads);
        for (t, exact) in gradients.iter().enumerate() {
            let scale = (exact.iter().map(|x| x * x).sum::<f64>() / exact.len().max(1) as f64).sqrt();
            for (i, (&found, &exact)) in grads.get(ParamId(t)).iter().step_by(*every).zip(exact).enumerate() {
                let error = (f64::from(found) - exact).abs();
                let name = &params.tensors()[t].name;
                assert!(
                    error <= tolerance * (scale + exact.abs()) + 2e-6,
                    "{level:?} {name}[{}]: {found}, not {exact}",
                    i * every
                );
            }
        }
        if masks.is_empty() {
            let mut tape = Tape::serve(params, &mut workspace);
            let loss = model.loss(&mut tape);
            let served = f64::from(tape.value(loss)[0]);
            assert!((served - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "serving: {served}, not {expected}");
        }
    }
}
