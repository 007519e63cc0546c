//! The CPU's kernels against the naive reference, through the functions that also judge a device; and that those
//! functions catch what they are for.

#![allow(clippy::print_stdout)] // What is skipped is said aloud.

use std::path::Path;

use recmesh_kernels::Level;
use recmesh_kernels::fp8::emulate::{self, Promotion};
use recmesh_kernels::fp8::{Quantised, Scaling};
use recmesh_kernels::twins::checks::{Outcome, check, check_all, check_beside, compare_bits};
use recmesh_kernels::twins::{
    Arithmetic, BeamAttention, BeamStep, Cpu, CrossAttention, Extension, ItemSearch, Kernels, Operation, Reference,
    Rows, Scaled, cases,
};

fn assert_held(outcomes: &[Outcome]) {
    let broken: Vec<String> = outcomes.iter().filter(|o| o.is_broken()).map(|o| format!("{o:?}")).collect();
    assert!(broken.is_empty(), "{} of {}:\n{}", broken.len(), outcomes.len(), broken.join("\n"));
    for operation in Operation::ALL {
        let elements: usize = outcomes.iter().filter(|o| o.operation == operation).map(|o| o.elements).sum();
        assert!(elements > 0, "nothing was compared of {operation:?}");
    }
}

/// A trained table that the repository's users have; what the crate trains itself otherwise.
fn real() -> (Vec<f32>, usize) {
    let file =
        std::env::var("RECMESH_DATA").map(|data| Path::new(&data).join("amazon-instruments/cf_emb_32d_sasrec.npy"));
    let Some(bytes) = file.ok().and_then(|file| std::fs::read(file).ok()) else {
        println!("skipped: real item vectors, RECMESH_DATA does not name them; trained ones are used");
        return (cases::trained(), cases::TRAINED.1);
    };
    // A .npy of version 1: magic, a header with its length, then the values.
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{text}");
    let values = bytes[10 + header..].chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]]));
    (values.take(400 * 32).collect(), 32)
}

#[test]
fn the_cpu_keeps_its_bounds_at_every_level() {
    let (table, width) = real();
    for level in Level::all() {
        assert_held(&check_all(&mut Cpu::with_level(level), Rows::new(&table, width)));
    }
}

#[test]
fn the_cpu_keeps_its_bounds_on_weights_trained_here() {
    let table = cases::trained();
    let rows = Rows::new(&table, cases::TRAINED.1);
    // Items that follow one another came closer: the planted next one has the larger product.
    let dot = |a: usize, b: usize| rows.row(a).iter().zip(rows.row(b)).map(|(x, y)| x * y).sum::<f32>();
    let closer = (0..100).filter(|&item| dot(item, item / 2 + 3) > dot(item, 383 - item)).count();
    assert!(closer > 80, "{closer} of 100 items have learnt what follows them");
    assert_held(&check_all(&mut Cpu::default(), rows));
}

#[test]
fn the_reference_is_without_error_against_itself() {
    let table = cases::trained();
    let outcomes = check_all(&mut Reference, Rows::new(&table, cases::TRAINED.1));
    assert_held(&outcomes);
    let quantising =
        [Operation::Quantise, Operation::RmsNormQuantise, Operation::SwigluQuantise, Operation::QuantiseBf16];
    assert!(outcomes.iter().filter(|o| !quantising.contains(&o.operation)).all(|o| o.largest_error == 0.0));
}

#[test]
fn fused_levels_leave_the_same_bits() {
    let table = cases::trained();
    let best = Level::detect();
    if best == Level::PORTABLE {
        println!("skipped: this machine has no fused arithmetic");
        return;
    }
    for level in Level::all().into_iter().filter(|&level| level != Level::PORTABLE) {
        let (mut a, mut b) = (Cpu::with_level(level), Cpu::with_level(best));
        let outcomes = compare_bits(&mut a, &mut b, Rows::new(&table, cases::TRAINED.1));
        let broken: Vec<&Outcome> = outcomes.iter().filter(|o| o.is_broken()).collect();
        assert!(broken.is_empty() && !outcomes.is_empty(), "{broken:?}");
    }
}

/// The CPU's kernels with a fault in each.
#[derive(Default)]
struct Faulty(Cpu);

