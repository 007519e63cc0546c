//! The CPU's kernels against the naive reference, through the functions that also judge a device; and that those
//! functions catch what they are for.

#![allow(clippy::print_stdout)] // What is skipped is said aloud.

use std::path::Path;

use recmesh_kernels::Level;
use recmesh_kernels::fp8::{Quantised, Scaling};
use recmesh_kernels::twins::checks::{Outcome, check, check_all, compare_bits};
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
    let quantising = [Operation::Quantise, Operation::RmsNormQuantise, Operation::SwigluQuantise];
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
    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Never> {
        self.0.product(a, b).map(spoil)
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
