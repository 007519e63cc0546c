//! Quantised matrices on the device, and their products by our kernels.
//!
//! In: a quantised matrix, packed once: codes at a pitch the bulk loads can take, scales, the map that describes them.
//! Out: products into memory that is already there. Launching allocates nothing and waits for nothing.

#![allow(unsafe_code)] // `launch!`.

use cudarc::driver::{CudaSlice, CudaViewMut};

use super::CudaError;
use super::engine::{Engine, TensorMap, grid, launch};
use crate::fp8::{Format, Quantised, Scaling};

/// Bytes between rows are a multiple of this.
const PITCH: usize = 16;
/// Shared memory of a product's block, its threads, and the edge of its tile.
const SHARED: usize = 132_096;
const THREADS: u32 = 384;
const TILE: usize = 128;

/// A quantised matrix on the device.
#[derive(Debug)]
pub struct Packed {
    pub(super) codes: CudaSlice<u8>,
    pub(super) scales: CudaSlice<f32>,
    pub(super) map: TensorMap,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// Bytes of a row of codes.
pub(super) fn pitch(cols: usize) -> usize {
    cols.next_multiple_of(PITCH).max(PITCH)
}

impl Packed {
    /// Packs one matrix, or those of all experts one under another.
    ///
    /// # Errors
    /// If a matrix is not E4M3, widths differ, or the device refuses.
    pub fn new(engine: &Engine, parts: &[&Quantised], cols: usize) -> Result<Self, CudaError> {
        let wrong = |what: &str| Err(CudaError::new("packing of a matrix", what));
        if parts.iter().any(|part| part.format() != Format::E4m3) {
            return wrong("only E4M3 has a kernel");
        }
        if parts.iter().any(|part| part.rows() > 0 && part.cols() != cols) {
            return wrong("widths differ");
        }
        let rows = parts.iter().map(|part| part.rows()).sum();
        let pitch = pitch(cols);
        let mut codes = vec![0; rows * pitch];
        let from = parts.iter().flat_map(|part| part.codes().chunks_exact(cols.max(1)));
        for (to, from) in codes.chunks_exact_mut(pitch).zip(from) {
            to[..cols].copy_from_slice(from);
        }
        let mut scales = Vec::new();
        for part in parts {
            // The kernels read a scale a row: one scale for all of them says the same.
            let times = if part.scaling() == Scaling::Tensor { part.rows() } else { 1 };
            scales.extend(std::iter::repeat_n(part.scales(), times).flatten());
        }
        let (codes, scales) = (engine.upload(&codes)?, engine.upload(&scales)?);
        let map = engine.tensor_map(&codes, rows, cols, pitch)?;
        Ok(Self { codes, scales, map, rows, cols })
    }

    /// `self · otherᵀ` in bf16 by our kernel, scales by row.
    ///
    /// # Errors
    /// If the widths differ or the launch fails.
    pub fn times(&self, engine: &Engine, other: &Self, out: &mut CudaSlice<u16>) -> Result<(), CudaError> {
        if self.cols != other.cols || out.len() < self.rows * other.rows {
            return Err(CudaError::new("product", "shapes do not fit"));
        }
        product_bf16(engine, (self, self.rows), other, &mut out.slice_mut(..))
    }

    /// A matrix of drawn codes, none of them a NaN and all scales one: operands of a product whose time alone matters.
    ///
    /// # Errors
    /// As [`Packed::room`].
    pub(super) fn drawn(engine: &Engine, rows: usize, cols: usize) -> Result<Self, CudaError> {
        let room = Self::room(engine, rows, cols)?;
        // Without the highest bit of the exponent a code is below two.
        let code = |at: usize| ((at as u32).wrapping_mul(2_654_435_761) >> 24) as u8 & 0xBF;
        let codes: Vec<u8> = (0..rows * cols).map(code).collect();
        let (codes, scales) = (engine.upload(&codes)?, engine.upload(&vec![1.0_f32; rows])?);
        let map = engine.tensor_map(&codes, rows, cols, cols)?;
        Ok(Self { codes, scales, map, ..room })
    }

