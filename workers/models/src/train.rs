//! What a training loop needs of a model: its weights, and the loss of some examples on a tape.
//!
//! The loop (order, threads, optimizer, checkpoints) is no business of models.

use recmesh_kernels::{Params, Tape, Var};

/// A model that can be trained.
pub trait Trainable: Sync {
    /// One unit of the training split: a user's sequence, a row.
    type Example: Sync;

    /// The weights.
    fn params(&self) -> &Params;

    /// The weights, to be changed.
    fn params_mut(&mut self) -> &mut Params;

    /// How many targets an example holds; the loss of a step is divided by their sum.
    fn weight(&self, example: &Self::Example) -> f64;

    /// The sum of the examples' losses as a 1×1 value. `tape` was made over [`params`](Self::params); `noise` seeds
    /// sampled negatives (dropout is the tape's own matter).
    fn loss(&self, tape: &mut Tape<'_>, examples: &[&Self::Example], noise: u64) -> Var;
}