fn spoil(mut found: Vec<f32>) -> Vec<f32> {
    // The least that must not pass: one element, by one part in a thousand.
    if let Some(largest) = found.iter_mut().filter(|x| x.is_finite()).max_by(|a, b| a.abs().total_cmp(&b.abs())) {
        *largest *= 1.001;
    }
    found
}

/// The same of rows in bf16, whose units are larger.
fn spoil_half(found: Vec<f32>) -> Vec<f32> {
    spoil(found).into_iter().map(|x| x * 1.01).collect()
}

fn spoil_codes(mut found: Scaled) -> Scaled {
    if let Some(code) = found.codes.iter_mut().find(|code| (0x20..0x78).contains(*code)) {
        *code += 1;
    }
    found
}

type Never = std::convert::Infallible;

impl Kernels for Faulty {
    type Number = f32;
    type Error = Never;

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Single
    }
    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Never> {
        self.0.quantise(x, scaling).map(spoil_codes)
    }
    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, Never> {
        self.0.rms_norm_quantise(x, gain, scaling).map(spoil_codes)
    }
    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Never> {
        self.0.swiglu_quantise(x, scaling).map(spoil_codes)
    }
    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, Never> {
        self.0.quantise_bf16(x).map(spoil_codes)
    }
    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<f32>, Never> {
        self.0.rms_norm(x, gain).map(spoil_half)
    }
    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<f32>, Never> {
        self.0.swiglu(x).map(spoil_half)
    }
    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Never> {
        self.0.product(a, b).map(spoil)
    }
    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Never> {
        self.0.product_bf16(a, b).map(spoil_half)
    }
    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<f32>, Never> {
        self.0.grouped_product(a, b).map(spoil)
    }
    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<f32>, Never> {
        self.0.cross_attention(problem).map(spoil)
    }
    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<f32>, Never> {
        self.0.beam_attention(problem).map(spoil)
    }
    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, Never> {
        // The best is left out and the next one moves up.
        let more = BeamStep { k: problem.k + 1, ..*problem };
        self.0.beam_step(&more).map(|mut found| found.drain(..).skip(1).collect())
    }
    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, Never> {
        self.0.embedding_gather(table, ids).map(spoil)
    }
    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, Never> {
        let more = ItemSearch { k: problem.k + 1, ..*problem };
        self.0.item_top_k(&more).map(|found| found.into_iter().map(|best| best[1..].to_vec()).collect())
    }
}

#[test]
fn a_fault_in_any_kernel_is_seen() {
    let table = cases::trained();
    let real = Rows::new(&table, cases::TRAINED.1);
    for operation in Operation::ALL {
        let outcomes = check(&mut Faulty::default(), operation, real);
        let broken = outcomes.iter().filter(|o| o.is_broken()).count();
        assert!(broken * 3 > outcomes.len(), "{operation:?}: {broken} of {} cases saw the fault", outcomes.len());
    }
}

#[test]
fn two_implementations_are_told_apart_by_their_largest_difference() {
    let table = cases::trained();
    let real = Rows::new(&table, cases::TRAINED.1);
    for operation in Operation::ALL {
        let alone = check(&mut Cpu::default(), operation, real);
        let beside = check_beside(&mut Cpu::default(), &mut Cpu::default(), operation, real);
        assert!(beside.iter().all(|outcome| outcome.apart == Some(0.0)), "{operation:?}");
        let without: Vec<Outcome> = beside.into_iter().map(|outcome| Outcome { apart: None, ..outcome }).collect();
        assert_eq!(format!("{alone:?}"), format!("{without:?}"));
    }
    let outcomes = check_beside(&mut Reference, &mut Cpu::default(), Operation::Product, real);
    // Between the reference and the CPU lies the CPU's error.
    assert!(outcomes.iter().any(|outcome| outcome.apart.is_some_and(|apart| apart > 0.0 && apart < 1e-2)));
}

/// A tensor core, in bits, whose kernel forgets something.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forgotten {
    Nothing,
    /// To promote.
    Promotion,
    /// A stretch of 128 columns.
    Stretch,
    /// Everything.
    All,
}

struct Forgetful(Cpu, Forgotten);