    /// Room for activations that a quantising kernel will write, a scale a row. `cols` is a multiple of 16: such a kernel
    /// leaves no gap between rows.
    ///
    /// # Errors
    /// If the width is none of ours, or the device refuses.
    pub fn room(engine: &Engine, rows: usize, cols: usize) -> Result<Self, CudaError> {
        if cols == 0 || !cols.is_multiple_of(PITCH) {
            return Err(CudaError::new("room for activations", format!("{cols} columns are no multiple of {PITCH}")));
        }
        let (codes, scales) = (engine.zeros(rows * cols)?, engine.zeros(rows)?);
        let map = engine.tensor_map(&codes, rows, cols, cols)?;
        Ok(Self { codes, scales, map, rows, cols })
    }
}

/// Which scales a product's matrices have.
pub(super) fn by_block(a: &Quantised, b: &Quantised) -> Result<bool, CudaError> {
    match (a.scaling(), b.scaling()) {
        (Scaling::Rows, Scaling::Rows) => Ok(false),
        (Scaling::Tiles, Scaling::Blocks) => Ok(true),
        (a, b) => Err(CudaError::new("product", format!("no kernel for scales {a:?} x {b:?}"))),
    }
}

/// Blocks of a product: one a tile, at most one a multiprocessor.
fn blocks(engine: &Engine, m: usize, n: usize) -> usize {
    (m.div_ceil(TILE) * n.div_ceil(TILE)).clamp(1, engine.device().multiprocessors.max(1) as usize)
}

/// `out = a · bᵀ` over the first `m` rows of `a`, in f32, or added to what stands there.
pub(super) fn product_f32(
    engine: &Engine,
    (a, m): (&Packed, usize),
    b: &Packed,
    out: &mut CudaSlice<f32>,
    (by_block, add): (bool, bool),
) -> Result<(), CudaError> {
    let (rows, n, k, add) = (m as i32, b.rows as i32, a.cols as i32, i32::from(add));
    let grid = grid((blocks(engine, m, b.rows), 1, 1), THREADS, SHARED);
    let entry = if by_block { "fp8_gemm_blocks_f32" } else { "fp8_gemm_rows_f32" };
    launch!(engine, entry, grid, [&a.map, &b.map, &a.scales, &b.scales, &mut *out, &rows, &n, &k, &add])
}

/// The same in bf16, scales by row, into memory that begins where the view does.
pub(super) fn product_bf16(
    engine: &Engine,
    (a, m): (&Packed, usize),
    b: &Packed,
    out: &mut CudaViewMut<'_, u16>,
) -> Result<(), CudaError> {
    let (rows, n, k, add) = (m as i32, b.rows as i32, a.cols as i32, 0_i32);
    let grid = grid((blocks(engine, m, b.rows), 1, 1), THREADS, SHARED);
    launch!(engine, "fp8_gemm_rows_bf16", grid, [&a.map, &b.map, &a.scales, &b.scales, &mut *out, &rows, &n, &k, &add])
}

/// One product an expert; `offsets` on the device say which rows are whose.
pub(super) fn grouped_f32(
    engine: &Engine,
    a: &Packed,
    b: &Packed,
    offsets: &CudaSlice<u32>,
    experts: usize,
    out: &mut CudaSlice<f32>,
) -> Result<(), CudaError> {
    let (n, k, add) = ((b.rows / experts.max(1)) as i32, a.cols as i32, 0_i32);
    let experts = experts as i32;
    let grid = grid((engine.device().multiprocessors.max(1) as usize, 1, 1), THREADS, SHARED);
    launch!(
        engine,
        "grouped_gemm_f32",
        grid,
        [&a.map, &b.map, &a.scales, &b.scales, offsets, &mut *out, &experts, &n, &k, &add]
    )
}
