//! `U·√Σ` of a sparse matrix by a randomised SVD.
//!
//! In: a sparse matrix, a rank, a seed. Out: one row of `U·√Σ` for each row of the matrix, scaled to length 1; fewer
//! columns when the matrix has a smaller side. Never knows what rows mean.

use recmesh_kernels::linalg::{Sketch, randomized_svd};

use super::{TokenizerError, Vectors, sparse::Sparse};

/// Columns drawn beyond the rank asked for.
const OVERSAMPLING: usize = 10;

/// Times the spectrum is sharpened: PMI spectra fall slowly.
const POWER: usize = 4;

/// Singular values below this share of the largest are rounding noise; their columns become zero.
const FLOOR: f32 = 1e-5;

/// Rows of `U·√Σ`, scaled to length 1. A matrix without entries has zero rows, at least one column wide.
pub(super) fn factorise(m: &Sparse, dims: usize, seed: u64, threads: usize) -> Result<Vectors, TokenizerError> {
    let cols = dims.min(m.rows()).min(m.cols).max(1);
    if m.entries.is_empty() {
        return Ok(Vectors { rows: m.rows(), cols, data: vec![0.0; m.rows() * cols] });
    }
    let transposed = m.transposed();
    let svd = randomized_svd(
        |x, n, out| out.copy_from_slice(&m.times(x, n, threads)),
        |x, n, out| out.copy_from_slice(&transposed.times(x, n, threads)),
        Sketch { rows: m.rows(), cols: m.cols, rank: cols, oversample: OVERSAMPLING, power_iterations: POWER, seed },
    );
    let floor = FLOOR * svd.s.iter().fold(0.0f32, |a, &b| a.max(b));
    let scales: Vec<f32> = svd.s.iter().map(|&s| if s > floor { s.sqrt() } else { 0.0 }).collect();
    let data = svd.u.chunks_exact(svd.rank).flat_map(|row| row.iter().zip(&scales).map(|(u, s)| u * s)).collect();
    let mut vectors = Vectors { rows: m.rows(), cols: svd.rank, data };
    vectors.check()?;
    vectors.normalise();
    Ok(vectors)
}