impl Forgetful {
    fn multiply(&self, a: &Quantised, b: &Quantised) -> Vec<f32> {
        let (level, k) = (Level::detect(), a.cols());
        let promotion = if self.1 == Forgotten::Promotion { Promotion::Never } else { Promotion::over(k) };
        let mut out = vec![0.0; a.rows() * b.rows()];
        if self.1 == Forgotten::All {
            return out;
        }
        emulate::gemm(level, &mut out, a, b, promotion);
        if self.1 == Forgotten::Stretch && k >= 256 {
            let (x, y) = (a.dequantise(level), b.dequantise(level));
            for (at, out) in out.iter_mut().enumerate() {
                let (i, j) = (at / b.rows() * k, at % b.rows() * k);
                *out -= x[i + 128..i + 256].iter().zip(&y[j + 128..j + 256]).map(|(x, y)| x * y).sum::<f32>();
            }
        }
        out
    }
}

impl Kernels for Forgetful {
    type Number = f32;
    type Error = Never;

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::TensorCore
    }
    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Never> {
        Ok(self.multiply(a, b))
    }
    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<f32>, Never> {
        Ok(a.iter().zip(b).flat_map(|(a, b)| self.multiply(a, b)).collect())
    }
    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Never> {
        Ok(cases::all_bf16(self.multiply(a, b)))
    }
    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Never> {
        self.0.quantise(x, scaling)
    }
    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, Never> {
        self.0.rms_norm_quantise(x, gain, scaling)
    }
    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Never> {
        self.0.swiglu_quantise(x, scaling)
    }
    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, Never> {
        self.0.quantise_bf16(x)
    }
    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<f32>, Never> {
        self.0.rms_norm(x, gain)
    }
    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<f32>, Never> {
        self.0.swiglu(x)
    }
    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<f32>, Never> {
        self.0.cross_attention(problem)
    }
    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<f32>, Never> {
        self.0.beam_attention(problem)
    }
    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, Never> {
        self.0.beam_step(problem)
    }
    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, Never> {
        self.0.embedding_gather(table, ids)
    }
    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, Never> {
        self.0.item_top_k(problem)
    }
}

/// What each of them does within the bound of every element, so that only the error of the case as a whole shows it.
#[test]
fn what_a_product_forgets_within_every_bound_is_seen_all_the_same() {
    let products = [Operation::Product, Operation::ProductBf16, Operation::BlockProduct, Operation::GroupedProduct];
    let table = cases::trained();
    let real = Rows::new(&table, cases::TRAINED.1);
    let outcomes = |forgotten, operation| check(&mut Forgetful(Cpu::default(), forgotten), operation, real);
    for operation in products {
        let whole = outcomes(Forgotten::Nothing, operation);
        let broken: Vec<&Outcome> = whole.iter().filter(|outcome| outcome.is_broken()).collect();
        assert!(broken.is_empty(), "{broken:?}");
        assert!(whole.iter().filter(|outcome| outcome.spread.is_some()).count() >= 2, "{operation:?}");
    }
    // The error nearest to its bound is within it, and yet the case is broken.
    let only_by_spread = |outcome: &&Outcome| outcome.is_broken() && outcome.error <= outcome.bound;
    for (forgotten, operation, case) in [
        (Forgotten::All, Operation::Product, "random 64 x 128 x 1792"),
        (Forgotten::All, Operation::Product, "random 24 x 40 x 4096"),
        (Forgotten::Stretch, Operation::Product, "random 64 x 128 x 1792"),
        (Forgotten::Stretch, Operation::Product, "random 24 x 40 x 4096"),
        (Forgotten::Stretch, Operation::ProductBf16, "random 24 x 40 x 4096"),
        (Forgotten::Promotion, Operation::Product, "random 48 x 64 x 5376"),
    ] {
        let outcomes = outcomes(forgotten, operation);
        let found = outcomes.iter().find(|outcome| outcome.case == case);
        assert!(found.as_ref().is_some_and(only_by_spread), "{forgotten:?} {operation:?}: {found:?}");
    }
    // Bounds may see a lost stretch where promotion makes them tight; the whole sees it wherever there was one.
    for operation in products {
        let long = |outcome: &&Outcome| {
            outcome.case.rsplit(' ').next().is_some_and(|k| k.parse().is_ok_and(|k: usize| k >= 256))
        };
        for outcome in outcomes(Forgotten::Stretch, operation).iter().filter(long) {
            assert!(outcome.spread.is_none_or(|spread| spread.found > 30.0 * spread.limit), "{outcome:?}");
        }
    }
}
