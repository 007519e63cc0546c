//! Matrix products over strided views, on one thread.
//!
//! In: two views. Out: a dense row-major matrix, written or added to. The product's own instruction set is chosen by
//! the `gemm` crate; threads stay outside, over micro-batches.

#![allow(unsafe_code)] // `gemm` takes pointers; this file is the one place that makes them.

/// A matrix in a slice, possibly transposed or with a longer row stride.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// `rows × cols`, row-major and dense.
    ///
    /// # Panics
    /// If the slice is not `rows × cols` long.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a view of {rows} x {cols} over {} values", data.len());
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without a copy.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// What happens to the values that stand in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Overwritten, never read.
    Write,
    /// Added to.
    Add,
}

/// `out = scale · a · b`, or `out += scale · a · b`; `out` is dense and row-major.
///
/// # Panics
/// If the shapes do not fit.
pub fn gemm(out: &mut [f32], how: Output, scale: f32, a: View<'_>, b: View<'_>) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(b.rows, k, "inner sizes of a matrix product");
    assert_eq!(out.len(), m * n, "output of a matrix product {m} x {n}");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if how == Output::Write {
            out.fill(0.0);
        }
        return;
    }
    let read = how == Output::Add;
    // SAFETY: a view's strides address `rows × cols` values inside its slice (dense or its transpose), the output is
    // an exclusive slice of m · n values, and no slice is longer than isize::MAX bytes, so every stride fits.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            read,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_every_layout() {
        let (m, n, k) = (5, 7, 3);
        let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.71).cos()).collect();
        let at: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
        let bt: Vec<f32> = (0..k * n).map(|i| b[(i % k) * n + i / k]).collect();
        for va in [View::new(&a, m, k), View::new(&at, k, m).t()] {
            for vb in [View::new(&b, k, n), View::new(&bt, n, k).t()] {
                let mut out = vec![1.0; m * n];
                gemm(&mut out, Output::Add, 2.0, va, vb);
                for i in 0..m {
                    for j in 0..n {
                        let exact: f32 = (0..k).map(|c| a[i * k + c] * b[c * n + j]).sum();
                        assert!((out[i * n + j] - 1.0 - 2.0 * exact).abs() < 1e-5);
                    }
                }
            }
        }
    }

    #[test]
    fn empty_inner_size_writes_zeros() {
        let mut out = vec![f32::NAN; 4];
        gemm(&mut out, Output::Write, 1.0, View::new(&[], 2, 0), View::new(&[], 0, 2));
        assert_eq!(out, [0.0; 4]);
    }
}
