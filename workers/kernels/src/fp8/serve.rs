//! The product that is served: codes become bf16, exactly, sums are f32.
//!
//! In: activations `m × k` and weights `n × k`, any two scalings; or weights alone, to be packed for products with rows
//! that are quantised as they come. Out: `m × n`, or panels. Never emulates a tensor core; that is [`super::emulate`].
//!
//! **Bound.** A product of two codes is exact in f32, so only sums and scales round. With `u = 2⁻²⁴`, `L` columns under one
//! pair of scales (`k`, or 128 where either side scales by block), `B = ⌈k / L⌉` such stretches and `s` the largest scale of
//! the row, an output differs from the exact product of the dequantised matrices (`code · scale` unrounded) by at most
//! `γ · Σ |a · b|  +  B · 2⁻¹⁴⁹ · (1 + s)`,  `γ = (L + B + 2) · u / (1 − (L + B + 2) · u)`, in whatever order the product
//! adds, unless a sum times one of its scales overflows. NaN goes through.

use super::convert::largest_of;
use super::format::{E4m3, E5m2, Format, Layout, decode_one, encode_one};
use super::quantised::{Quantised, scale_for};
use crate::buffer::Buffer;
use crate::cpu::coded::rows::{Coder, RowsMut};
use crate::cpu::coded::{Left, Panels, Shape, product};
use crate::cpu::panels::Then;
use crate::cpu::{Level, kernel};

/// Memory of products of quantised matrices, which they use again.
#[derive(Debug, Default)]
pub struct Tiles {
    panels: Buffer,
    rows: Vec<u32>,
    scratch: Vec<f32>,
}

/// The bound's factor `γ` for an inner size and the columns under one pair of scales.
#[must_use]
pub fn gamma(k: usize, under_one_scale: usize) -> f64 {
    let length = under_one_scale.clamp(1, k.max(1));
    let roundings = (length + k.div_ceil(length) + 2) as f64 * f64::from(f32::EPSILON) / 2.0;
    roundings / (1.0 - roundings)
}

/// The upper half of a code's f32: all of it.
#[inline(always)]
fn half<F: Layout>(code: u8) -> u16 {
    (decode_one::<F>(code).to_bits() >> 16) as u16
}

impl Format {
    /// The bf16 of a code, exactly.
    fn half(self, code: u8) -> u16 {
        match self {
            Self::E4m3 => half::<E4m3>(code),
            Self::E5m2 => half::<E5m2>(code),
        }
    }

    /// Quantises rows, a scale each.
    fn coder(self) -> Coder {
        match self {
            Self::E4m3 => e4m3,
            Self::E5m2 => e5m2,
        }
    }
}

#[inline(always)]
fn code_rows<F: Layout>(format: Format, out: RowsMut<'_>, x: &[f32], depth: usize) {
    let RowsMut { rows, stride, words } = out;
    for (x, row) in x.chunks_exact(depth).zip(rows.chunks_exact_mut(stride)) {
        let (row, scales) = row.split_at_mut(words);
        let (scale, factor) = scale_for(format, largest_of(x));
        let (halves, rest) = bytemuck::cast_slice_mut::<u32, u16>(row).split_at_mut(depth);
        for (to, &x) in halves.iter_mut().zip(x) {
            *to = half::<F>(encode_one::<F>(x * factor) as u8);
        }
        rest.fill(0);
        // The same for every stretch of the depth that the weights have a scale for.
        scales.fill(scale.to_bits());
    }
}

kernel! {
    fn e4m3<S>(out: RowsMut<'_>, x: &[f32], depth: usize) {
        code_rows::<E4m3>(Format::E4m3, out, x, depth);
    }
}

kernel! {
    fn e5m2<S>(out: RowsMut<'_>, x: &[f32], depth: usize) {
        code_rows::<E5m2>(Format::E5m2, out, x, depth);
    }
}

impl Quantised {
    /// The weights as products read them; `gated` ones are gates over values. Products quantise rows as they come, a
    /// scale each, whatever shares one among the weights.
    pub(crate) fn panels(&self, gated: bool) -> Panels {
        self.packed_in(Buffer::default(), gated, self.width())
    }

    /// The same in memory that is there, with a scale for every stretch of columns.
    fn packed_in(&self, memory: Buffer, gated: bool, stretch: usize) -> Panels {
        let shape = Shape { outputs: self.rows, depth: self.cols, gated, stretch };
        let value = |row: usize, col: usize| self.format.half(self.codes[row * self.cols + col]);
        let scale = |row: usize, at: usize| self.scale(row, at * stretch / self.width());
        Panels::pairs(memory, self.format.coder(), shape, value, scale)
    }

    /// All rows as products with these panels read them, with a scale for every row and stretch of columns.
    fn rows_in(&self, rows: &mut Vec<u32>, panels: &Panels, stretch: usize) {
        let coding = panels.coding();
        rows.clear();
        rows.resize(coding.room(self.rows), 0);
        let coded = rows.chunks_exact_mut(coding.stride()).zip(self.codes.chunks_exact(self.cols));
        for (row, (out, codes)) in coded.enumerate() {
            let (words, scales) = out.split_at_mut(coding.words());
            let halves = bytemuck::cast_slice_mut::<u32, u16>(words);
            halves.iter_mut().zip(codes).for_each(|(half, &code)| *half = self.format.half(code));
            for (to, first) in scales.iter_mut().zip((0..self.cols).step_by(stretch)) {
                *to = self.scale(row, first / self.width()).to_bits();
            }
        }
    }
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
    let stretch = a.width().min(b.width()).min(k);
    let panels = b.packed_in(std::mem::take(&mut tiles.panels), false, stretch);
    a.rows_in(&mut tiles.rows, &panels, stretch);
    tiles.scratch.resize(tiles.scratch.len().max(panels.room(level, m)), 0.0);
    product(level, out, Left::Coded(&tiles.rows), &panels, Then::NOTHING, &mut tiles.scratch);
    tiles.panels = panels.into_memory();
}
