//! Weights of linear maps in signed bytes. For CPUs: no device multiplies so here.
//!
//! In: f32 weights, or codes and scales that were kept. Out: codes −127..=127 and scales, or panels. `scale = largest
//! magnitude / 127`, at least the smallest normal f32; a code is `round(w · (1 / scale))`, ties to even. Rows of activations
//! are coded as they come, each with a scale of its own; the bound of a product stands at
//! [`cpu::coded`](crate::cpu::coded).

use crate::cpu::Level;
use crate::cpu::coded::{DEEPEST, Panels, rows};

/// What shares a scale among weights `[out, in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// An output channel: a row of the matrix.
    Rows,
    /// The whole matrix.
    Tensor,
}

/// A `rows × cols` matrix of codes with its scales.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    rows: usize,
    cols: usize,
    codes: Vec<i8>,
    /// One a row, or one.
    scales: Vec<f32>,
}

impl Weights {
    /// A quantised copy. Where a number is none or infinite, the scale that covers it is NaN, and so is what it gives.
    ///
    /// # Panics
    /// If the slice is not `rows × cols` long, or `cols` is above 65,536: sums must fit into 32 bits.
    #[must_use]
    pub fn new(scaling: Scaling, weights: &[f32], rows: usize, cols: usize) -> Self {
        assert_eq!(weights.len(), rows * cols, "a matrix of {rows} x {cols}");
        assert!(cols <= DEEPEST, "{cols} columns of eight bits");
        let level = Level::detect();
        let share = match scaling {
            Scaling::Rows => cols,
            Scaling::Tensor => weights.len(),
        };
        let (mut codes, mut scales) = (vec![0; weights.len()], Vec::new());
        let share = share.max(1);
        for (codes, weights) in codes.chunks_mut(share).zip(weights.chunks(share)) {
            let (scale, inverse) = rows::scale_for(rows::largest(level, weights));
            // Of a scale that is NaN codes mean nothing; a product expects none below −127.
            rows::code(level, codes, weights, if scale.is_nan() { 0.0 } else { inverse });
            scales.push(scale);
        }
        let codes = codes.into_iter().map(|code: u8| (code ^ 128).cast_signed().max(-127)).collect();
        Self { rows, cols, codes, scales }
    }

    /// Codes and scales that were kept; `None` where their numbers do not fit the shape, a scale is no positive finite
    /// number, or a code is below −127.
    #[must_use]
    pub fn from_parts(
        scaling: Scaling,
        (rows, cols): (usize, usize),
        codes: Vec<i8>,
        scales: Vec<f32>,
    ) -> Option<Self> {
        let wanted = match scaling {
            Scaling::Rows => rows,
            Scaling::Tensor => 1,
        };
        let fits = codes.len() == rows.checked_mul(cols)? && scales.len() == wanted && cols <= DEEPEST;
        let sound = scales.iter().all(|scale| scale.is_finite() && *scale > 0.0) && !codes.contains(&i8::MIN);
        (fits && sound).then_some(Self { rows, cols, codes, scales })
    }

    /// Rows: outputs.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: inputs.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The codes, row-major.
    #[must_use]
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// The scales: one a row, or one.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The same as products read them.
    pub(crate) fn panels(&self, gated: bool) -> Panels {
        Panels::bytes(&self.codes, &self.scales, (self.rows, self.cols), gated)
    }
}

#[cfg(test)]
mod tests;
