//! Every operation against the reference: the cases, what is compared, what came of it.
//!
//! ```text
//! case ─► Kernels under test ┐
//!      └► Reference, bound   ┴─► Outcome: worst error, its bound, held or broken
//! ```
//! In: an implementation, and a table of trained weights. Out: one [`Outcome`] a case. The same functions judge every
//! implementation; nothing here knows which one it has.

mod attention;
mod beside;
mod codes;
mod halves;
mod products;
mod search;

pub use beside::check_beside;

use super::{Kernels, Operation, Rows};

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every element within its bound.
    Held,
    /// The first thing that was wrong.
    Broken(String),
    /// Not checked, and why.
    Skipped(String),
}

/// An error over a whole case: roots of mean squares, relative to that of the exact results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// What it is.
    pub found: f64,
    /// What it may be.
    pub limit: f64,
}

/// One case of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The operation.
    pub operation: Operation,
    /// What it was checked on.
    pub case: String,
    /// Elements compared.
    pub elements: usize,
    /// The largest absolute error.
    pub largest_error: f64,
    /// The error at the element that came nearest to its bound,
    pub error: f64,
    /// and that bound.
    pub bound: f64,
    /// Of cases whose operands are random and many: the error over all elements.
    pub spread: Option<Spread>,
    /// The largest difference to another implementation, where one was asked beside this one.
    pub apart: Option<f64>,
    /// Whether it held.
    pub verdict: Verdict,
}

impl Outcome {
    /// Whether the case shows a fault.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self.verdict, Verdict::Broken(_))
    }
}

/// Compares element by element.
struct Meter {
    outcome: Outcome,
    /// Sums of squares: of errors, of exact numbers.
    squares: [f64; 2],
}

impl Meter {
    fn new(operation: Operation, case: &str) -> Self {
        let outcome = Outcome {
            operation,
            case: case.to_owned(),
            elements: 0,
            largest_error: 0.0,
            error: 0.0,
            bound: 0.0,
            spread: None,
            apart: None,
            verdict: Verdict::Held,
        };
        Self { outcome, squares: [0.0; 2] }
    }

    /// Looks at one element. NaN has to meet NaN.
    fn see(&mut self, found: f64, exact: f64, bound: f64) {
        let out = &mut self.outcome;
        out.elements += 1;
        self.squares[1] += exact * exact;
        if exact.is_nan() && found.is_nan() || found == exact {
            return;
        }
        let error = (found - exact).abs();
        self.squares[0] += error * error;
        out.largest_error = out.largest_error.max(error);
        if error * out.bound > out.error * bound || out.elements == 1 || out.bound == 0.0 {
            (out.error, out.bound) = (error, bound);
        }
        let within = error <= bound;
        if !within {
            let at = out.elements - 1;
            self.fault(|| format!("element {at} is {found:e}, not {exact:e} within {bound:e}"));
        }
    }

    /// Judges all elements so far together: a fault that moves many by a little is within every bound of its own.
    fn spread(&mut self, limit: f64) {
        let found = (self.squares[0] / self.squares[1]).sqrt();
        self.outcome.spread = Some(Spread { found, limit });
        // Written so that no number is too much.
        let within = found <= limit;
        self.expect(within, || format!("errors are {found:e} of the results, more than {limit:e}"));
    }

    /// Notes what is wrong beyond an element's error; the first stays.
    fn fault(&mut self, what: impl FnOnce() -> String) {
        if self.outcome.verdict == Verdict::Held {
            self.outcome.verdict = Verdict::Broken(what());
        }
    }

    /// The same of a condition.
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fault(what);
        }
    }

    /// All elements of a result; false where its length is wrong or it has none because of an error.
    fn all<N: Copy + Into<f64>, E: std::fmt::Display>(&mut self, found: Result<Vec<N>, E>, expected: &[(f64, f64)]) {
        let Some(found) = self.result(found) else { return };
        if found.len() != expected.len() {
            self.fault(|| format!("{} elements, not {}", found.len(), expected.len()));
            return;
        }
        for (found, &(exact, bound)) in found.into_iter().zip(expected) {
            self.see(found.into(), exact, bound);
        }
    }

    /// A result, or the error noted.
    fn result<T, E: std::fmt::Display>(&mut self, found: Result<T, E>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                self.fault(|| error.to_string());
                None
            }
        }
    }
}

/// Checks one operation on all its cases; `real` are trained weights.
pub fn check<K: Kernels>(kernels: &mut K, operation: Operation, real: Rows<'_>) -> Vec<Outcome> {
    if !kernels.has(operation) {
        let mut meter = Meter::new(operation, "all");
        meter.outcome.verdict = Verdict::Skipped("this implementation has no such kernel".to_owned());
        return vec![meter.outcome];
    }
    match operation {
        Operation::Quantise | Operation::RmsNormQuantise | Operation::SwigluQuantise | Operation::QuantiseBf16 => {
            codes::check(kernels, operation, real)
        }
        Operation::RmsNorm | Operation::Swiglu => halves::check(kernels, operation, real),
        Operation::Product | Operation::ProductBf16 | Operation::BlockProduct => {
            products::check(kernels, operation, real)
        }
        Operation::GroupedProduct => products::check_grouped(kernels, real),
        Operation::CrossAttention => attention::check_cross(kernels, real),
        Operation::BeamAttention => attention::check_beams(kernels, real),
        Operation::BeamStep => search::check_step(kernels),
        Operation::EmbeddingGather => search::check_gather(kernels, real),
        Operation::ItemTopK => search::check_items(kernels, real),
    }
}

/// Checks everything.
pub fn check_all<K: Kernels>(kernels: &mut K, real: Rows<'_>) -> Vec<Outcome> {
    Operation::ALL.into_iter().flat_map(|operation| check(kernels, operation, real)).collect()
}

/// Whether two implementations leave the same bits where that is expected of them: codes and scales of the quantising
/// kernels, and gathered rows.
pub fn compare_bits<A: Kernels, B: Kernels>(a: &mut A, b: &mut B, real: Rows<'_>) -> Vec<Outcome> {
    codes::compare(a, b, real)
}
