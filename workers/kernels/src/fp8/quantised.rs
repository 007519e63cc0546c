//! A matrix of codes with its scales.
//!
//! In: a row-major f32 matrix. Out: codes, and scales shared by the whole, by a row, by 1 × 128 or by 128 × 128 of it;
//! ragged edges are smaller blocks. A matrix keeps its memory: filled again with a shape no larger, it allocates
//! nothing.
//!
//! `scale = largest magnitude / largest of the format`, at least the smallest normal f32, so that zeros and denormals
//! have a finite inverse; a code is `round(x · (1 / scale))`, both roundings to nearest even. NaN stays NaN and does not
//! count for a scale; magnitudes above 1.75 · 2¹²⁷, infinity among them, count as that and saturate.

use super::convert;
use super::format::Format;
use crate::cpu::Level;

/// Columns, and for weights rows, that share a scale where scales are by block.
pub const BLOCK: usize = 128;

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scaling {
    /// The whole matrix.
    Tensor,
    /// A row: a token of activations, an output channel of weights `[out, in]`.
    Rows,
    /// 1 × 128: activations of experts.
    Tiles,
    /// 128 × 128: weights of experts.
    Blocks,
}

impl Scaling {
    /// Rows and columns under one scale, at most.
    fn extent(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Self::Tensor => (rows, cols),
            Self::Rows => (1, cols),
            Self::Tiles => (1, BLOCK),
            Self::Blocks => (BLOCK, BLOCK),
        }
    }
}

/// A `rows × cols` matrix of codes with its scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    pub(super) format: Format,
    pub(super) scaling: Scaling,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) codes: Vec<u8>,
    /// Row-major over blocks.
    pub(super) scales: Vec<f32>,
}

/// The largest magnitude a scale is made for: a maximum of both formats times a power of two that f32 has.
const LARGEST: f32 = 1.75 * (1_u128 << 127) as f32;

/// A scale and its inverse.
#[inline(always)]
pub(super) fn scale_for(format: Format, largest: f32) -> (f32, f32) {
    let scale = (largest.min(LARGEST) / format.max()).max(f32::MIN_POSITIVE);
    (scale, 1.0 / scale)
}

impl Quantised {
    /// A matrix without rows, to be filled.
    #[must_use]
    pub fn empty(format: Format, scaling: Scaling) -> Self {
        Self { format, scaling, rows: 0, cols: 0, codes: Vec::new(), scales: Vec::new() }
    }

    /// A matrix of codes and scales that were kept; `None` where their numbers do not fit the shape, a scale is no
    /// positive finite number, or a code is none of a finite number.
    #[must_use]
    pub fn from_parts(
        format: Format,
        scaling: Scaling,
        (rows, cols): (usize, usize),
        codes: Vec<u8>,
        scales: Vec<f32>,
    ) -> Option<Self> {
        let mut shape = Self::empty(format, scaling);
        let wanted = rows.checked_mul(cols)?;
        if codes.len() != wanted {
            return None;
        }
        shape.shape(rows, cols);
        let fits = scales.len() == shape.scales.len() && scales.iter().all(|scale| scale.is_finite() && *scale > 0.0);
        let finite = codes.iter().all(|&code| format.decode(code).is_finite());
        (fits && finite).then_some(Self { codes, scales, ..shape })
    }

    /// A quantised copy of a `rows × cols` matrix.
    ///
    /// # Panics
    /// If the slice is not `rows × cols` long.
    #[must_use]
    pub fn new(level: Level, format: Format, scaling: Scaling, x: &[f32], rows: usize, cols: usize) -> Self {
        let mut made = Self::empty(format, scaling);
        made.fill(level, x, rows, cols);
        made
    }

    /// Takes another matrix in, in place of what stood here.
    ///
    /// # Panics
    /// If the slice is not `rows × cols` long.
    pub fn fill(&mut self, level: Level, x: &[f32], rows: usize, cols: usize) {
        assert_eq!(x.len(), rows * cols, "a matrix of {rows} x {cols}");
        self.shape(rows, cols);
        if x.is_empty() {
            return;
        }
        let (height, width) = self.scaling.extent(rows, cols);
        let mut at = 0;
        for top in (0..rows).step_by(height) {
            let bottom = (top + height).min(rows);
            for left in (0..cols).step_by(width) {
                let right = (left + width).min(cols);
                let part = |row: usize| row * cols + left..row * cols + right;
                let largest = (top..bottom).map(|row| convert::largest(level, &x[part(row)])).fold(0.0, f32::max);
                let (scale, factor) = scale_for(self.format, largest);
                self.scales[at] = scale;
                at += 1;
                for row in top..bottom {
                    convert::encode(level, self.format, &mut self.codes[part(row)], &x[part(row)], factor);
                }
            }
        }
    }

    /// Room for a shape; codes and scales are whatever stood there.
    pub(super) fn shape(&mut self, rows: usize, cols: usize) {
        let (height, width) = self.scaling.extent(rows, cols);
        let scales = if rows * cols == 0 { 0 } else { rows.div_ceil(height) * cols.div_ceil(width) };
        (self.rows, self.cols) = (rows, cols);
        self.codes.resize(rows * cols, 0);
        self.scales.resize(scales, 0.0);
    }

    /// The matrix again, `code · scale` rounded once, `rows × cols`.
    #[must_use]
    pub fn dequantise(&self, level: Level) -> Vec<f32> {
        let mut x = vec![0.0; self.codes.len()];
        for row in 0..self.rows {
            for (block, left) in (0..self.cols).step_by(self.width()).enumerate() {
                let part = row * self.cols + left..row * self.cols + (left + self.width()).min(self.cols);
                convert::decode(level, self.format, &mut x[part.clone()], &self.codes[part], self.scale(row, block));
            }
        }
        x
    }

    /// Columns under one scale.
    pub(super) fn width(&self) -> usize {
        self.scaling.extent(self.rows, self.cols).1.max(1)
    }

    /// The scale of a row's `block`-th stretch of columns.
    #[inline]
    pub(super) fn scale(&self, row: usize, block: usize) -> f32 {
        let (height, width) = self.scaling.extent(self.rows, self.cols);
        self.scales[row / height * self.cols.div_ceil(width) + block]
    }

    /// The scale of an element. Every element under it is `code · scale`.
    ///
    /// # Panics
    /// If the matrix has no such element.
    #[must_use]
    pub fn scale_at(&self, row: usize, col: usize) -> f32 {
        assert!(row < self.rows && col < self.cols, "element {row}, {col} of {} x {}", self.rows, self.cols);
        self.scale(row, col / self.width())
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The format of the codes.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What shares a scale.
    #[must_use]
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// The codes, row-major.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The scales, row-major over blocks: 1, `rows`, `rows × ⌈cols/128⌉` or `⌈rows/128⌉ × ⌈cols/128⌉`; none of an
    /// empty matrix.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
}
