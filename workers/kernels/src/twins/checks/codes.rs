//! Quantising kernels: scales, and every code against the exact element.
//!
//! In: rows. Out: outcomes. An element is compared with the unquantised value of the reference, not with its code: at a
//! tie both neighbours are right.

use super::{Meter, Outcome};
use crate::fp8::{Format, Scaling};
use crate::twins::{Kernels, Operation, Rows, Scaled, bounds, cases, reference};

/// Rows and columns.
const SHAPES: [(usize, usize); 7] = [(0, 5), (1, 1), (13, 7), (7, 127), (12, 128), (6, 300), (12, 1792)];

/// One matrix to quantise.
pub(super) struct Case {
    pub name: String,
    pub data: Vec<f32>,
    pub cols: usize,
}

pub(super) fn inputs(operation: Operation, real: Rows<'_>) -> Vec<Case> {
    let twice = if matches!(operation, Operation::SwigluQuantise | Operation::Swiglu) { 2 } else { 1 };
    let mut made = Vec::new();
    for (rows, cols) in SHAPES {
        let width = cols * twice;
        let name = |what: &str| format!("{what} {rows} x {cols}");
        made.push(Case { name: name("random"), data: cases::normals(1, rows * width), cols: width });
        made.push(Case { name: name("adversarial"), data: cases::adversarial(2, rows, width), cols: width });
    }
    let whole = real.cols / twice * twice;
    let data = (0..real.rows()).flat_map(|row| real.row(row)[..whole].to_vec()).collect();
    made.push(Case { name: format!("trained {} x {}", real.rows(), whole / twice), data, cols: whole });
    if operation == Operation::QuantiseBf16 {
        made.iter_mut().flat_map(|case| &mut case.data).for_each(|x| *x = cases::bf16(*x));
    }
    made
}

/// The exact rows with the error each element may have before it is encoded.
pub(super) fn exact<K: Kernels>(kernels: &K, operation: Operation, x: Rows<'_>, gain: &[f32]) -> Vec<(f64, f64)> {
    let arithmetic = kernels.arithmetic();
    match operation {
        Operation::RmsNormQuantise | Operation::RmsNorm => {
            let bound = |y: f64| (y, bounds::rms_norm(arithmetic, x.cols, y));
            reference::rms_norm(x, gain).into_iter().map(bound).collect()
        }
        Operation::SwigluQuantise | Operation::Swiglu => {
            let half = x.cols / 2;
            let right = |at: usize| f64::from(x.row(at / half)[half + at % half]);
            let bound = |(at, y): (usize, f64)| (y, bounds::swiglu(arithmetic, y, right(at)));
            reference::swiglu(x).into_iter().enumerate().map(bound).collect()
        }
        _ => x.data.iter().map(|&x| (f64::from(x), 0.0)).collect(),
    }
}

fn run<K: Kernels>(
    kernels: &mut K,
    operation: Operation,
    x: Rows<'_>,
    gain: &[f32],
    scaling: Scaling,
) -> Result<Scaled, K::Error> {
    match operation {
        Operation::RmsNormQuantise => kernels.rms_norm_quantise(x, gain, scaling),
        Operation::SwigluQuantise => kernels.swiglu_quantise(x, scaling),
        Operation::QuantiseBf16 => kernels.quantise_bf16(x),
        _ => kernels.quantise(x, scaling),
    }
}

/// The scalings that an operation has kernels for.
fn scalings(operation: Operation) -> &'static [Scaling] {
    if operation == Operation::QuantiseBf16 { &[Scaling::Rows] } else { &[Scaling::Rows, Scaling::Tiles] }
}

pub(super) fn check<K: Kernels>(kernels: &mut K, operation: Operation, real: Rows<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for case in inputs(operation, real) {
        let x = Rows::new(&case.data, case.cols);
        let gain = cases::normals(3, case.cols);
        for &scaling in scalings(operation) {
            if !kernels.scales_by(scaling) {
                continue;
            }
            let mut meter = Meter::new(operation, &format!("{}, {scaling:?}", case.name));
            let expected = exact(kernels, operation, x, &gain);
            if let Some(found) = meter.result(run(kernels, operation, x, &gain, scaling)) {
                let cols = if operation == Operation::SwigluQuantise { x.cols / 2 } else { x.cols };
                judge(&mut meter, &found, &expected, cols, reference::width(scaling, cols));
            }
            outcomes.push(meter.outcome);
        }
    }
    outcomes
}

fn judge(meter: &mut Meter, found: &Scaled, expected: &[(f64, f64)], cols: usize, width: usize) {
    let blocks = cols.div_ceil(width);
    let rows = expected.len() / cols;
    if (found.codes.len(), found.scales.len()) != (rows * cols, rows * blocks) {
        let (codes, scales) = (found.codes.len(), found.scales.len());
        meter.fault(|| format!("{codes} codes and {scales} scales of {rows} x {cols}"));
        return;
    }
    for (row, expected) in expected.chunks(cols).enumerate() {
        for (block, expected) in expected.chunks(width).enumerate() {
            let scale = f64::from(found.scales[row * blocks + block]);
            let numbers = || expected.iter().filter(|(y, _)| !y.is_nan());
            let largest = numbers().fold(0.0_f64, |a, (y, _)| a.max(y.abs()));
            let before = numbers().fold(0.0_f64, |a, &(_, off)| a.max(off));
            let wanted = (largest / 448.0).max(f64::from(f32::MIN_POSITIVE));
            let off = (scale - wanted).abs();
            meter.expect(off <= bounds::scale(largest, before), || {
                format!("scale {scale:e} of row {row}, not {wanted:e}")
            });
            for (col, &(y, before)) in expected.iter().enumerate() {
                let code = found.codes[row * cols + block * width + col];
                let value = f64::from(Format::E4m3.decode(code)) * scale;
                meter.see(value, y, bounds::code(y, scale, before));
            }
        }
    }
}

pub(super) fn compare<A: Kernels, B: Kernels>(a: &mut A, b: &mut B, real: Rows<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let quantising =
        [Operation::Quantise, Operation::RmsNormQuantise, Operation::SwigluQuantise, Operation::QuantiseBf16];
    for operation in quantising {
        if !a.has(operation) || !b.has(operation) {
            continue;
        }
        for case in inputs(operation, real) {
            let x = Rows::new(&case.data, case.cols);
            let gain = cases::normals(3, case.cols);
            for &scaling in scalings(operation) {
                if !a.scales_by(scaling) || !b.scales_by(scaling) {
                    continue;
                }
                let mut meter = Meter::new(operation, &format!("{}, {scaling:?}, by equality", case.name));
                let left = run(a, operation, x, &gain, scaling);
                let right = run(b, operation, x, &gain, scaling);
                if let (Some(left), Some(right)) = (meter.result(left), meter.result(right)) {
                    meter.outcome.elements = left.codes.len();
                    meter.expect(left == right, || {
                        let codes = left.codes.iter().zip(&right.codes).filter(|(a, b)| a != b).count();
                        let scales = left.scales.iter().zip(&right.scales).filter(|(a, b)| a != b).count();
                        format!("{codes} codes and {scales} scales differ")
                    });
                }
                outcomes.push(meter.outcome);
            }
        }
    }
    outcomes
}
