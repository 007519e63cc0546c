//! An implementation with a second one beside it: how far apart the two are, case by case.
//!
//! ```text
//! case ─► own  ─► judged as ever ─► Outcome
//!      └► twin ─► largest difference ──┘ apart
//! ```
//! In: two implementations. Out: the outcomes of the first, each with the largest difference between the two. What only one
//! of them found (a beam, an item) is left out here: the checks themselves say what may be missing.

use super::{Outcome, check};
use crate::fp8::{Format, Quantised, Scaling};
use crate::twins::{
    Arithmetic, BeamAttention, BeamStep, CrossAttention, Extension, ItemSearch, Kernels, Operation, Rows, Scaled,
};

/// [`check`] with another implementation asked the same.
pub fn check_beside<A: Kernels, B: Kernels>(
    own: &mut A,
    twin: &mut B,
    operation: Operation,
    real: Rows<'_>,
) -> Vec<Outcome> {
    let mut both = Beside { own, twin, apart: Vec::new() };
    let mut outcomes = check(&mut both, operation, real);
    // A case asks once.
    let apart = both.apart;
    debug_assert!(apart.is_empty() || apart.len() == outcomes.len(), "cases of {operation:?} that ask otherwise");
    for (outcome, apart) in outcomes.iter_mut().zip(apart) {
        outcome.apart = apart;
    }
    outcomes
}

struct Beside<'a, A, B> {
    own: &'a mut A,
    twin: &'a mut B,
    apart: Vec<Option<f64>>,
}

/// Numbers by what they are of; `None` where there is no result.
type Told = Option<Vec<(u32, f64)>>;

fn numbers<N: Copy + Into<f64>, E>(found: &Result<Vec<N>, E>) -> Told {
    found.as_ref().ok().map(|found| (0..).zip(found.iter().map(|&x| x.into())).collect())
}

fn codes<E>(found: &Result<Scaled, E>) -> Told {
    let value = |found: &Scaled| {
        let blocks = found.cols.div_ceil(found.width.max(1));
        let scale = |at: usize| found.scales[at / found.cols * blocks + at % found.cols / found.width];
        let value = |(at, &code): (usize, &u8)| f64::from(Format::E4m3.decode(code)) * f64::from(scale(at));
        (0..).zip(found.codes.iter().enumerate().map(value)).collect()
    };
    found.as_ref().ok().map(value)
}

fn children<E>(found: &Result<Vec<Extension>, E>) -> Told {
    found.as_ref().ok().map(|found| found.iter().map(|of| (of.child, of.score)).collect())
}

/// Items of all queries: no case has so many of either that the two could not share a number.
fn items<E>(found: &Result<Vec<Vec<(f64, u32)>>, E>) -> Told {
    let all = |found: &Vec<Vec<(f64, u32)>>| {
        let of = |(query, items): (u32, &Vec<(f64, u32)>)| -> Vec<(u32, f64)> {
            items.iter().map(|&(score, item)| (query << 16 | item, score)).collect()
        };
        (0..).zip(found).flat_map(of).collect()
    };
    found.as_ref().ok().map(all)
}

impl<A, B> Beside<'_, A, B> {
    fn note(&mut self, own: Told, twin: Told) {
        self.apart.push(own.zip(twin).map(|(mut own, mut twin)| {
            own.sort_by_key(|of| of.0);
            twin.sort_by_key(|of| of.0);
            let of = |&(what, score): &(u32, f64)| {
                let at = twin.binary_search_by_key(&what, |of| of.0).ok()?;
                Some((score - twin[at].1).abs())
            };
            own.iter().filter_map(of).fold(0.0, f64::max)
        }));
    }
}

/// Asks both the same, notes how far apart they are and gives the first one's answer.
macro_rules! both {
    ($self:ident, $told:ident, $call:ident($($argument:expr),*)) => {{
        let own = $self.own.$call($($argument),*);
        let twin = $self.twin.$call($($argument),*);
        $self.note($told(&own), $told(&twin));
        own
    }};
}

impl<A: Kernels, B: Kernels> Kernels for Beside<'_, A, B> {
    type Number = A::Number;
    type Error = A::Error;

    fn arithmetic(&self) -> Arithmetic {
        self.own.arithmetic()
    }
    fn has(&self, operation: Operation) -> bool {
        self.own.has(operation)
    }
    fn scales_by(&self, scaling: Scaling) -> bool {
        self.own.scales_by(scaling)
    }
    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, A::Error> {
        both!(self, codes, quantise(x, scaling))
    }
    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, A::Error> {
        both!(self, codes, rms_norm_quantise(x, gain, scaling))
    }
    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, A::Error> {
        both!(self, codes, swiglu_quantise(x, scaling))
    }
    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, A::Error> {
        both!(self, codes, quantise_bf16(x))
    }
    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, rms_norm(x, gain))
    }
    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, swiglu(x))
    }
    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, product(a, b))
    }
    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, product_bf16(a, b))
    }
    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, grouped_product(a, b))
    }
    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, cross_attention(problem))
    }
    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<A::Number>, A::Error> {
        both!(self, numbers, beam_attention(problem))
    }
    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, A::Error> {
        both!(self, children, beam_step(problem))
    }
    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, A::Error> {
        both!(self, numbers, embedding_gather(table, ids))
    }
    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, A::Error> {
        both!(self, items, item_top_k(problem))
    }
}
