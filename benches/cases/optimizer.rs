//! One step of the optimizers over the weights of a SASRec (12,000 items; two widths) beside a plain loop of Adam.
//! One thread.

use std::hint::black_box;

use anyhow::Result;
use recmesh_contract::config::{AdamW, Muon, MuonScale, NoParams, Optimizer, SasRec as Config, SoftmaxLoss};
use recmesh_kernels::{Grads, ParamId, Params};
use recmesh_learning::{Optimizer as Steps, StepScale};
use recmesh_models::{Trainable, retrieval::SasRec};

use super::{random::Random, training};
use crate::measure::{Bench, Side};

const ITEMS: usize = 12_000;

pub fn run(bench: &mut Bench) -> Result<()> {
    for dim in [64, 256] {
        let config = Config { dim, ..training::config(SoftmaxLoss::Full(NoParams {})) };
        let params = SasRec::new(&config, ITEMS, 12)?.params().clone();
        let grads = grads(&params);
        let muon = Muon {
            lr: 0.02,
            momentum: 0.95,
            nesterov: true,
            ns_steps: 5,
            scale: MuonScale::Keller,
            weight_decay: 0.0,
            adam: AdamW::default(),
        };
        let mut plain = Plain::new(&params);
        let mut sides = vec![Side::new("plain loop of Adam", || {
            plain.step(&grads);
            Ok(())
        })];
        for (name, config) in [("AdamW", Optimizer::default()), ("Muon and AdamW", Optimizer::Muon(muon))] {
            let (mut weights, mut steps) = (params.clone(), Steps::new(&config, &params));
            let grads = &grads;
            sides.push(Side::new(name, move || {
                steps.step(&mut weights, grads, StepScale { gradient: 1.0, rate: 1.0 }, 1);
                black_box(&weights);
                Ok(())
            }));
        }
        bench.compare(&format!("optimizer step, width {dim}"), "step", sides)?;
    }
    Ok(())
}

fn grads(params: &Params) -> Grads {
    let mut random = Random(13);
    let mut grads = Grads::zeros(params);
    for tensor in 0..params.tensors().len() {
        grads.get_mut(ParamId(tensor)).iter_mut().for_each(|value| *value = random.number() * 1e-2);
    }
    grads
}

/// Adam as its paper writes it, value by value.
struct Plain {
    weights: Vec<Vec<f32>>,
    mean: Vec<Vec<f32>>,
    square: Vec<Vec<f32>>,
    steps: i32,
}

impl Plain {
    fn new(params: &Params) -> Self {
        let weights: Vec<Vec<f32>> = params.tensors().iter().map(|tensor| tensor.data.clone()).collect();
        let zeros: Vec<Vec<f32>> = weights.iter().map(|tensor| vec![0.0; tensor.len()]).collect();
        Self { weights, mean: zeros.clone(), square: zeros, steps: 0 }
    }

    fn step(&mut self, grads: &Grads) {
        let AdamW { lr, beta1, beta2, eps, .. } = AdamW::default();
        let [lr, beta1, beta2, eps] = [lr, beta1, beta2, eps].map(|value| value as f32);
        self.steps += 1;
        let (first, second) = (1.0 - beta1.powi(self.steps), 1.0 - beta2.powi(self.steps));
        for (tensor, weights) in self.weights.iter_mut().enumerate() {
            let grad = grads.get(ParamId(tensor));
            let (mean, square) = (&mut self.mean[tensor], &mut self.square[tensor]);
            for at in 0..weights.len() {
                mean[at] = beta1 * mean[at] + (1.0 - beta1) * grad[at];
                square[at] = beta2 * square[at] + (1.0 - beta2) * grad[at] * grad[at];
                weights[at] -= lr * (mean[at] / first) / ((square[at] / second).sqrt() + eps);
            }
        }
        black_box(&self.weights);
    }
}
