//! Moves weights along their gradient.
//!
//! In: weights, gradient, a clip factor and the schedule's share. Out: changed weights and state. Each tensor has one
//! rule for the whole run, decided by its role:
//!
//! | declared | embeddings | matrices | vectors |
//! |---|---|---|---|
//! | AdamW | AdamW with decay | AdamW with decay | AdamW |
//! | Muon | AdamW with decay | Muon with decay | AdamW |
//!
//! Never looks at losses.

mod adamw;
mod muon;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use recmesh_contract::config;
use recmesh_kernels::{Grads, ParamId, Params, Role, share};

use crate::shards::{PIECE, WORTH_A_THREAD};

/// An optimizer and its state for one [`Params`].
#[derive(Clone, Debug)]
pub struct Optimizer {
    config: config::Optimizer,
    steps: u64,
    slots: Vec<Slot>,
}

/// State of one tensor, in its shape.
#[derive(Clone, Debug, PartialEq)]
enum Slot {
    Adam { mean: Vec<f32>, square: Vec<f32> },
    Muon { momentum: Vec<f32> },
}

/// What a step is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepScale {
    /// Factor of the gradient: that of clipping.
    pub gradient: f64,
    /// The schedule's share of the highest rate.
    pub rate: f64,
}

/// Independent work of one step.
enum Piece<'a> {
    Adam(adamw::Piece<'a>),
    Muon(muon::Piece<'a>),
}

impl Optimizer {
    /// State at zero for these weights.
    #[must_use]
    pub fn new(config: &config::Optimizer, params: &Params) -> Self {
        let slot = |tensor: &recmesh_kernels::Tensor| {
            let zeros = || vec![0.0; tensor.data.len()];
            match (config, tensor.role) {
                (config::Optimizer::Muon(_), Role::Matrix) => Slot::Muon { momentum: zeros() },
                _ => Slot::Adam { mean: zeros(), square: zeros() },
            }
        };
        Self { config: config.clone(), steps: 0, slots: params.tensors().iter().map(slot).collect() }
    }

    /// Steps made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The highest rate that is declared, for messages.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match &self.config {
            config::Optimizer::AdamW(adam) => adam.lr,
            config::Optimizer::Muon(muon) => muon.lr,
        }
    }

    /// Makes one step on at most `threads` threads; their number does not change the result.
    pub fn step(&mut self, params: &mut Params, grads: &Grads, scale: StepScale, threads: usize) {
        self.steps += 1;
        let (adam, muon) = match &self.config {
            config::Optimizer::AdamW(adam) => (adam, None),
            config::Optimizer::Muon(muon) => (&muon.adam, Some(muon)),
        };
        let adam = adamw::Rates::new(adam, self.steps, scale);
        let muon = muon.map(|config| muon::Rates { config, scale });
        // Muon's pieces are the longest: they go first, so that no thread ends with one.
        let mut pieces = Vec::new();
        let mut small = Vec::new();
        let mut work = 0;
        for (index, (tensor, slot)) in params.tensors_mut().iter_mut().zip(&mut self.slots).enumerate() {
            let grad = grads.get(ParamId(index));
            match slot {
                Slot::Muon { momentum } => {
                    work += muon::work(tensor.rows, tensor.cols);
                    let (rows, cols) = (tensor.rows, tensor.cols);
                    pieces.push(Piece::Muon(muon::Piece { weights: &mut tensor.data, momentum, grad, rows, cols }));
                }
                Slot::Adam { mean, square } => {
                    work += tensor.data.len();
                    let decayed = tensor.role != Role::Vector;
                    let parts = tensor.data.chunks_mut(PIECE).zip(grad.chunks(PIECE));
                    let state = mean.chunks_mut(PIECE).zip(square.chunks_mut(PIECE));
                    small.extend(parts.zip(state).map(|((weights, grad), (mean, square))| {
                        Piece::Adam(adamw::Piece { weights, grad, mean, square, decayed })
                    }));
                }
            }
        }
        pieces.append(&mut small);
        share(if work < WORTH_A_THREAD { 1 } else { threads }, pieces, |piece| match (piece, &muon) {
            (Piece::Adam(piece), _) => piece.run(&adam),
            (Piece::Muon(piece), Some(rates)) => piece.run(rates),
            (Piece::Muon(_), None) => {}
        });
    }

    /// All state as named tensors, in a fixed order: `adam.mean/<tensor>`, `adam.square/<tensor>`,
    /// `muon.momentum/<tensor>`.
    #[must_use]
    pub fn state<'a>(&'a self, params: &'a Params) -> Vec<(String, &'a [f32])> {
        let mut state = Vec::new();
        for (tensor, slot) in params.tensors().iter().zip(&self.slots) {
            match slot {
                Slot::Adam { mean, square } => {
                    state.push((format!("adam.mean/{}", tensor.name), mean.as_slice()));
                    state.push((format!("adam.square/{}", tensor.name), square.as_slice()));
                }
                Slot::Muon { momentum } => state.push((format!("muon.momentum/{}", tensor.name), momentum.as_slice())),
            }
        }
        state
    }

    /// Takes state over as [`Optimizer::state`] gave it after `steps` steps.
    ///
    /// # Errors
    /// The name of a tensor that is missing or has another length; the state is then partly taken over.
    pub fn restore(&mut self, params: &Params, steps: u64, mut state: HashMap<String, Vec<f32>>) -> Result<(), String> {
        let mut take = |name: String, into: &mut Vec<f32>| match state.remove(&name) {
            Some(values) if values.len() == into.len() => {
                *into = values;
                Ok(())
            }
            _ => Err(name),
        };
        for (tensor, slot) in params.tensors().iter().zip(&mut self.slots) {
            match slot {
                Slot::Adam { mean, square } => {
                    take(format!("adam.mean/{}", tensor.name), mean)?;
                    take(format!("adam.square/{}", tensor.name), square)?;
                }
                Slot::Muon { momentum } => take(format!("muon.momentum/{}", tensor.name), momentum)?,
            }
        }
        self.steps = steps;
        Ok(())
    }
}
