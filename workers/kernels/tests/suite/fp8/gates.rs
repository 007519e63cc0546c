//! Verdicts on quantised models: each gate alone, NaN, and figures from an actual product with a planted outlier.

use recmesh_kernels::Level;
use recmesh_kernels::fp8::gates::{Breach, Gates, LayerError, Report, Verdict, judge, relative_error, top_k_overlap};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};

use super::normals;

fn report(errors: &[f64]) -> Report {
    let layer = |(at, &rel_error): (usize, &f64)| LayerError { layer: format!("layers.{at}.up"), rel_error };
    let layers = errors.iter().enumerate().map(layer).collect();
    Report { layers, top_k_overlap: 0.95, recall: 0.30, quantised_recall: 0.295 }
}

#[test]
fn what_holds_is_accepted_and_every_breach_is_named() {
    let gates = Gates::default();
    assert_eq!((gates.max_rel_error, gates.min_top_k_overlap, gates.max_recall_drop), (0.045, 0.9, 0.01));
    assert_eq!(judge(&report(&[0.037, 0.045]), &gates), Verdict::Accept);
    let mut bad = report(&[0.01, 0.05, 0.9, 0.04]);
    (bad.top_k_overlap, bad.quantised_recall) = (0.5, 0.2);
    let verdict = judge(&bad, &gates);
    assert_eq!(
        verdict.to_string(),
        "high precision: relative error 0.9000 of layer layers.2.up above 0.045 (2 layers are); \
         top-k overlap 0.5000 below 0.9; recall drop 0.1000 above 0.01"
    );
    assert_eq!(judge(&report(&[]), &gates), Verdict::FallBack(vec![Breach::NoLayers]));
}

#[test]
fn each_gate_fails_alone_and_nan_fails_it() {
    let gates = Gates::default();
    let breaches = |report: &Report| match judge(report, &gates) {
        Verdict::Accept => 0,
        Verdict::FallBack(breaches) => breaches.len(),
    };
    for value in [0.0451, f64::INFINITY, f64::NAN] {
        assert_eq!(breaches(&report(&[0.01, value])), 1, "{value}");
    }
    for value in [0.899, f64::NAN] {
        assert_eq!(breaches(&Report { top_k_overlap: value, ..report(&[0.01]) }), 1, "{value}");
    }
    for value in [0.28, f64::NAN] {
        assert_eq!(breaches(&Report { quantised_recall: value, ..report(&[0.01]) }), 1, "{value}");
    }
    // Better than before is no drop.
    assert_eq!(breaches(&Report { quantised_recall: 0.9, ..report(&[0.01]) }), 0);
}

#[test]
fn errors_count_by_row() {
    // One row is off by its half, one is exact: √(¼ / 2). The large row hides nothing.
    let (exact, found) = ([3.0, 4.0, 3e6, 4e6], [1.5, 2.0, 3e6, 4e6]);
    assert!((relative_error(&exact, &found, 2) - 0.125_f64.sqrt()).abs() < 1e-12);
    assert_eq!(relative_error(&[0.0; 2], &[0.0; 2], 2), 0.0);
    assert_eq!(relative_error(&[0.0; 2], &[0.0, 1.0], 2), 1.0);
    assert!(relative_error(&[0.0, 1.0], &[f32::NAN, 1.0], 2).is_nan());
    assert_eq!(relative_error(&[], &[], 3), 0.0);
}

#[test]
fn overlaps_count_by_row() {
    let exact = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let found = [5.0, 4.0, 0.0, 2.0, 3.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert!((top_k_overlap(&exact, &found, 6, 3) - 5.0 / 6.0).abs() < 1e-12);
    assert_eq!(top_k_overlap(&exact, &exact, 6, 9), 1.0);
    let mut broken = found;
    broken[11] = f32::NAN;
    assert!((top_k_overlap(&exact, &broken, 6, 3) - 2.0 / 6.0).abs() < 1e-12);
}

#[test]
fn a_planted_outlier_falls_back_under_one_scale_and_serves_under_scales_by_row() {
    let (rows, cols) = (64, 256);
    let mut x = normals(31, rows * cols);
    x[7 * cols..8 * cols].iter_mut().for_each(|x| *x *= 1e6);
    let verdict = |scaling| {
        let quantised = Quantised::new(Level::detect(), Format::E4m3, scaling, &x, rows, cols);
        let found = quantised.dequantise(Level::detect());
        let error = LayerError { layer: "up".into(), rel_error: relative_error(&x, &found, cols) };
        let top_k_overlap = top_k_overlap(&x, &found, cols, 32);
        judge(&Report { layers: vec![error], top_k_overlap, recall: 0.3, quantised_recall: 0.3 }, &Gates::default())
    };
    assert_eq!(verdict(Scaling::Rows), Verdict::Accept);
    let Verdict::FallBack(breaches) = verdict(Scaling::Tensor) else { panic!("one scale for all was accepted") };
    assert!(matches!(&breaches[..], [Breach::RelError { .. }, Breach::TopKOverlap { .. }]), "{breaches:?}");
}
