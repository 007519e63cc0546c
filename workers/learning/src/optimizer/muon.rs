//! Muon for one matrix (MuonRec, arXiv 2603.00416; scale of arXiv 2502.16982): momentum, orthogonalised.
//!
//! In: a matrix `[out, in]` with gradient `G` and momentum `B`. Out: `B ← βB + (1−β)G`, `U = βB + (1−β)G` with
//! look-ahead (else `U = B`), `W ← (1−ηλ)W − η · scale · NewtonSchulz(U)`. Never sees embeddings or vectors.

use recmesh_contract::config::{Muon, MuonScale};
use recmesh_kernels::linalg::{QUINTIC, newton_schulz};

use super::StepScale;

/// The numbers of one step.
pub(super) struct Rates<'a> {
    pub config: &'a Muon,
    pub scale: StepScale,
}

/// A whole matrix, row-major; all slices have `rows × cols` elements.
pub(super) struct Piece<'a> {
    pub weights: &'a mut [f32],
    pub momentum: &'a mut [f32],
    pub grad: &'a [f32],
    pub rows: usize,
    pub cols: usize,
}

impl Piece<'_> {
    /// One step.
    pub fn run(self, rates: &Rates<'_>) {
        let Rates { config, scale } = rates;
        let (beta, rest) = (config.momentum as f32, (1.0 - config.momentum) as f32);
        let clip = scale.gradient as f32;
        let mut update: Vec<f32> = (self.momentum.iter_mut().zip(self.grad))
            .map(|(momentum, &grad)| {
                let grad = grad * clip;
                *momentum = beta * *momentum + rest * grad;
                if config.nesterov { beta * *momentum + rest * grad } else { *momentum }
            })
            .collect();
        newton_schulz(&mut update, self.rows, self.cols, config.ns_steps as usize, QUINTIC);
        let rate = config.lr * scale.rate;
        let keep = (1.0 - rate * config.weight_decay) as f32;
        let rate = (rate * shape_factor(config.scale, self.rows, self.cols)) as f32;
        for (weight, update) in self.weights.iter_mut().zip(&update) {
            *weight = keep * *weight - rate * update;
        }
    }
}

/// How the size of a step depends on the shape.
pub(super) fn shape_factor(scale: MuonScale, rows: usize, cols: usize) -> f64 {
    match scale {
        MuonScale::Keller => (rows as f64 / cols as f64).max(1.0).sqrt(),
        MuonScale::MatchRmsAdamW => 0.2 * (rows.max(cols) as f64).sqrt(),
    }
}

/// Work of a step in units of one AdamW element: five products of `m·m·n` and five of `m·m·m`, 64 to a unit.
pub(super) fn work(rows: usize, cols: usize) -> usize {
    let (small, large) = (rows.min(cols), rows.max(cols));
    5 * small * small * (2 * large + small) / 64
}
