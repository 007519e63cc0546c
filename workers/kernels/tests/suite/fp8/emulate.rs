//! The tensor core in bits: vectors worked out by hand, and the error its accumulator is known for.

use recmesh_kernels::Level;
use recmesh_kernels::fp8::emulate::{Promotion, dot, gemm};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};

use super::{exact, normals, product};

/// Products of exact E4M3 values on top of an accumulator, the same at every level.
fn sum(products: &[(f32, f32)], start: f32) -> f32 {
    let code = |x: f32| {
        let code = Format::E4m3.encode(x);
        assert_eq!(Format::E4m3.decode(code), x, "a hand-made vector has exact values");
        code
    };
    let (a, b): (Vec<u8>, Vec<u8>) = products.iter().map(|&(x, y)| (code(x), code(y))).unzip();
    let sums: Vec<f32> =
        Level::all().into_iter().map(|level| dot(level, (Format::E4m3, &a), (Format::E4m3, &b), start)).collect();
    assert!(sums.iter().all(|sum| sum.to_bits() == sums[0].to_bits()));
    sums[0]
}

#[test]
fn alignment_keeps_thirteen_bits_below_the_largest_exponent() {
    // 2¹³ beside 1: the last bit that survives. 2¹⁴ beside 1: lost.
    assert_eq!(sum(&[(256.0, 32.0), (1.0, 1.0)], 0.0), 8193.0);
    assert_eq!(sum(&[(256.0, 64.0), (1.0, 1.0)], 0.0), 16384.0);
    // Each one is cut on its own, so that 31 of them are lost as well.
    let mut many = vec![(1.0, 1.0); 32];
    many[0] = (256.0, 64.0);
    assert_eq!(sum(&many, 0.0), 16384.0);
    // Cutting is towards zero: −1 vanishes too, where a floor would give 16382.
    assert_eq!(sum(&[(256.0, 64.0), (-1.0, 1.0)], 0.0), 16384.0);
    // The unit at 2¹⁴ is 2: 2.25 gives 2, 1.75 gives 0, 3 gives 2.
    assert_eq!(sum(&[(256.0, 64.0), (1.5, 1.5)], 0.0), 16386.0);
    assert_eq!(sum(&[(256.0, 64.0), (1.75, 1.0)], 0.0), 16384.0);
    assert_eq!(sum(&[(256.0, 64.0), (1.5, 2.0)], 0.0), 16386.0);
}

#[test]
fn exponents_of_products_are_not_normalised() {
    // 448² is 3.0625 · 2¹⁶, so alignment has units of 2¹⁶⁻¹³ = 8 and both eights survive it. As 1.53125 · 2¹⁷ it would
    // have units of 16, and each eight alone would vanish.
    assert_eq!(sum(&[(448.0, 448.0), (8.0, 1.0), (8.0, 1.0)], 0.0), 200_720.0);
    // A single eight survives alignment, but the sum has 18 bits and the accumulator 14: the second cut takes it.
    assert_eq!(sum(&[(448.0, 448.0), (8.0, 1.0)], 0.0), 200_704.0);
    // Subnormal operands have the smallest exponent: 2⁻⁹ · 2⁻⁹ is 2⁻⁶ · 2⁻⁶ with a significand of 2⁻⁶.
    let small = 2_f32.powi(-9);
    assert_eq!(sum(&[(small, small)], 0.0), 2_f32.powi(-18));
    assert_eq!(sum(&[(small, small); 32], 0.0), 2_f32.powi(-13));
}

