//! What serving a linear map in eight bits would change, counted while it still answers in f32.
//!
//! In: what a map gives, and what it would give. Out: the relative error of all rows so far. Sums follow the order of
//! what is counted: run a trial on one thread where its figures must repeat. Never judges.

use std::sync::{Mutex, PoisonError};

use crate::fp8::gates::relative_error;

/// A count over all products of one map.
#[derive(Debug, Default)]
pub(crate) struct Trial(Mutex<Seen>);

/// Sum over rows of the squared relative error of a row, and the rows.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    sum: f64,
    rows: usize,
}

impl Trial {
    /// Counts rows of `cols` values.
    pub fn count(&self, exact: &[f32], found: &[f32], cols: usize) {
        let (error, rows) = (relative_error(exact, found, cols.max(1)), exact.len() / cols.max(1));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.sum += error * error * rows as f64;
        seen.rows += rows;
    }

    /// [`relative_error`] over all rows; `None` where no row has come.
    pub fn rel_error(&self) -> Option<f64> {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.rows > 0).then(|| (seen.sum / seen.rows as f64).sqrt())
    }
}
