//! Sums by AMX: `TDPBUSD` over tiles of 16 rows of 64 bytes.
//!
//! In: codes of rows, as they lie, and panels, as they lie: sixteen steps of sixteen outputs are a tile. Out: sums of 16
//! rows with a panel, the same integers as by any other way. Rows beyond the last are whatever stands in the scratch, and
//! are left out of the result.

#![allow(unsafe_code)] // Instructions that have no stable intrinsics.

use std::arch::asm;

use super::PANEL;
use super::sums::{MOST, STEP, Span, Tile, Tiling, Vnni};

/// Steps of a tile.
const STEPS: usize = 16;
/// Below so many rows a tile is mostly empty, and registers are faster.
const FEW: usize = 4;

/// Tiles where there are rows enough, which have their shapes while products run.
pub(super) struct Tiles;

impl Tiling for Tiles {
    /// Every strip but the last is 16 rows, so 16 rows begin within the scratch.
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        if rows < FEW {
            // SAFETY: the caller's promise.
            return unsafe { Vnni::strip(tile, at, rows) };
        }
        // SAFETY: 16 rows of the scratch and whole tiles of the panel are read, and 16 rows of the tile written; shapes
        // are set.
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
                "tdpbusd tmm0, tmm4, tmm5",
                "tileloadd tmm7, [{right} + {row}*1 + 128]",
                "tdpbusd tmm1, tmm4, tmm6",
                "tileloadd tmm5, [{right} + {row}*1 + 192]",
                "tdpbusd tmm2, tmm4, tmm7",
                "add {left}, {codes}",
                "add {right}, {bytes}",
                "tdpbusd tmm3, tmm4, tmm5",
                "dec {tiles}",
                "jnz 2b",
                "tilestored [{out} + {row}*1], tmm0",
                "tilestored [{out} + {row}*1 + 64], tmm1",
                "tilestored [{out} + {row}*1 + 128], tmm2",
                "tilestored [{out} + {row}*1 + 192], tmm3",
                left = inout(reg) at.left => _,
                stride = in(reg) at.stride,
                right = inout(reg) at.right => _,
                row = in(reg) STEP * PANEL,
                out = in(reg) tile.0.as_mut_ptr(),
                tiles = inout(reg) at.steps.div_ceil(STEPS) => _,
                codes = const STEP * STEPS,
                bytes = const STEP * STEPS * PANEL,
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
        let rows = rows.min(MOST);
        for (m, row) in tile.0[..rows].iter_mut().enumerate() {
            // SAFETY: as many scales as rows.
            let of_row = unsafe { *at.left_scales.add(m) };
            for ((sum, &start), &scale) in row.iter_mut().zip(at.starts).zip(at.scales) {
                *sum = sum.to_bits().cast_signed().wrapping_add(start) as f32 * scale * of_row;
            }
        }
        rows
    }
}
