//! One training step of a SASRec (16 sequences of 50, width 64, 2 blocks, 12,000 items): forward, backward, AdamW; with
//! the softmax over all items and over sampled ones. One thread.

use anyhow::{Result, ensure};
use recmesh_contract::config::{NoParams, Optimizer, SampledSoftmax, SasRec as Config, SoftmaxLoss};
use recmesh_kernels::{Grads, Tape, Workspace};
use recmesh_learning::{Optimizer as Steps, StepScale};
use recmesh_models::{
    Trainable,
    retrieval::{SasRec, SequenceExample},
};

use super::random::Random;
use crate::measure::{Bench, Side};

const ITEMS: usize = 12_000;
const SEQUENCES: usize = 16;
const LENGTH: usize = 50;

/// The model of this case.
pub fn config(loss: SoftmaxLoss) -> Config {
    let (blocks, heads, ffn, max_length) = (2, 2, 4, LENGTH as u32);
    Config { dim: 64, blocks, heads, ffn, max_length, dropout: 0.2, loss }
}

/// A model under way.
struct Run {
    model: SasRec,
    grads: Grads,
    optimizer: Steps,
    workspace: Workspace,
    done: u64,
}

impl Run {
    fn new(loss: SoftmaxLoss) -> Result<Self> {
        let model = SasRec::new(&config(loss), ITEMS, 4)?;
        let grads = Grads::zeros(model.params());
        let optimizer = Steps::new(&Optimizer::default(), model.params());
        Ok(Self { model, grads, optimizer, workspace: Workspace::default(), done: 0 })
    }

    fn step(&mut self, batch: &[&SequenceExample]) -> Result<()> {
        self.done += 1;
        self.grads.clear();
        let mut tape = Tape::train(self.model.params(), &mut self.workspace, self.done);
        let loss = self.model.loss(&mut tape, batch, self.done);
        ensure!(tape.value(loss)[0].is_finite(), "the loss is not a number");
        tape.backward(&[(loss, 1.0 / (SEQUENCES * LENGTH) as f32)], &mut self.grads);
        let scale = StepScale { gradient: 1.0, rate: 1.0 };
        self.optimizer.step(self.model.params_mut(), &self.grads, scale, 1);
        Ok(())
    }
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let mut random = Random(5);
    let sequence = |_| SequenceExample { items: (0..=LENGTH).map(|_| random.below(ITEMS) as u32).collect() };
    let examples: Vec<SequenceExample> = (0..SEQUENCES).map(sequence).collect();
    let batch: Vec<&SequenceExample> = examples.iter().collect();
    let sampled = |negatives| SoftmaxLoss::Sampled(SampledSoftmax { negatives });
    let mut runs = [
        ("full softmax", Run::new(SoftmaxLoss::Full(NoParams {}))?),
        ("2048 sampled", Run::new(sampled(2048))?),
        ("256 sampled", Run::new(sampled(256))?),
    ];
    let sides = runs.iter_mut().map(|(name, run)| Side::new(*name, || run.step(&batch)));
    bench.compare("training step of SASRec", "step", sides.collect())
}
