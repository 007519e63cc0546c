//! A linear map whose weights are quantised: as it serves, or as it is tried out beside the weights it stands for.
//!
//! In: rows and, in a trial, the weights in f32. Out: the product, without bias. Rows are quantised as they come, a
//! scale each, so what a row gives does not depend on the rows beside it beyond the order of additions. Whether what a
//! trial finds is good enough is no matter of this file.

use std::cell::RefCell;

use super::quantised::{Quantised, Scaling};
use super::serve::{Tiles, gemm};
use crate::cpu::Level;
use crate::cpu::matmul::{Output, View, gemm as exact_gemm};
use crate::trial::Trial;

/// Quantised weights `[out, in]` of a linear map.
#[derive(Debug)]
pub struct Linear {
    weights: Quantised,
    trial: Option<Trial>,
}

/// What a product needs besides; one a thread, kept from product to product.
struct Scratch {
    rows: Option<Quantised>,
    tiles: Tiles,
    product: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        const { RefCell::new(Scratch { rows: None, tiles: Tiles::new(), product: Vec::new() }) };
}

impl Linear {
    /// Weights to serve.
    #[must_use]
    pub fn serving(weights: Quantised) -> Self {
        Self { weights, trial: None }
    }

    /// Weights to try out: the map still gives what it gave in f32, and keeps count of what serving these would change.
    /// Sums follow the order of the products: run a trial on one thread where its figures must repeat.
    #[must_use]
    pub fn trial(weights: Quantised) -> Self {
        Self { weights, trial: Some(Trial::default()) }
    }

    /// Whether the f32 weights are needed no more.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.trial.is_none()
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &Quantised {
        &self.weights
    }

    /// What a trial found so far: [`relative_error`](super::gates::relative_error) over all rows. `None` where nothing is
    /// tried or no row has come.
    #[must_use]
    pub fn rel_error(&self) -> Option<f64> {
        self.trial.as_ref()?.rel_error()
    }

    /// `out = x · Wᵀ`; `exact` are the weights in f32, read in a trial only.
    pub(crate) fn product(&self, level: Level, out: &mut [f32], x: &[f32], exact: &[f32]) {
        let (outputs, cols) = (self.weights.rows(), self.weights.cols());
        let rows = x.len().checked_div(cols).unwrap_or(0);
        SCRATCH.with_borrow_mut(|Scratch { rows: scratch, tiles, product }| {
            let quantised = scratch.take().filter(|it| it.format() == self.weights.format());
            let mut quantised = quantised.unwrap_or_else(|| Quantised::empty(self.weights.format(), Scaling::Rows));
            quantised.fill(level, x, rows, cols);
            match &self.trial {
                None => gemm(level, out, &quantised, &self.weights, tiles),
                Some(trial) => {
                    exact_gemm(out, Output::Write, 1.0, View::new(x, rows, cols), View::new(exact, outputs, cols).t());
                    product.resize(out.len(), 0.0);
                    gemm(level, product, &quantised, &self.weights, tiles);
                    trial.count(out, product, outputs);
                }
            }
            *scratch = Some(quantised);
        });
    }
}

impl PartialEq for Linear {
    /// Equal weights for the same use; what a trial has counted is no part of it.
    fn eq(&self, other: &Self) -> bool {
        self.weights == other.weights && self.serves() == other.serves()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fp8::{Format, gates::relative_error};
    use crate::{Init, Params, QuantisedLinear, Role, Tape, Workspace};

    /// A 3 × 40 map with bias, what it gives, and the same with quantised weights for some use.
    fn outputs(make: fn(Quantised) -> Linear) -> (Params, Vec<f32>, Vec<f32>) {
        let mut params = Params::default();
        let weight = params.add("w", Role::Matrix, 3, 40, Init::Normal(0.3), 5);
        let bias = params.add("b", Role::Vector, 1, 3, Init::Normal(1.0), 5);
        let x: Vec<f32> = params.get(weight).data.iter().map(|w| w * 7.0 + 0.1).collect();
        let mut workspace = Workspace::default();
        let mut run = |params: &Params| {
            let mut tape = Tape::serve(params, &mut workspace);
            let rows = tape.constant(3, 40, &x);
            let y = tape.linear(rows, weight, Some(bias));
            tape.value(y).to_vec()
        };
        let exact = run(&params);
        let data = params.get(weight).data.clone();
        let quantised = Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, &data, 3, 40);
        params.quantise(weight, make(quantised).into());
        let found = run(&params);
        (params, exact, found)
    }

    #[test]
    fn a_trial_answers_exactly_and_measures_what_serving_changes() {
        let (tried, exact, same) = outputs(Linear::trial);
        let (served, _, found) = outputs(Linear::serving);
        assert!(exact.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-5), "{exact:?} {same:?}");
        let weight = crate::ParamId(0);
        assert!(served.get(weight).data.is_empty() && !tried.get(weight).data.is_empty());
        let bias = &tried.get(crate::ParamId(1)).data;
        let plain =
            |y: &[f32]| -> Vec<f32> { y.chunks(3).flat_map(|y| y.iter().zip(bias).map(|(y, b)| y - b)).collect() };
        let error = relative_error(&plain(&exact), &plain(&found), 3);
        let told = tried.quantised(weight).and_then(QuantisedLinear::rel_error).unwrap();
        assert!(told > 0.002 && told < 0.06 && (told - error).abs() < 1e-4, "{told} {error}");
        assert_eq!(served.quantised(weight).and_then(QuantisedLinear::rel_error), None);
    }
}
