//! Kernels whose rows leave as bf16 for layers that multiply in it: norm and gate.
//!
//! In: the rows that the quantising kernels are checked on. Out: outcomes. Every element lies within half a unit of bf16 of
//! the exact one, and what it was off by before.

use super::codes::{exact, inputs};
use super::{Meter, Outcome};
use crate::twins::{Kernels, Operation, Rows, bounds, cases};

pub(super) fn check<K: Kernels>(kernels: &mut K, operation: Operation, real: Rows<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for case in inputs(operation, real) {
        let x = Rows::new(&case.data, case.cols);
        let gain = cases::normals(3, case.cols);
        let mut expected = exact(kernels, operation, x, &gain);
        let arithmetic = kernels.arithmetic();
        expected.iter_mut().for_each(|(y, before)| *before = bounds::half(arithmetic, *y, *before));
        let mut meter = Meter::new(operation, &case.name);
        let found = if operation == Operation::Swiglu { kernels.swiglu(x) } else { kernels.rms_norm(x, &gain) };
        meter.all(found, &expected);
        outcomes.push(meter.outcome);
    }
    outcomes
}
