//! A linear map in eight bits, of any kind: as it serves, or as it is tried out beside the weights it stands for.
//!
//! In: rows and, in a trial, the weights in f32. Out: the product, without bias. Rows are coded as they come, a scale
//! each, so what a row gives does not depend on the rows beside it. Which kind a map is, whoever quantised it decided;
//! whether what a trial finds is good enough is no matter of this file.

use std::sync::OnceLock;

use crate::buffer::Pool;
use crate::cpu::Level;
use crate::cpu::coded::{Left, Panels, product};
use crate::cpu::matmul::{Output, View, gemm};
use crate::cpu::panels::Then;
use crate::trial::Trial;
use crate::{fp8, int8};

/// Quantised weights `[out, in]`.
#[derive(Clone, Debug, PartialEq)]
pub enum QuantisedWeights {
    /// Eight-bit floats: what devices multiply; a CPU decodes them to bf16.
    Fp8(fp8::Quantised),
    /// Signed bytes: what CPUs multiply.
    Int8(int8::Weights),
}

impl From<fp8::Quantised> for QuantisedWeights {
    fn from(weights: fp8::Quantised) -> Self {
        Self::Fp8(weights)
    }
}

impl From<int8::Weights> for QuantisedWeights {
    fn from(weights: int8::Weights) -> Self {
        Self::Int8(weights)
    }
}

impl QuantisedWeights {
    /// `[out, in]`.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Fp8(it) => (it.rows(), it.cols()),
            Self::Int8(it) => (it.rows(), it.cols()),
        }
    }

    /// The scales.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        match self {
            Self::Fp8(it) => it.scales(),
            Self::Int8(it) => it.scales(),
        }
    }

    /// Bytes of codes and scales.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let (rows, cols) = self.shape();
        rows * cols + size_of_val(self.scales())
    }

    /// Weights of the same kind without any.
    pub(crate) fn emptied(&self) -> Self {
        match self {
            Self::Fp8(it) => fp8::Quantised::empty(it.format(), it.scaling()).into(),
            Self::Int8(_) => int8::Weights::default().into(),
        }
    }

    /// The same as products read them; `gated` outputs are gates over values.
    pub(crate) fn panels(&self, gated: bool) -> Panels {
        match self {
            Self::Fp8(it) => it.panels(gated),
            Self::Int8(it) => it.panels(gated),
        }
    }
}

/// A linear map whose weights are quantised.
#[derive(Debug)]
pub struct QuantisedLinear {
    weights: QuantisedWeights,
    /// Packed at the first product here; tapes that serve packed weights have their own.
    panels: OnceLock<Panels>,
    trial: Option<Trial>,
}

impl QuantisedLinear {
    /// Weights to serve.
    #[must_use]
    pub fn serving(weights: impl Into<QuantisedWeights>) -> Self {
        Self { weights: weights.into(), panels: OnceLock::new(), trial: None }
    }

    /// Weights to try out: the map still gives what it gave in f32, and keeps count of what serving these would change.
    /// Run a trial on one thread where its figures must repeat.
    #[must_use]
    pub fn trial(weights: impl Into<QuantisedWeights>) -> Self {
        Self { trial: Some(Trial::default()), ..Self::serving(weights) }
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &QuantisedWeights {
        &self.weights
    }

    /// Whether the f32 weights are needed no more.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.trial.is_none()
    }

    /// What a trial found so far: the [`relative_error`](fp8::gates::relative_error) over all rows. `None` where nothing
    /// is tried or no row has come.
    #[must_use]
    pub fn rel_error(&self) -> Option<f64> {
        self.trial.as_ref()?.rel_error()
    }

    /// `out = x · Wᵀ`; `exact` are the weights in f32, read in a trial only.
    pub(crate) fn product(&self, level: Level, pool: &mut Pool, out: &mut [f32], x: &[f32], exact: &[f32]) {
        let (outputs, cols) = self.weights.shape();
        let rows = x.len().checked_div(cols).unwrap_or(0);
        let panels = self.panels.get_or_init(|| self.weights.panels(false));
        let mut scratch = pool.take(panels.room(level, rows));
        match &self.trial {
            None => product(level, out, Left::Plain(x), panels, Then::NOTHING, &mut scratch),
            Some(trial) => {
                gemm(out, Output::Write, 1.0, View::new(x, rows, cols), View::new(exact, outputs, cols).t());
                let mut found = pool.take(out.len());
                product(level, &mut found, Left::Plain(x), panels, Then::NOTHING, &mut scratch);
                trial.count(out, &found, outputs);
                pool.give(found);
            }
        }
        pool.give(scratch);
    }
}

impl PartialEq for QuantisedLinear {
    /// Equal weights for the same use; what a trial has counted is no part of it.
    fn eq(&self, other: &Self) -> bool {
        self.weights == other.weights && self.serves() == other.serves()
    }
}

#[cfg(test)]
mod tests;
