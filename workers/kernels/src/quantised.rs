//! A linear map in eight bits, of either kind.
//!
//! In: rows. Out: their product with quantised weights, or in a trial the exact one, counted. Which kind a map is, whoever
//! quantised it decided.

use crate::buffer::Pool;
use crate::cpu::Level;
use crate::{fp8, int8};

/// A linear map whose weights are quantised.
#[derive(Debug, PartialEq)]
pub enum QuantisedLinear {
    /// Eight-bit floats: what devices multiply; a CPU decodes them.
    Fp8(fp8::Linear),
    /// Signed bytes: what CPUs multiply.
    Int8(int8::Linear),
}

impl From<fp8::Linear> for QuantisedLinear {
    fn from(linear: fp8::Linear) -> Self {
        Self::Fp8(linear)
    }
}

impl From<int8::Linear> for QuantisedLinear {
    fn from(linear: int8::Linear) -> Self {
        Self::Int8(linear)
    }
}

impl QuantisedLinear {
    /// `[out, in]`.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Fp8(it) => (it.weights().rows(), it.weights().cols()),
            Self::Int8(it) => (it.weights().rows(), it.weights().cols()),
        }
    }

    /// Bytes of codes and scales.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let (rows, cols) = self.shape();
        let scales = match self {
            Self::Fp8(it) => it.weights().scales(),
            Self::Int8(it) => it.weights().scales(),
        };
        rows * cols + size_of_val(scales)
    }

    /// Whether the f32 weights are needed no more.
    #[must_use]
    pub fn serves(&self) -> bool {
        match self {
            Self::Fp8(it) => it.serves(),
            Self::Int8(it) => it.serves(),
        }
    }

    /// What a trial found so far: the relative error over all rows. `None` where nothing is tried or no row has come.
    #[must_use]
    pub fn rel_error(&self) -> Option<f64> {
        match self {
            Self::Fp8(it) => it.rel_error(),
            Self::Int8(it) => it.rel_error(),
        }
    }

    /// `out = x · Wᵀ`; `exact` are the weights in f32, read in a trial only.
    pub(crate) fn product(&self, level: Level, pool: &mut Pool, out: &mut [f32], x: &[f32], exact: &[f32]) {
        match self {
            Self::Fp8(it) => it.product(level, out, x, exact),
            Self::Int8(it) => it.product(level, pool, out, x, exact),
        }
    }
}
