//! Products of bf16 with sums in f32, over one packed layout for the instruction sets that multiply bf16.
//!
//! ```text
//! out [m × n] f32   =  or +=   left [m × k] bf16  ·  right [k × n] bf16
//!
//! Amx            tiles, TDPBF16PS                     2 × 2 tiles of sums
//! Avx512Bf16     VDPBF16PS                            8 rows × 2 vectors of sums
//! below          not here: operands are rounded where they lie ([`round_in`]), and products of f32 multiply them
//! ```
//! In: packed sides ([`pack`]). Out: f32, written or added to, on the calling thread. The steps along the depth are the
//! same at any number of threads that share the rows, so results are too.
//!
//! **Bound.** With `a`, `b` the rounded operands and `s` what stood in the output (0 when written), at every level
//!
//! ```text
//! |found − (s + Σ a·b)|  ≤  (k + 3) · 2⁻²³ · (|s| + Σ |a·b|)  +  2⁻¹²⁶ · (4 + Σ (2 + |a| + |b|))
//! ```
//! A product of two bf16 has 16 bits and is exact in f32; each of at most `k + 2` additions rounds once, in whatever
//! order, and half of the first term would do if none fell below the normal range. The two bf16 instructions take
//! denormal operands and results for zero, ignoring the machine's mode: an operand costs `2⁻¹²⁶` times its partner, a
//! result `2⁻¹²⁶`. Where no partial sum overflows, infinities and NaN come out as they would from exact sums, but for a
//! denormal times an infinity, which is NaN where denormals are zero.
//!
//! Tiles have run on an emulated processor (`make test-isa`), never on a real one.

#![allow(unsafe_code)] // Kernels take pointers; `product` proves that they stay within the slices.

pub(crate) mod amx;
mod blocks;
mod convert;
#[cfg(target_arch = "x86_64")]
mod dot;
pub(crate) mod pack;
mod peak;
mod whole;

pub use convert::{round, rounded, widen, widened};
pub(crate) use convert::{round_in, rounding};
pub use peak::peak;
pub use whole::matmul;

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::level::Kind;
use super::{Level, matmul::Output};
use pack::{DEPTH, SIDE, TILE};

/// A packed left side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left<'a>(Side<'a>);

/// A packed right side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a>(Side<'a>);

/// Blocks of 16 lines, `step` words apart.
#[derive(Clone, Copy, Debug)]
struct Side<'a> {
    words: &'a [u32],
    step: usize,
    lines: usize,
    depth: usize,
}

impl<'a> Side<'a> {
    fn new(words: &'a [u32], lines: usize, depth: usize) -> Self {
        assert_eq!(words.len(), pack::words(lines, depth), "words of {lines} lines, {depth} deep");
        Self { words, step: depth.div_ceil(DEPTH) * TILE, lines, depth }
    }

    fn tiles(self) -> usize {
        self.depth.div_ceil(DEPTH)
    }

    fn blocks(self) -> usize {
        self.lines.div_ceil(SIDE)
    }

    /// Whether every tile lies within the words.
    fn holds(self) -> bool {
        let (blocks, tiles) = (self.blocks(), self.tiles());
        blocks == 0 || tiles == 0 || (blocks - 1) * self.step + tiles * TILE <= self.words.len()
    }

    fn lines(self, range: Range<usize>) -> Self {
        assert!(range.start.is_multiple_of(SIDE) && range.start <= range.end && range.end <= self.lines, "whole tiles");
        let words = self.words.get(range.start / SIDE * self.step..).unwrap_or_default();
        Self { words, lines: range.len(), ..self }
    }

    fn depth(self, range: Range<usize>) -> Self {
        assert!(
            range.start.is_multiple_of(DEPTH) && range.start <= range.end && range.end <= self.depth,
            "whole tiles"
        );
        assert!(range.end.is_multiple_of(DEPTH) || range.end == self.depth, "nothing but zeros beyond the end");
        let words = self.words.get(range.start / DEPTH * TILE..).unwrap_or_default();
        Self { words, depth: range.len(), ..self }
    }
}

impl<'a> Left<'a> {
    /// What [`pack::pack_left`] made of `rows × depth`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn new(words: &'a [u32], rows: usize, depth: usize) -> Self {
        Self(Side::new(words, rows, depth))
    }

    /// Some rows, from a tile's first on.
    #[cfg(test)]
    pub fn rows(self, range: Range<usize>) -> Self {
        Self(self.0.lines(range))
    }
}

impl<'a> Right<'a> {
    /// What [`pack::pack_right`] made of `depth × cols`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn new(words: &'a [u32], depth: usize, cols: usize) -> Self {
        Self(Side::new(words, cols, depth))
    }

    /// Some columns, from a tile's first on.
    pub fn cols(self, range: Range<usize>) -> Self {
        Self(self.0.lines(range))
    }

    /// A part of the depth, from a tile's first value on to a tile's last or the end.
    pub fn depth(self, range: Range<usize>) -> Self {
        Self(self.0.depth(range))
    }
}

/// `out = left · right` or `out += left · right`; `out` is dense and row-major.
///
/// # Panics
/// If the shapes do not fit, or the level has no instruction for it.
pub(crate) fn product(level: Level, out: &mut [f32], how: Output, Left(left): Left<'_>, Right(right): Right<'_>) {
    assert!(level.multiplies_bf16(), "products of bf16 at {level:?}");
    assert_eq!(left.depth, right.depth, "inner sizes of a product in bf16");
    assert_eq!(out.len(), left.lines * right.lines, "a product in bf16 {} x {}", left.lines, right.lines);
    assert!(left.holds() && right.holds(), "sides of a product in bf16");
    if out.is_empty() {
        return;
    }
    if left.depth == 0 {
        if how == Output::Write {
            out.fill(0.0);
        }
        return;
    }
    // SAFETY: both sides hold every tile of their lines and depth, `out` is dense and as long as asserted, and levels are
    // only made where their features were found.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        if level.kind() == Kind::Amx {
            amx::configure();
            blocks::blocked::<amx::Tiles>(out, how, left, right);
            amx::release();
        } else {
            dot::avx512_bf16(out, how, left, right);
        }
    }
}

#[cfg(test)]
mod tests;
