//! The loops around the kernels: blocks that fit caches, steps of rows and columns, edges.
//!
//! ```text
//! depth by U::TILES tiles ─► columns by 256 ─► rows by 128 ─► a step: U::ROWS × U::COLS sums over the block's depth
//! ```
//! In: packed sides. Out: every element of the output, once. A step that crosses the edge works on a copy of what it covers, so kernels know no edges: tiles are zero beyond
//! theirs. Each element is one chain of sums along the depth, whatever the blocks.

use super::Side;
use super::pack::{SIDE, TILE};
use crate::cpu::matmul::Output;

/// Blocks of 16 columns, and of 16 rows, that are worked on together.
const COLUMN_BLOCKS: usize = 16;
const ROW_BLOCKS: usize = 8;
/// The largest step's rows and columns.
const LARGEST: usize = 32;

/// Where a step begins, and how far its neighbours are. Tiles of a block follow one another.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// The step's first row in its block of 16 rows, and the distance to the next block: 0 when there is none.
    pub left: *const u32,
    pub left_block: usize,
    /// A block of 16 columns, and the distance to the next: 0 when there is none.
    pub right: *const u32,
    pub right_block: usize,
    /// Tiles of the depth, at least one.
    pub tiles: usize,
    pub out: *mut f32,
    /// Distance of two rows of the output.
    pub row: usize,
    pub add: bool,
}

/// What multiplies.
pub(super) trait Unit {
    /// Rows of a step: 32, or a divisor of 16.
    const ROWS: usize;
    /// Columns of a step: 16 or 32.
    const COLS: usize;
    /// Tiles of the depth in a block.
    const TILES: usize;

    /// `ROWS × COLS` sums.
    ///
    /// # Safety
    /// All tiles of the step and its whole output can be read and written, and the machine has the instructions.
    unsafe fn step(at: Step);
}

/// The whole product.
///
/// # Safety
/// Sides and output fit each other, no size is zero, sides hold their tiles, and the machine has the unit's instructions.
#[inline(always)]
pub(super) unsafe fn blocked<U: Unit>(out: &mut [f32], how: Output, left: Side<'_>, right: Side<'_>) {
    let (rows, cols) = (left.lines, right.lines);
    let from = |side: Side<'_>, block: usize, tile: usize| side.words[block * side.step + tile * TILE..].as_ptr();
    for tile in (0..left.tiles()).step_by(U::TILES) {
        let tiles = U::TILES.min(left.tiles() - tile);
        let add = tile > 0 || how == Output::Add;
        for n in (0..right.blocks()).step_by(COLUMN_BLOCKS) {
            let across = COLUMN_BLOCKS.min(right.blocks() - n);
            let right_at = from(right, n, tile);
            for m in (0..left.blocks()).step_by(ROW_BLOCKS) {
                let down = ROW_BLOCKS.min(left.blocks() - m);
                let left_at = from(left, m, tile);
                for col in (n * SIDE..(n + across) * SIDE).step_by(U::COLS) {
                    for row in (m * SIDE..rows.min((m + down) * SIDE)).step_by(U::ROWS) {
                        let (i, j) = (row - m * SIDE, col / SIDE - n);
                        // SAFETY: `i` and `j` lie within the block, and each holds `tiles` tiles of every line; a step
                        // that has no second block is told to take the first one twice.
                        unsafe {
                            let step = Step {
                                left: left_at.add(i / SIDE * left.step + i % SIDE * SIDE),
                                left_block: if i / SIDE + 1 < down { left.step } else { 0 },
                                right: right_at.add(j * right.step),
                                right_block: if j + 1 < across { right.step } else { 0 },
                                tiles,
                                out: out.as_mut_ptr().wrapping_add(row * cols + col),
                                row: cols,
                                add,
                            };
                            covered::<U>(step, U::ROWS.min(rows - row), U::COLS.min(cols - col));
                        }
                    }
                }
            }
        }
    }
}

/// A step of which `rows × cols` lie within the output.
///
/// # Safety
/// As for [`Unit::step`], within these rows and columns.
#[inline(always)]
unsafe fn covered<U: Unit>(at: Step, rows: usize, cols: usize) {
    // SAFETY: the caller's promise; the copy has room for the largest step.
    unsafe {
        if rows == U::ROWS && cols == U::COLS {
            return U::step(at);
        }
        let mut copy = [0.0f32; LARGEST * LARGEST];
        if at.add {
            for row in 0..rows {
                std::ptr::copy_nonoverlapping(at.out.add(row * at.row), copy.as_mut_ptr().add(row * LARGEST), cols);
            }
        }
        U::step(Step { out: copy.as_mut_ptr(), row: LARGEST, ..at });
        for row in 0..rows {
            std::ptr::copy_nonoverlapping(copy.as_ptr().add(row * LARGEST), at.out.add(row * at.row), cols);
        }
    }
}
