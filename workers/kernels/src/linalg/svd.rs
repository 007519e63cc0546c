//! A randomized truncated singular value decomposition (Halko, Martinsson, Tropp 2011, algorithms 4.4 and 5.1).
//!
//! In: a matrix as two functions, `X ↦ A·X` and `Y ↦ Aᵀ·Y`, so that it may be sparse and is never formed. Out: the
//! leading singular triplets. The test matrix is drawn from the seed.

use super::symmetric_eigen;
use crate::noise;

/// How to sketch.
#[derive(Clone, Copy, Debug)]
pub struct Sketch {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Triplets wanted.
    pub rank: usize,
    /// Extra columns of the sketch; 8 to 16 are usual.
    pub oversample: usize,
    /// Times the spectrum is sharpened; 1 to 4 are usual.
    pub power_iterations: usize,
    /// Seed of the test matrix.
    pub seed: u64,
}

/// Leading singular triplets: `A ≈ u · diag(s) · vᵀ`.
#[derive(Clone, Debug)]
pub struct Svd {
    /// How many: the rank asked for, or the smaller side of the matrix.
    pub rank: usize,
    /// `[rows, rank]`, orthonormal columns.
    pub u: Vec<f32>,
    /// Singular values, largest first.
    pub s: Vec<f32>,
    /// `[cols, rank]`, orthonormal columns; zero where the singular value is.
    pub v: Vec<f32>,
}

/// Factors a matrix given by `apply(X, n, out)`: `out[rows, n] = A · X[cols, n]`, and `apply_transpose(Y, n, out)`:
/// `out[cols, n] = Aᵀ · Y[rows, n]`. Both overwrite `out`, all row-major.
pub fn randomized_svd(
    mut apply: impl FnMut(&[f32], usize, &mut [f32]),
    mut apply_transpose: impl FnMut(&[f32], usize, &mut [f32]),
    sketch: Sketch,
) -> Svd {
    let Sketch { rows, cols, rank, oversample, power_iterations, seed } = sketch;
    let n = (rank + oversample).min(rows).min(cols);
    let rank = rank.min(n);
    let key = noise::key_of("randomized_svd", seed);
    let mut right: Vec<f32> = (0..(cols * n) as u64).map(|i| noise::normal(key, i) as f32).collect();
    let mut left = vec![0.0; rows * n];
    apply(&right, n, &mut left);
    orthonormalise(&mut left, rows, n);
    for _ in 0..power_iterations {
        apply_transpose(&left, n, &mut right);
        orthonormalise(&mut right, cols, n);
        apply(&right, n, &mut left);
        orthonormalise(&mut left, rows, n);
    }
    // B = QᵀA, held as Bᵀ [cols, n]; the eigenvectors of B·Bᵀ are its left singular vectors.
    apply_transpose(&left, n, &mut right);
    let eigen = symmetric_eigen(&gram(&right, n), n);
    let s: Vec<f64> = eigen.values[..rank].iter().map(|&value| value.max(0.0).sqrt()).collect();
    let floor = s.first().map_or(0.0, |&largest| largest * 1e-7);
    let inverse: Vec<f64> = s.iter().map(|&value| if value > floor { 1.0 / value } else { 0.0 }).collect();
    Svd {
        rank,
        u: rotated(&left, n, &eigen.vectors, &vec![1.0; rank]),
        s: s.iter().map(|&value| value as f32).collect(),
        v: rotated(&right, n, &eigen.vectors, &inverse),
    }
}

/// `x · vectorsᵀ · diag(scale)`, keeping as many columns as there are scales.
fn rotated(x: &[f32], n: usize, vectors: &[f64], scale: &[f64]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len() / n.max(1) * scale.len());
    for row in x.chunks_exact(n.max(1)) {
        for (vector, scale) in vectors.chunks_exact(n).zip(scale) {
            let sum: f64 = row.iter().zip(vector).map(|(&x, w)| f64::from(x) * w).sum();
            out.push((sum * scale) as f32);
        }
    }
    out
}

/// `xᵀ · x` of an `[m, n]` matrix, in f64.
fn gram(x: &[f32], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for row in x.chunks_exact(n.max(1)) {
        for (i, &a) in row.iter().enumerate() {
            for (sum, &b) in out[i * n..(i + 1) * n].iter_mut().zip(row) {
                *sum += f64::from(a) * f64::from(b);
            }
        }
    }
    out
}

/// Orthonormal columns with the same span, by Gram–Schmidt in f64, each column cleaned twice. A column that depends on
/// those before it becomes zero.
fn orthonormalise(x: &mut [f32], rows: usize, n: usize) {
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(n);
    for c in 0..n {
        let mut column: Vec<f64> = (0..rows).map(|r| f64::from(x[r * n + c])).collect();
        let before = norm(&column);
        for _ in 0..2 {
            for earlier in &columns {
                let along: f64 = dot(earlier, &column);
                for (value, unit) in column.iter_mut().zip(earlier) {
                    *value -= along * unit;
                }
            }
        }
        let length = norm(&column);
        let scale = if length > before * 1e-9 { 1.0 / length } else { 0.0 };
        column.iter_mut().for_each(|value| *value *= scale);
        for (r, value) in column.iter().enumerate() {
            x[r * n + c] = *value as f32;
        }
        columns.push(column);
    }
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Eight lanes: fast, and in a fixed order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (left, left_tail) = a.as_chunks::<8>();
    let (right, right_tail) = b.as_chunks::<8>();
    for (x, y) in left.iter().zip(right) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f64>() + left_tail.iter().zip(right_tail).map(|(x, y)| x * y).sum::<f64>()
}
