//! The nearest centroid of every row: dot products by blocked matrix multiplication, near ties settled exactly.
//!
//! In: rows and a codebook. Out: the code with the least `‖r − c‖²` in f64, the lowest among equals, and that distance.
//! `‖r − c‖² = ‖r‖² + (‖c‖² − 2 r·c)`: the bracket ranks centroids; those within its rounding error of the best are
//! computed again without it, so the answer is that of the naive search on any machine.

use recmesh_kernels::linalg::{self, Output, View};

use super::super::parallel::map_chunks;

/// Rows of one block: 512 rows × 256 codes of f32 stay in the second-level cache.
const BLOCK: usize = 512;

/// A codebook ready to be searched.
pub(super) struct Codebook<'a> {
    centroids: &'a [f32],
    dims: usize,
    squares: Vec<f32>,
    largest: f64,
}

/// Codes of rows.
pub(super) struct Assignment {
    /// The nearest centroid of each row.
    pub codes: Vec<u32>,
    /// `‖r − c‖²` of each row and its centroid.
    pub distances: Vec<f64>,
}

impl<'a> Codebook<'a> {
    /// Prepares `codes × dims` centroids.
    pub(super) fn new(centroids: &'a [f32], dims: usize) -> Self {
        let squares: Vec<f32> = centroids.chunks_exact(dims).map(|c| square(c) as f32).collect();
        let largest = squares.iter().fold(0.0f32, |a, &b| a.max(b));
        Self { centroids, dims, squares, largest: f64::from(largest) }
    }

    /// The nearest centroid of every row.
    pub(super) fn assign(&self, rows: &[f32], threads: usize) -> Assignment {
        let (dims, count) = (self.dims, rows.len() / self.dims);
        let parts = map_chunks(count, BLOCK, threads, |r| self.block(&rows[r.start * dims..r.end * dims]));
        let mut all = Assignment { codes: Vec::with_capacity(count), distances: Vec::with_capacity(count) };
        for (code, distance) in parts.into_iter().flatten() {
            all.codes.push(code);
            all.distances.push(distance);
        }
        all
    }

    fn block(&self, rows: &[f32]) -> Vec<(u32, f64)> {
        let (n, dims, codes) = (rows.len() / self.dims, self.dims, self.squares.len());
        let mut dots = vec![0.0f32; n * codes];
        let (rows_view, book) = (View::new(rows, n, dims), View::new(self.centroids, codes, dims));
        linalg::gemm(&mut dots, Output::Write, 1.0, rows_view, book.t());
        let each = rows.chunks_exact(dims).zip(dots.chunks_exact_mut(codes));
        each.map(|(row, dots)| self.settle(row, dots)).collect()
    }

    /// The best of one row, given its dot products; `dots` becomes scratch.
    fn settle(&self, row: &[f32], dots: &mut [f32]) -> (u32, f64) {
        let mut best = f32::INFINITY;
        for (dot, &square) in dots.iter_mut().zip(&self.squares) {
            *dot = square - 2.0 * *dot;
            best = best.min(*dot);
        }
        // A dot product of n terms is off by at most n·ε·‖a‖‖b‖, whatever the order of its sums; twice for two centroids.
        let unit = f64::from(f32::EPSILON) * (self.dims + 4) as f64;
        let margin = 4.0 * unit * (square(row).sqrt() * self.largest.sqrt() + self.largest);
        let limit = (f64::from(best) + margin) as f32;
        let mut winner = (0, f64::INFINITY);
        for (code, &score) in dots.iter().enumerate() {
            if score <= limit {
                let exact = distance(row, &self.centroids[code * self.dims..(code + 1) * self.dims]);
                if exact < winner.1 {
                    winner = (code as u32, exact);
                }
            }
        }
        winner
    }
}

/// `‖a‖²`.
fn square(a: &[f32]) -> f64 {
    a.iter().map(|&x| f64::from(x).powi(2)).sum()
}

/// `‖a − b‖²`.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}