#[test]
fn the_accumulator_is_aligned_and_cut_like_a_product() {
    assert_eq!(sum(&[(1.0, 1.0)], 16_384.0), 16_384.0);
    assert_eq!(sum(&[(1.5, 2.0)], 16_384.0), 16_386.0);
    assert_eq!(sum(&[(-1.5, 2.0)], 16_384.0), 16_382.0);
    // A large product cuts a small accumulator.
    assert_eq!(sum(&[(256.0, 64.0)], 3.0), 16_386.0);
    // 8191.5 is 2¹² times a number of 13 fraction bits, 8192.5 would need 14: it is cut when it comes in.
    assert_eq!(sum(&[(0.0, 1.0)], 8191.5), 8191.5);
    assert_eq!(sum(&[(0.0, 1.0)], 8192.5), 8192.0);
    // Nothing but zeros.
    assert_eq!(sum(&[(0.0, 448.0); 40], 0.0), 0.0);
    assert_eq!(sum(&[(0.5, 448.0), (-0.5, 448.0)], 0.0), 0.0);
    // Two steps. Beside 2¹⁴ in the product or in the accumulator every one is lost; 32 ones that come first are a sum.
    let mut two = vec![(1.0, 1.0); 64];
    two[0] = (256.0, 64.0);
    assert_eq!(sum(&two, 0.0), 16_384.0);
    two.rotate_left(32);
    assert_eq!(sum(&two, 0.0), 16_384.0 + 32.0);
}

#[test]
fn nan_and_infinity_leave_the_model() {
    let (one, nan) = ([0x38, 0x38], [0x38, 0x7F]);
    assert!(dot(Level::detect(), (Format::E4m3, &one), (Format::E4m3, &nan), 0.0).is_nan());
    assert_eq!(dot(Level::detect(), (Format::E5m2, &[0x7C]), (Format::E4m3, &[0x38]), 0.0), f32::INFINITY);
    assert!(dot(Level::detect(), (Format::E5m2, &[0x7C]), (Format::E4m3, &[0x00]), 0.0).is_nan());
}

#[test]
fn mixed_formats_and_ragged_lengths_are_exact_where_nothing_is_cut() {
    // Small integers: every sum is exact, so the plain sum is the answer.
    for k in [1, 31, 32, 33, 100, 129] {
        let a: Vec<f32> = (0..k).map(|i| (i % 7) as f32 - 3.0).collect();
        let b: Vec<f32> = (0..k).map(|i| [1.0, -2.0, 0.5, 3.0][i % 4]).collect();
        let expected: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
        let x: Vec<u8> = a.iter().map(|&x| Format::E4m3.encode(x)).collect();
        let y: Vec<u8> = b.iter().map(|&y| Format::E5m2.encode(y)).collect();
        assert_eq!(dot(Level::detect(), (Format::E4m3, &x), (Format::E5m2, &y), 0.0), expected, "{k}");
    }
}

/// Relative error of the accumulation alone: the emulated product against the exact one of the same codes.
fn accumulation_error(k: usize, promotion: Promotion, pair: (Scaling, Scaling)) -> f64 {
    let (m, n) = (24, 48);
    let make =
        |seed, rows, scaling| Quantised::new(Level::detect(), Format::E4m3, scaling, &normals(seed, rows * k), rows, k);
    let (a, b) = (make(21, m, pair.0), make(22, n, pair.1));
    let mut out = vec![0.0; m * n];
    gemm(Level::detect(), &mut out, &a, &b, promotion);
    let (mut off, mut norm) = (0.0, 0.0);
    for (found, (exact, _)) in out.iter().zip(product(&exact(&a), &exact(&b), k)) {
        off += (f64::from(*found) - exact).powi(2);
        norm += exact * exact;
    }
    (off / norm).sqrt()
}

#[test]
fn the_error_of_the_accumulator_is_the_known_one() {
    let rows = (Scaling::Rows, Scaling::Rows);
    for (k, promotion, pair, known) in [
        (1024, Promotion::Never, rows, 5e-4),
        (4096, Promotion::Never, rows, 1.3e-3),
        (4096, Promotion::Block, rows, 1.2e-4),
        (4096, Promotion::Never, (Scaling::Tiles, Scaling::Blocks), 1.2e-4),
    ] {
        let found = accumulation_error(k, promotion, pair);
        assert!((found / known).ln().abs() < 0.15, "{k} {promotion:?} {pair:?}: {found:e}, known {known:e}");
    }
}
