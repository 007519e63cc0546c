//! The product that is served: codes become f32 in tiles that stay in cache, sums are f32.
//!
//! In: activations `m × k` and weights `n × k`, any two scalings. Out: `m × n`. Never emulates a tensor core; that is
//! [`super::emulate`].
//!
//! **Bound.** A product of two codes is exact in f32, so only sums round. With `u = 2⁻²⁴`, `L` columns under one pair of
//! scales (`k`, or 128 where either side scales by block) and `B = ⌈k / L⌉` such stretches, an output differs from the
//! exact product of the dequantised matrices (`code · scale` unrounded) by at most
//! `γ · Σ |a · b|  +  B · 2⁻¹⁴⁹`,  `γ = (L + B) · u / (1 − (L + B) · u)`, in whatever order the product adds. Scales are
//! multiplied in f64. NaN goes through.

use super::convert;
use super::quantised::Quantised;
use crate::cpu::matmul::{Output, View, gemm as multiply};
use crate::cpu::{Level, kernel};

/// Decoded tiles that products reuse; one a thread. After warm-up no product allocates.
#[derive(Debug, Default)]
pub struct Tiles {
    a: Vec<f32>,
    b: Vec<f32>,
    sums: Vec<f32>,
    scales: Vec<f64>,
}

impl Tiles {
    /// Without memory yet.
    pub(super) const fn new() -> Self {
        Self { a: Vec::new(), b: Vec::new(), sums: Vec::new(), scales: Vec::new() }
    }
}

/// Values of a decoded tile of each side: 2 MiB that the product packs piece by piece, and 512 KiB.
const A_TILE: usize = 1 << 19;
const B_TILE: usize = 1 << 17;
/// Rows of a tile at most, and at least.
const A_ROWS: usize = 512;
const B_ROWS: usize = 256;
const FEWEST: usize = 16;

/// The bound's factor `γ` for an inner size and the columns under one pair of scales.
#[must_use]
pub fn gamma(k: usize, under_one_scale: usize) -> f64 {
    let length = under_one_scale.clamp(1, k.max(1));
    let roundings = (length + k.div_ceil(length)) as f64 * f64::from(f32::EPSILON) / 2.0;
    roundings / (1.0 - roundings)
}

/// `out = a · bᵀ` of the dequantised matrices, `m × n` row-major.
///
/// # Panics
/// If the inner sizes differ or `out` is not `m × n` long.
pub fn gemm(level: Level, out: &mut [f32], a: &Quantised, b: &Quantised, tiles: &mut Tiles) {
    let (m, n, k) = (a.rows(), b.rows(), a.cols());
    assert_eq!(b.cols(), k, "inner sizes of a quantised product");
    assert_eq!(out.len(), m * n, "output of a quantised product {m} x {n}");
    if m * n == 0 || k == 0 {
        out.fill(0.0);
        return;
    }
    let width = a.width().min(b.width()).min(k);
    let rows_of = |tile: usize, most: usize| (tile / width / FEWEST * FEWEST).clamp(FEWEST, most);
    let (a_rows, b_rows) = (rows_of(A_TILE, A_ROWS), rows_of(B_TILE, B_ROWS));
    for (top, out) in (0..).step_by(a_rows).zip(out.chunks_mut(a_rows * n)) {
        let height = out.len() / n;
        for left in (0..k).step_by(width) {
            let right = (left + width).min(k);
            unpack(level, &mut tiles.a, a, top..top + height, left..right);
            for first in (0..n).step_by(b_rows) {
                let last = (first + b_rows).min(n);
                unpack(level, &mut tiles.b, b, first..last, left..right);
                tiles.sums.resize(height * (last - first), 0.0);
                let (x, y) =
                    (View::new(&tiles.a, height, right - left), View::new(&tiles.b, last - first, right - left));
                multiply(&mut tiles.sums, Output::Write, 1.0, x, y.t());
                tiles.scales.clear();
                tiles.scales.extend((first..last).map(|row| f64::from(b.scale(row, left / b.width()))));
                let how = if left == 0 { Output::Write } else { Output::Add };
                for (row, sums) in tiles.sums.chunks_exact(last - first).enumerate() {
                    let scale = f64::from(a.scale(top + row, left / a.width()));
                    put(level, &mut out[row * n + first..row * n + last], how, scale, &tiles.scales, sums);
                }
            }
        }
    }
}

/// The numbers of some codes, without their scales.
fn unpack(
    level: Level,
    tile: &mut Vec<f32>,
    from: &Quantised,
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
) {
    tile.resize(rows.len() * cols.len(), 0.0);
    for (row, x) in rows.zip(tile.chunks_exact_mut(cols.len())) {
        let at = row * from.cols();
        convert::decode(level, from.format(), x, &from.codes()[at + cols.start..at + cols.end], 1.0);
    }
}

kernel! {
    fn put<S>(out: &mut [f32], how: Output, row: f64, columns: &[f64], sums: &[f32]) {
        for (out, (&column, &sum)) in out.iter_mut().zip(columns.iter().zip(sums)) {
            let value = f64::from(sum) * (row * column);
            let before = if how == Output::Add { f64::from(*out) } else { 0.0 };
            *out = (before + value) as f32;
        }
    }
}
