//! The quintic Newton–Schulz iteration: singular values are driven towards one, singular vectors stay.
//!
//! In: a matrix. Out: in place, `U · diag(p(…p(s / ‖s‖))) · Vᵀ` with `p(x) = a·x + b·x³ + c·x⁵`. The matrix is
//! transposed when it has more rows than columns, so that the square products are the small ones.

use super::{Output, View, gemm};
use crate::cpu::{Level, elementwise};

/// The coefficients `a, b, c` of Muon.
pub const QUINTIC: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// Orthogonalises a `rows × cols` matrix in place by `steps` iterations (papers: Muon; MuonRec, arXiv 2603.00416).
///
/// # Panics
/// If the slice is not `rows × cols` long.
pub fn newton_schulz(x: &mut [f32], rows: usize, cols: usize, steps: usize, coefficients: [f32; 3]) {
    assert_eq!(x.len(), rows * cols, "a matrix of {rows} x {cols}");
    if x.is_empty() {
        return;
    }
    if rows > cols {
        let mut flat: Vec<f32> = transposed(x, rows, cols);
        iterate(&mut flat, cols, rows, steps, coefficients);
        x.copy_from_slice(&transposed(&flat, cols, rows));
    } else {
        iterate(x, rows, cols, steps, coefficients);
    }
}

fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| x[(i % rows) * cols + i / rows]).collect()
}

/// `A = X·Xᵀ`, `X ← a·X + (b·A + c·A²)·X`, with `rows ≤ cols`.
fn iterate(x: &mut [f32], rows: usize, cols: usize, steps: usize, [a, b, c]: [f32; 3]) {
    let level = Level::detect();
    let norm = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    elementwise::scale_in_place(level, x, (1.0 / (norm + 1e-7)) as f32);
    let mut gram = vec![0.0; rows * rows];
    let mut polynomial = vec![0.0; rows * rows];
    let mut next = vec![0.0; x.len()];
    for _ in 0..steps {
        let matrix = View::new(x, rows, cols);
        gemm(&mut gram, Output::Write, 1.0, matrix, matrix.t());
        elementwise::scale(level, &mut polynomial, b, &gram);
        let square = View::new(&gram, rows, rows);
        gemm(&mut polynomial, Output::Add, c, square, square);
        elementwise::scale(level, &mut next, a, x);
        gemm(&mut next, Output::Add, 1.0, View::new(&polynomial, rows, rows), matrix);
        x.copy_from_slice(&next);
    }
}
