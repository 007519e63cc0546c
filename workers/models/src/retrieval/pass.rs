//! How many rows a serving pass holds at once.
//!
//! In: a model's size. Out: a bound that keeps the values of a pass within some hundred megabytes, so that a large batch
//! is cut into passes instead of growing memory.

/// Values of all rows and layers of a pass, in floats.
const BUDGET: usize = 1 << 27;

/// Row-sized values that a block leaves behind: norms, projections, attention, feed-forward.
const VALUES_PER_BLOCK: usize = 16;

/// The most rows, of `dim` columns through `blocks` blocks, for one pass.
pub(super) fn rows_per_pass(dim: u32, blocks: u32) -> usize {
    (BUDGET / (VALUES_PER_BLOCK * dim as usize * blocks as usize)).clamp(1, 16384)
}
