//! The served product: within its written bound everywhere, and the published error of each scaling.

use recmesh_kernels::Level;
use recmesh_kernels::fp8::gates::{relative_error, top_k_overlap};
use recmesh_kernels::fp8::serve::{Tiles, gamma, gemm};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};

use super::{exact, normals, product};

const PAIRS: [(Scaling, Scaling); 5] = [
    (Scaling::Tensor, Scaling::Tensor),
    (Scaling::Rows, Scaling::Rows),
    (Scaling::Tiles, Scaling::Blocks),
    (Scaling::Tiles, Scaling::Rows),
    (Scaling::Rows, Scaling::Tensor),
];

fn quantised(scaling: Scaling, x: &[f32], cols: usize) -> Quantised {
    Quantised::new(Level::detect(), Format::E4m3, scaling, x, x.len() / cols, cols)
}

#[test]
fn products_keep_their_bound() {
    let mut tiles = Tiles::default();
    for (m, n, k) in [(1, 1, 1), (3, 5, 31), (17, 300, 128), (33, 40, 129), (2, 20, 5000), (70, 64, 384)] {
        let (mut a, mut b) = (normals(1, m * k), normals(2, n * k));
        a[..k].iter_mut().step_by(5).for_each(|x| *x *= 1e6);
        a[(m - 1) * k..].fill(0.0);
        b[..k].iter_mut().for_each(|x| *x *= 1e-40);
        for (left, right) in PAIRS {
            let (a, b) = (quantised(left, &a, k), quantised(right, &b, k));
            let by_block = left == Scaling::Tiles || right == Scaling::Blocks;
            let length = if by_block { 128 } else { k };
            let expected = product(&exact(&a), &exact(&b), k);
            let mut first: Option<Vec<f32>> = None;
            for level in Level::all() {
                let mut out = vec![f32::NAN; m * n];
                gemm(level, &mut out, &a, &b, &mut tiles);
                for (at, (&found, &(exact, absolute))) in out.iter().zip(&expected).enumerate() {
                    let scale = (0..k).step_by(length).map(|col| a.scale_at(at / n, col)).fold(0.0, f32::max);
                    let lost = k.div_ceil(length) as f64 * 2_f64.powi(-149) * (1.0 + f64::from(scale));
                    let bound = gamma(k, length) * absolute + lost;
                    let off = (f64::from(found) - exact).abs();
                    assert!(off <= bound, "{left:?} x {right:?} {m} {n} {k} at {at}: {found}, not {exact}");
                }
                // Tiles add in an order of their own.
                if !format!("{level:?}").contains("Amx") {
                    assert_eq!(&out, first.get_or_insert_with(|| out.clone()), "{level:?}");
                }
            }
        }
    }
}

#[test]
fn products_of_empty_shapes_are_empty_or_zero() {
    let mut tiles = Tiles::default();
    for (m, n, k) in [(0, 3, 4), (3, 0, 4), (3, 2, 0)] {
        let make =
            |rows: usize| Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, &vec![1.0; rows * k], rows, k);
        let mut out = vec![f32::NAN; m * n];
        gemm(Level::detect(), &mut out, &make(m), &make(n), &mut tiles);
        assert_eq!(out, vec![0.0; m * n]);
    }
}

#[test]
fn a_tile_border_changes_nothing() {
    // Rows beyond one tile of each side give the bits that they give alone.
    let k = 2048;
    let (a, b) = (normals(3, 300 * k), normals(4, 80 * k));
    let mut tiles = Tiles::default();
    let (x, y) = (quantised(Scaling::Rows, &a, k), quantised(Scaling::Rows, &b, k));
    let mut out = vec![0.0; 300 * 80];
    gemm(Level::detect(), &mut out, &x, &y, &mut tiles);
    for row in [0, 15, 16, 47, 48, 299] {
        let alone = quantised(Scaling::Rows, &a[row * k..][..k], k);
        let mut found = vec![0.0; 80];
        gemm(Level::detect(), &mut found, &alone, &y, &mut tiles);
        assert_eq!(found, out[row * 80..][..80], "row {row}");
    }
}

/// Error of a quantised product against the one of f32 operands, and the overlap of the best 32 of a row.
fn quality(a: &[f32], b: &[f32], k: usize, pair: (Scaling, Scaling), rows: std::ops::Range<usize>) -> (f64, f64) {
    let (m, n) = (a.len() / k, b.len() / k);
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let reference: Vec<f32> = product(&wide(a), &wide(b), k).iter().map(|&(sum, _)| sum as f32).collect();
    let mut out = vec![0.0; m * n];
    gemm(Level::detect(), &mut out, &quantised(pair.0, a, k), &quantised(pair.1, b, k), &mut Tiles::default());
    let part = rows.start * n..rows.end * n;
    let (reference, out) = (&reference[part.clone()], &out[part]);
    (relative_error(reference, out, n), top_k_overlap(reference, out, n, 32))
}

const SCHEMES: [(Scaling, Scaling); 3] =
    [(Scaling::Tensor, Scaling::Tensor), (Scaling::Rows, Scaling::Rows), (Scaling::Tiles, Scaling::Blocks)];

/// How close an error is to the published figure.
fn assert_near(found: f64, published: f64, tolerance: f64, what: &str) {
    assert!((found - published).abs() <= tolerance, "{what}: {found:.4}, published {published}");
}

#[test]
fn without_outliers_every_scaling_errs_the_same() {
    let (m, n, k) = (32, 512, 1024);
    let (a, b) = (normals(11, m * k), normals(12, n * k));
    for pair in SCHEMES {
        let (error, overlap) = quality(&a, &b, k, pair, 0..m);
        assert_near(error, 0.037, 0.0015, &format!("{pair:?}"));
        assert_near(overlap, 0.96, 0.02, &format!("{pair:?}"));
    }
}

#[test]
fn an_outlying_token_costs_the_others_everything_under_one_scale_for_all() {
    let (m, n, k) = (32, 256, 1024);
    let (mut a, b) = (normals(13, m * k), normals(14, n * k));
    a[..k].iter_mut().for_each(|x| *x *= 1e6);
    for (pair, published) in SCHEMES.into_iter().zip([1.0, 0.038, 0.038]) {
        let (error, _) = quality(&a, &b, k, pair, 1..m);
        assert_near(error, published, 0.002, &format!("{pair:?}"));
    }
}

#[test]
fn an_outlying_channel_separates_all_three() {
    let (m, n, k) = (64, 256, 1024);
    let (mut a, mut b) = (normals(15, m * k), normals(16, n * k));
    a.iter_mut().step_by(k).for_each(|x| *x *= 1e6);
    b.iter_mut().step_by(k).for_each(|x| *x *= 1e-6);
    for (pair, published) in SCHEMES.into_iter().zip([1.0, 0.74, 0.27]) {
        let (error, _) = quality(&a, &b, k, pair, 0..m);
        assert_near(error, published, 0.02, &format!("{pair:?}"));
    }
}
