//! A step's gradient, computed on threads.
//!
//! In: a model and a batch. Out: the batch's loss, its gradient and the gradient's length. Micro-batch `i` belongs to
//! shard `i mod shards`, a shard does its micro-batches in order into its own gradient, and shards are summed in
//! order: which thread does which shard changes nothing, not even the last bit.

use std::sync::Mutex;

use recmesh_contract::config::Precision;
use recmesh_kernels::{Bf16Weights, Grads, ParamId, Params, Tape, Workspace, share};
use recmesh_models::Trainable;

use crate::batches::{micro_batch_size, noise, shards};
use crate::clip::sum_of_squares;

/// Elements in a piece of a tensor: what a thread sums, or updates, at a time. Fixed, since norms are summed by it.
pub(crate) const PIECE: usize = 1 << 14;
/// Elements that are skipped together when they are zero: about a row of a table.
const BLOCK: usize = 64;
/// Elements below which another thread costs more than it saves.
pub(crate) const WORTH_A_THREAD: usize = 1 << 18;

/// Where a step stands in the run; noise derives from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Seed of the run.
    pub seed: u64,
    /// Steps done before.
    pub step: u64,
}

/// What a step's backward pass found, beside the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// Sum of the losses.
    pub loss: f64,
    /// Weight of the batch; the gradient is that of `loss / weight`.
    pub weight: f64,
    /// L2 norm of the gradient.
    pub norm: f64,
}

/// Gradient memory of all shards; the first one also holds their sum.
pub(crate) struct Shards {
    shards: Vec<Shard>,
    /// Memory for tapes: one a thread that was at work at once. What lay in it before changes no result.
    workspaces: Mutex<Vec<Workspace>>,
    /// The weights of the step under way in bf16, packed once for all micro-batches, where that is the precision.
    bf16: Option<Bf16Weights>,
}

struct Shard {
    grads: Grads,
    /// Loss of each micro-batch of this shard, in order.
    losses: Vec<f64>,
}

impl Shards {
    /// Memory for batches of up to `batch_size` examples, and the precision of their products.
    pub fn new(params: &Params, batch_size: usize, precision: Precision) -> Self {
        let shard = |_| Shard { grads: Grads::zeros(params), losses: Vec::new() };
        let bf16 = (precision == Precision::Bf16).then(Bf16Weights::default);
        Self { shards: (0..shards(batch_size)).map(shard).collect(), workspaces: Mutex::default(), bf16 }
    }

    /// Loss and gradient of a batch; [`Shards::gradient`] holds the latter until the next call.
    pub fn differentiate<T: Trainable>(
        &mut self,
        model: &T,
        batch: &[&T::Example],
        place: Place,
        threads: usize,
    ) -> Found {
        let weight: f64 = batch.iter().map(|example| model.weight(example)).sum();
        let scale = (1.0 / weight) as f32;
        let micro_batches: Vec<&[&T::Example]> = batch.chunks(micro_batch_size(batch.len())).collect();
        let count = self.shards.len();

        // The weights changed with the last step.
        if let Some(bf16) = &mut self.bf16 {
            bf16.clear();
        }
        let (workspaces, bf16) = (&self.workspaces, self.bf16.as_ref());
        share(threads, self.shards.iter_mut().enumerate().collect(), |(at, shard): (usize, &mut Shard)| {
            // A poisoned lock means that another shard panicked; that panic is passed on.
            let mut workspace = workspaces.lock().ok().and_then(|mut free| free.pop()).unwrap_or_default();
            shard.losses.clear();
            // The other shards were left at zero when they were summed.
            if at == 0 {
                shard.grads.clear();
            }
            for (index, examples) in micro_batches.iter().enumerate().skip(at).step_by(count) {
                let (dropout, sampling) = noise(place.seed, place.step, index);
                let mut tape = match bf16 {
                    Some(bf16) => Tape::train_bf16(model.params(), &mut workspace, dropout, bf16),
                    None => Tape::train(model.params(), &mut workspace, dropout),
                };
                let loss = model.loss(&mut tape, examples, sampling);
                shard.losses.push(f64::from(tape.value(loss)[0]));
                tape.backward(&[(loss, scale)], &mut shard.grads);
            }
            if let Ok(mut free) = workspaces.lock() {
                free.push(workspace);
            }
        });

        let loss = (0..micro_batches.len()).map(|index| self.shards[index % count].losses[index / count]).sum();
        Found { loss, weight, norm: self.sum(model.params(), threads).sqrt() }
    }

    /// The gradient of the last batch.
    pub fn gradient(&self) -> &Grads {
        &self.shards[0].grads
    }

    /// Sums all shards into the first and zeroes the others; gives the sum's squared length.
    fn sum(&mut self, params: &Params, threads: usize) -> f64 {
        let Some((first, others)) = self.shards.split_first_mut() else { return 0.0 };
        let mut total = 0.0;
        for (index, tensor) in params.tensors().iter().enumerate() {
            let id = ParamId(index);
            let threads = if tensor.data.len() < WORTH_A_THREAD { 1 } else { threads };
            let mut squares = vec![0.0f64; tensor.data.len().div_ceil(PIECE)];
            let mut from: Vec<_> = others.iter_mut().map(|other| other.grads.get_mut(id).chunks_mut(PIECE)).collect();
            let pieces = first.grads.get_mut(id).chunks_mut(PIECE).zip(&mut squares).map(|(into, square)| Sum {
                into,
                from: from.iter_mut().filter_map(Iterator::next).collect(),
                square,
            });
            share(threads, pieces.collect(), Sum::run);
            total += squares.iter().sum::<f64>();
        }
        total
    }
}

/// One piece of a tensor in every shard.
struct Sum<'a> {
    into: &'a mut [f32],
    from: Vec<&'a mut [f32]>,
    square: &'a mut f64,
}

impl Sum<'_> {
    fn run(self) {
        for from in self.from {
            for (into, from) in self.into.chunks_mut(BLOCK).zip(from.chunks_mut(BLOCK)) {
                // Most rows of a large table have no gradient in a micro-batch: those are read and not written.
                if from.iter().fold(0, |bits, value| bits | value.to_bits()) << 1 == 0 {
                    continue;
                }
                for (into, from) in into.iter_mut().zip(from.iter()) {
                    *into += from;
                }
                // While it is in the cache: the next batch starts from zero.
                from.fill(0.0);
            }
        }
        *self.square = sum_of_squares(self.into);
    }
}
