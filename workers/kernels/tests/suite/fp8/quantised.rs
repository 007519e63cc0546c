//! Matrices with scales: the scales, the error of every element, fused steps, and the cases that go wrong.

use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::{Init, Level, Params, Role, Tape, Workspace};

use super::{exact, normals};

const ALL: [Scaling; 4] = [Scaling::Tensor, Scaling::Rows, Scaling::Tiles, Scaling::Blocks];
const SHAPES: [(usize, usize); 9] =
    [(0, 0), (0, 5), (5, 0), (1, 1), (3, 127), (2, 128), (5, 129), (130, 300), (256, 256)];

/// Rows and columns under one scale.
fn extent(scaling: Scaling, rows: usize, cols: usize) -> (usize, usize) {
    match scaling {
        Scaling::Tensor => (rows, cols),
        Scaling::Rows => (1, cols),
        Scaling::Tiles => (1, 128),
        Scaling::Blocks => (128, 128),
    }
}

/// Normals with what real activations have: a zero row, outliers, denormals.
fn adversarial(rows: usize, cols: usize) -> Vec<f32> {
    let mut x = normals(5, rows * cols);
    for row in 0..rows {
        let part = &mut x[row * cols..(row + 1) * cols];
        match row % 5 {
            1 => part.fill(0.0),
            2 => part.iter_mut().step_by(7).for_each(|x| *x *= 1e6),
            3 => part.iter_mut().for_each(|x| *x *= 1e-40),
            _ => {}
        }
    }
    x
}

#[test]
fn scales_and_codes_follow_from_the_largest_magnitude_under_them() {
    for (rows, cols) in SHAPES {
        let x = adversarial(rows, cols);
        for scaling in ALL {
            for format in [Format::E4m3, Format::E5m2] {
                let quantised = Quantised::new(Level::detect(), format, scaling, &x, rows, cols);
                let (height, width) = extent(scaling, rows, cols);
                for at in 0..x.len() {
                    let (row, col) = (at / cols, at % cols);
                    let same =
                        |other: &usize| (other / cols / height, other % cols / width) == (row / height, col / width);
                    // Looking for the largest is quadratic: corners only.
                    if row % 64 < 2 && col % 64 < 2 {
                        let largest = (0..x.len()).filter(same).map(|other| x[other].abs()).fold(0.0, f32::max);
                        let scale = (largest / format.max()).max(f32::MIN_POSITIVE);
                        assert_eq!(quantised.scale_at(row, col), scale, "{scaling:?} {rows} x {cols} at {row}, {col}");
                    }
                    let factor = 1.0 / quantised.scale_at(row, col);
                    assert_eq!(quantised.codes()[at], format.encode(x[at] * factor));
                }
                for level in Level::all() {
                    assert_eq!(Quantised::new(level, format, scaling, &x, rows, cols), quantised, "{level:?}");
                }
            }
        }
    }
}

#[test]
fn an_element_is_off_by_half_a_step_at_most() {
    let (rows, cols) = (130, 300);
    let x = adversarial(rows, cols);
    for scaling in ALL {
        let quantised = Quantised::new(Level::detect(), Format::E4m3, scaling, &x, rows, cols);
        let exact = exact(&quantised);
        let rounded = quantised.dequantise(Level::detect());
        for (at, (&exact, &x)) in exact.iter().zip(&x).enumerate() {
            let scale = f64::from(quantised.scale_at(at / cols, at % cols));
            // Half a step is 2⁻⁴ of a normal, 2⁻¹⁰ scales of a subnormal; the factor's rounding comes on top.
            let bound = (f64::from(x).abs() / 16.0).max(scale / 1024.0) * (1.0 + 1e-6);
            assert!((exact - f64::from(x)).abs() <= bound, "{scaling:?} {at}: {exact} for {x}");
            assert_eq!(rounded[at], exact as f32, "{scaling:?} {at}");
        }
    }
}

#[test]
fn zero_rows_and_specials_stay_what_they_are() {
    for scaling in ALL {
        let zeros = Quantised::new(Level::detect(), Format::E4m3, scaling, &[0.0; 600], 2, 300);
        assert!(zeros.codes().iter().all(|&code| code == 0) && zeros.scales().iter().all(|scale| *scale > 0.0));
        assert_eq!(zeros.dequantise(Level::detect()), [0.0; 600]);
        for level in Level::all() {
            let mut x = normals(2, 600);
            (x[3], x[4], x[5]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
            let quantised = Quantised::new(level, Format::E4m3, scaling, &x, 2, 300);
            assert_eq!(quantised.codes()[3..6], [0x7F, 0x7E, 0xFE]);
            let back = quantised.dequantise(level);
            assert!(back[3].is_nan() && back[4] == 1.75 * 2_f32.powi(127) && back[5] == -back[4]);
            x[4..6].fill(1.0);
            let quantised = Quantised::new(level, Format::E4m3, scaling, &x, 2, 300);
            let back = quantised.dequantise(level);
            assert!(quantised.scale_at(0, 0) < 0.02, "NaN counts for no scale");
            assert!(back.iter().enumerate().all(|(at, value)| value.is_nan() == (at == 3)));
        }
    }
}

#[test]
fn filled_again_it_is_as_new() {
    let (long, short) = (adversarial(40, 300), normals(9, 260));
    for scaling in ALL {
        let mut reused = Quantised::new(Level::detect(), Format::E4m3, scaling, &long, 40, 300);
        reused.fill(Level::detect(), &short, 2, 130);
        assert_eq!(reused, Quantised::new(Level::detect(), Format::E4m3, scaling, &short, 2, 130));
    }
}

#[test]
fn fused_norm_has_the_bits_of_norm_then_quantise() {
    for (rows, cols) in [(1, 1), (7, 64), (5, 300), (3, 1792)] {
        let x = adversarial(rows, cols);
        let mut params = Params::default();
        let gain = params.add("gain", Role::Vector, 1, cols, Init::Normal(1.0), 3);
        for level in Level::all() {
            let mut workspace = Workspace::with_level(level);
            let mut tape = Tape::serve(&params, &mut workspace);
            let input = tape.constant(rows, cols, &x);
            let normed = tape.rms_norm(input, gain);
            for scaling in [Scaling::Rows, Scaling::Tiles] {
                let apart = Quantised::new(level, Format::E4m3, scaling, tape.value(normed), rows, cols);
                let mut fused = Quantised::empty(Format::E4m3, scaling);
                fused.fill_rms_norm(level, &x, &params.get(gain).data, &mut Vec::new());
                assert_eq!(fused, apart, "{level:?} {scaling:?} {rows} x {cols}");
            }
        }
    }
}

#[test]
fn fused_gate_has_the_bits_of_gate_then_quantise() {
    let params = Params::default();
    for (rows, cols) in [(1, 1), (7, 64), (5, 300), (0, 8)] {
        let x = adversarial(rows, 2 * cols);
        for level in Level::all() {
            let mut workspace = Workspace::with_level(level);
            let mut tape = Tape::serve(&params, &mut workspace);
            let input = tape.constant(rows, 2 * cols, &x);
            let gated = tape.swiglu(input);
            for scaling in [Scaling::Rows, Scaling::Tiles] {
                let apart = Quantised::new(level, Format::E5m2, scaling, tape.value(gated), rows, cols);
                let mut fused = Quantised::empty(Format::E5m2, scaling);
                fused.fill_swiglu(level, &x, cols, &mut Vec::new());
                assert_eq!(fused, apart, "{level:?} {scaling:?} {rows} x {cols}");
            }
        }
    }
}
