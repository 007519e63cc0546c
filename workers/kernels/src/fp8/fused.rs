//! Norm or gate and quantisation in one pass over memory: a row is computed, measured and encoded while it is in cache.
//!
//! In: f32 rows. Out: a quantised matrix with the bits of the two steps apart. Only for scales within a row: a scale
//! over several rows is known after the last of them. A row of f32 is all the memory it needs besides.

use super::convert::{encode_of, largest_of};
use super::format::Format;
use super::quantised::{BLOCK, Quantised, Scaling, scale_for};
use crate::cpu::exp::sigmoid;
use crate::cpu::reduce::dot_of;
use crate::cpu::{Isa, Level, kernel};
use crate::ops::norm::RMS_EPSILON;

/// Where a row's codes and scales go.
struct Out<'a> {
    format: Format,
    cols: usize,
    /// Columns under one scale.
    width: usize,
    codes: &'a mut [u8],
    scales: &'a mut [f32],
    /// One row.
    row: &'a mut [f32],
}

impl Out<'_> {
    /// Encodes what stands in `row` as the `at`-th.
    #[inline(always)]
    fn put(&mut self, at: usize) {
        let blocks = self.cols.div_ceil(self.width);
        let codes = self.codes[at * self.cols..(at + 1) * self.cols].chunks_mut(self.width);
        let scales = &mut self.scales[at * blocks..(at + 1) * blocks];
        for ((codes, x), stored) in codes.zip(self.row.chunks(self.width)).zip(scales) {
            let (scale, factor) = scale_for(self.format, largest_of(x));
            *stored = scale;
            encode_of(self.format, codes, x, factor);
        }
    }
}

kernel! {
    fn rms_rows<S>(out: Out<'_>, x: &[f32], gain: &[f32]) {
        rms_of::<S>(out, x, gain);
    }
}

#[inline(always)]
fn rms_of<S: Isa>(mut out: Out<'_>, x: &[f32], gain: &[f32]) {
    let inverse = 1.0 / gain.len() as f32;
    for (at, x) in x.chunks_exact(gain.len()).enumerate() {
        let root = 1.0 / (dot_of::<S>(x, x) * inverse + RMS_EPSILON).sqrt();
        for (y, (&x, &gain)) in out.row.iter_mut().zip(x.iter().zip(gain)) {
            *y = x * root * gain;
        }
        out.put(at);
    }
}

kernel! {
    fn swiglu_rows<S>(out: Out<'_>, x: &[f32]) {
        swiglu_of::<S>(out, x);
    }
}

#[inline(always)]
fn swiglu_of<S: Isa>(mut out: Out<'_>, x: &[f32]) {
    for (at, x) in x.chunks_exact(2 * out.cols).enumerate() {
        let (left, right) = x.split_at(out.cols);
        for (y, (&l, &r)) in out.row.iter_mut().zip(left.iter().zip(right)) {
            *y = l * sigmoid::<S>(l) * r;
        }
        out.put(at);
    }
}

impl Quantised {
    fn open<'a>(&'a mut self, row: &'a mut Vec<f32>, rows: usize, cols: usize) -> Out<'a> {
        let by_row = matches!(self.scaling, Scaling::Rows | Scaling::Tiles);
        assert!(by_row, "a fused quantisation needs scales within a row, not {:?}", self.scaling);
        self.shape(rows, cols);
        row.resize(cols, 0.0);
        let width = if self.scaling == Scaling::Tiles { BLOCK } else { cols };
        Out { format: self.format, cols, width, codes: &mut self.codes, scales: &mut self.scales, row }
    }

    /// Takes in `x / √(mean x² + ε) · gain`, row by row; `row` is scratch that keeps its memory.
    ///
    /// # Panics
    /// If scales are not within a row, the gain is empty, or `x` is not a whole number of rows.
    pub fn fill_rms_norm(&mut self, level: Level, x: &[f32], gain: &[f32], row: &mut Vec<f32>) {
        let cols = gain.len();
        assert!(cols > 0 && x.len().is_multiple_of(cols), "rows of {cols} columns");
        rms_rows(level, self.open(row, x.len() / cols, cols), x, gain);
    }

    /// Takes in `silu(left half) ∘ right half` of rows `2 · cols` wide; `row` is scratch that keeps its memory.
    ///
    /// # Panics
    /// If scales are not within a row, there are no columns, or `x` is not a whole number of rows.
    pub fn fill_swiglu(&mut self, level: Level, x: &[f32], cols: usize, row: &mut Vec<f32>) {
        assert!(cols > 0 && x.len().is_multiple_of(2 * cols), "rows of two times {cols} columns");
        swiglu_rows(level, self.open(row, x.len() / (2 * cols), cols), x);
    }
}
