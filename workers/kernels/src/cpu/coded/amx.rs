//! Sums by AMX: `TDPBUSD` and `TDPBF16PS` over tiles of 16 rows of 64 bytes.
//!
//! In: words of rows, as they lie, and panels, as they lie: sixteen steps of sixteen outputs are a tile. Out: sums of 16
//! rows with a panel; of bytes the same integers as by any other way. Rows beyond the last are whatever stands there, and
//! are left out of the result.

#![allow(unsafe_code)] // Instructions that have no stable intrinsics.

use std::arch::asm;

use super::PANEL;
use super::sums::{MOST, Span, Tile, Tiling, Vnni};

/// Steps of a tile.
const STEPS: usize = 16;
/// Bytes of a word.
const WORD: usize = 4;
/// Of fewer rows a tile is mostly empty, and registers are faster. Sums of pairs depend on the way: they stay with tiles.
const FEW: usize = 4;

/// Bytes in tiles, which have their shapes while products run.
pub(super) struct ByteTiles;
/// Pairs in tiles, likewise.
pub(super) struct PairTiles;

/// Sums of 16 rows with a panel by one instruction.
macro_rules! sums {
    ($name:ident, $instruction:literal) => {
        /// # Safety
        /// 16 rows begin within what `left` points to, the panel is whole, and tiles have their shapes.
        #[inline(always)]
        unsafe fn $name(tile: &mut Tile, at: Span<'_>) {
            // SAFETY: 16 rows and whole tiles of the panel are read, and 16 rows of the tile written.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{left} + {stride}*1]",
                    "tileloadd tmm5, [{right} + {row}*1]",
                    "tileloadd tmm6, [{right} + {row}*1 + 64]",
                    concat!($instruction, " tmm0, tmm4, tmm5"),
                    "tileloadd tmm7, [{right} + {row}*1 + 128]",
                    concat!($instruction, " tmm1, tmm4, tmm6"),
                    "tileloadd tmm5, [{right} + {row}*1 + 192]",
                    concat!($instruction, " tmm2, tmm4, tmm7"),
                    "add {left}, {words}",
                    "add {right}, {bytes}",
                    concat!($instruction, " tmm3, tmm4, tmm5"),
                    "dec {tiles}",
                    "jnz 2b",
                    "tilestored [{out} + {row}*1], tmm0",
                    "tilestored [{out} + {row}*1 + 64], tmm1",
                    "tilestored [{out} + {row}*1 + 128], tmm2",
                    "tilestored [{out} + {row}*1 + 192], tmm3",
                    left = inout(reg) at.left => _,
                    stride = in(reg) WORD * at.stride,
                    right = inout(reg) at.right => _,
                    row = in(reg) WORD * PANEL,
                    out = in(reg) tile.0.as_mut_ptr(),
                    tiles = inout(reg) at.steps.div_ceil(STEPS) => _,
                    words = const WORD * STEPS,
                    bytes = const WORD * STEPS * PANEL,
                    out("tmm0") _,
                    out("tmm1") _,
                    out("tmm2") _,
                    out("tmm3") _,
                    out("tmm4") _,
                    out("tmm5") _,
                    out("tmm6") _,
                    out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}
sums!(of_bytes, "tdpbusd");
sums!(of_pairs, "tdpbf16ps");

/// The scale of row `m`.
///
/// # Safety
/// There is one.
#[inline(always)]
unsafe fn scale_of(at: Span<'_>, m: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { *at.left_scales.add(m * at.left_scales_step) }
}

impl Tiling for ByteTiles {
    /// Every strip but the last is 16 rows, so 16 rows begin within what was coded.
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        if rows < FEW {
            // SAFETY: the caller's promise.
            return unsafe { Vnni::strip(tile, at, rows) };
        }
        // SAFETY: the caller's promise.
        unsafe { of_bytes(tile, at) };
        let rows = rows.min(MOST);
        for (m, row) in tile.0[..rows].iter_mut().enumerate() {
            // SAFETY: as many scales as rows.
            let of_row = unsafe { scale_of(at, m) };
            for ((sum, &start), &scale) in row.iter_mut().zip(at.starts).zip(at.scales) {
                *sum = sum.to_bits().cast_signed().wrapping_add(start) as f32 * scale * of_row;
            }
        }
        rows
    }
}

impl Tiling for PairTiles {
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        let rows = rows.min(MOST);
        let mut sums = Tile([[0.0; PANEL]; MOST]);
        // SAFETY: the caller's promise.
        unsafe { of_pairs(&mut sums, at) };
        for (m, (row, sums)) in tile.0.iter_mut().zip(&sums.0).enumerate().take(rows) {
            // SAFETY: as many scales as rows.
            let of_row = unsafe { scale_of(at, m) };
            for ((to, &sum), &scale) in row.iter_mut().zip(sums).zip(at.scales) {
                let value = sum * scale * of_row;
                *to = if at.add { *to + value } else { value };
            }
        }
        rows
    }
}
