//! A sparse matrix by rows, and its products with thin dense ones.
//!
//! In: rows of (column, value). Out: `M·X` and `Mᵀ·X` for row-major `X`. Sums run in the order of the entries, so the
//! thread count changes nothing. Never factorises.

use super::super::parallel::map_chunks;

/// Rows whose products are computed together.
const CHUNK: usize = 256;

/// A sparse matrix; entries of row `i` are `entries[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sparse {
    /// Columns.
    pub cols: usize,
    /// Rows + 1 places.
    pub offsets: Vec<usize>,
    /// Column and value.
    pub entries: Vec<(u32, f32)>,
}

impl Sparse {
    /// A matrix of rows with ascending columns.
    pub(super) fn from_rows(cols: usize, rows: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Self {
        let mut matrix = Self { cols, offsets: vec![0], entries: Vec::new() };
        for row in rows {
            matrix.entries.extend(row);
            matrix.offsets.push(matrix.entries.len());
        }
        matrix
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// `Mᵀ`.
    pub(super) fn transposed(&self) -> Self {
        let mut offsets = vec![0usize; self.cols + 1];
        for &(col, _) in &self.entries {
            offsets[col as usize + 1] += 1;
        }
        for i in 0..self.cols {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for row in 0..self.rows() {
            for &(col, value) in &self.entries[self.offsets[row]..self.offsets[row + 1]] {
                entries[next[col as usize]] = (row as u32, value);
                next[col as usize] += 1;
            }
        }
        Self { cols: self.rows(), offsets, entries }
    }

    /// `M·X` for a row-major `cols × width` `X`.
    pub(super) fn times(&self, x: &[f32], width: usize, threads: usize) -> Vec<f32> {
        map_chunks(self.rows(), CHUNK, threads, |range| {
            let mut out = vec![0.0f32; range.len() * width];
            for (out, row) in out.chunks_exact_mut(width).zip(range) {
                for &(col, value) in &self.entries[self.offsets[row]..self.offsets[row + 1]] {
                    let from = &x[col as usize * width..(col as usize + 1) * width];
                    out.iter_mut().zip(from).for_each(|(o, &v)| *o += value * v);
                }
            }
            out
        })
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_equal_dense_ones() {
        let m = Sparse::from_rows(3, [vec![(0, 1.0), (2, 2.0)], vec![], vec![(1, -1.0)], vec![(0, 3.0), (1, 4.0)]]);
        let x = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        assert_eq!(m.times(&x, 2, 2), [7.0, 70.0, 0.0, 0.0, -2.0, -20.0, 11.0, 110.0]);
        let y = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(m.transposed().times(&y, 1, 1), [13.0, 13.0, 2.0]);
        assert_eq!(m.transposed().transposed(), m);
    }
}
