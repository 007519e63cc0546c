//! Products of bytes with weights that were packed once, and what follows them.
//!
//! ```text
//! codes of W [outputs × depth], a scale an output ─► panels of 64 outputs, [depth/4][64][4]          once a model
//! x [rows × depth] f32 ─► codes, a scale a row ─► integer sums ─► · scales ─► bias, curve, … ─► out    a call
//! ```
//! In: dense rows of f32, [`Panels`], scratch. Out: dense rows of f32; what follows a product is that of
//! [`panels`](super::panels). A row is coded as it comes: `s = max |x| / 127`, `c = round(x / s)`, so what it gives does not
//! depend on the rows beside it, and any block of rows may be a call of its own. Sums of codes are exact, so that sums,
//! and products with nothing after them, are the same in bits at every level. Never allocates.
//!
//! **Bound.** With scales `s` of the row and `t` of the output, codes `c` and `d`, and `n` the depth,
//!
//! ```text
//! |found − Σ x·w|  ≤  (1/2 + 2⁻¹⁵) · (t · Σ |x|  +  s · Σ |t·d|)  +  2⁻²² · |s · t · Σ c·d|  +  2⁻¹²⁶
//! ```
//! before what follows: a code is off by half a step (and by the roundings of a quotient up to 127), a sum is rounded to
//! f32 once and scaled by two products. A row that is zero gives 0, to the bit; a row with an infinity or NaN gives NaN
//! throughout, and so does an output whose scale is NaN.

//!
//! Tiles (AMX) have run on an emulated processor (`make test-isa`), never on a real one.

#![allow(unsafe_code)] // Kernels take pointers; the one public function proves that they stay within the slices.

#[cfg(target_arch = "x86_64")]
mod amx;
pub(crate) mod dot;
pub(crate) mod rows;
mod sums;

use super::Isa;
use super::level::{Fused, Level, Plain};
use super::panels::{Columns, Out, PANEL, Place, Then, finish};
use crate::buffer::Buffer;
use dot::{Dot, Kind};
use sums::{MOST, Portable, STEP, Span, Tile, Tiling};

/// The deepest product: sums of 127 times 127 fit into 32 bits.
pub(crate) const DEEPEST: usize = 1 << 16;
/// Steps that rows and panels are rounded up to: a cache line of codes.
const STEPS: usize = 16;
/// Bytes of codes that all panels go over before the next rows are coded: a share of the second cache.
const BLOCK: usize = 1 << 17;

/// Codes `[outputs, depth]` in the order in which products read them, with what their sums begin with and are scaled by.
#[derive(Debug)]
pub(crate) struct Panels {
    codes: Buffer,
    starts: Vec<[i32; PANEL]>,
    scales: Vec<[f32; PANEL]>,
    columns: Columns,
    depth: usize,
}

impl Panels {
    /// Packs row-major codes; `scales` are one an output, or one of all. Gated ones are gates over values.
    ///
    /// # Panics
    /// If lengths do not fit, gated outputs are odd, or the depth is above [`DEEPEST`].
    pub fn new(codes: &[i8], scales: &[f32], (outputs, depth): (usize, usize), gated: bool) -> Self {
        assert_eq!(codes.len(), outputs * depth, "codes of {outputs} outputs and {depth} inputs");
        assert!(scales.len() == 1 || scales.len() == outputs, "{} scales of {outputs} outputs", scales.len());
        assert!(depth <= DEEPEST, "a product of {depth} codes");
        let columns = Columns::new(outputs, gated);
        let (panels, steps) = (columns.panels(), padded(depth));
        let mut packed = Buffer::default().zeroed(panels * steps * PANEL);
        let (mut starts, mut lanes_scales) = (vec![[0; PANEL]; panels], vec![[0.0; PANEL]; panels]);
        for (panel, words) in packed.words_mut().chunks_exact_mut((steps * PANEL).max(1)).enumerate() {
            for lane in 0..PANEL {
                let Some(output) = columns.output(panel, lane) else { continue };
                let codes = &codes[output * depth..][..depth];
                for (lanes, codes) in words.chunks_exact_mut(PANEL).zip(codes.chunks(STEP)) {
                    let mut word = [0; STEP];
                    word.iter_mut().zip(codes).for_each(|(byte, code)| *byte = code.cast_unsigned());
                    lanes[lane] = u32::from_ne_bytes(word);
                }
                starts[panel][lane] = -128 * codes.iter().map(|&code| i32::from(code)).sum::<i32>();
                lanes_scales[panel][lane] = scales[if scales.len() == 1 { 0 } else { output }];
            }
        }
        Self { codes: packed, starts, scales: lanes_scales, columns, depth }
    }

    /// Columns of the result.
    pub fn width(&self) -> usize {
        self.columns.width()
    }

    /// Products of a row: gates count.
    pub fn outputs(&self) -> usize {
        self.columns.outputs()
    }

    /// Columns of `x`.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether the outputs are gates and values.
    pub fn gated(&self) -> bool {
        self.columns.gated()
    }

    /// Words of scratch that a product with so many rows needs.
    pub fn room(&self, rows: usize) -> usize {
        rows.min(self.block()).next_multiple_of(STEPS) * (1 + padded(self.depth))
    }

    /// Rows that are coded at once.
    fn block(&self) -> usize {
        (BLOCK / (STEP * padded(self.depth)).max(1)).max(1).next_multiple_of(3 * STEPS)
    }
}

/// Steps of a depth with those that are zero.
fn padded(depth: usize) -> usize {
    depth.div_ceil(STEP).next_multiple_of(STEPS)
}

/// The row at or before this one with which a tile may begin: where products are best cut.
pub(crate) fn tile_of(row: usize) -> usize {
    row / sums::MOST * sums::MOST
}

/// All rows with all panels.
///
/// # Safety
/// `x` is a whole number of rows of the depth, `out` has as many of the width, none of them is 0, `scratch` has room for
/// them, and the machine has the instructions of the tiling.
#[inline(always)]
unsafe fn body<T: Tiling, S: Isa>(
    level: Level,
    out: &mut [f32],
    x: &[f32],
    panels: &Panels,
    then: Then<'_>,
    scratch: &mut [f32],
) {
    let (depth, steps) = (panels.depth, padded(panels.depth));
    let (stride, block) = (STEP * steps, panels.block());
    let (scales, codes) = scratch.split_at_mut((x.len() / depth).min(block).next_multiple_of(STEPS));
    // SAFETY: a float is four bytes, each of which may be anything; the borrow stays exclusive.
    let codes = unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast::<u8>(), size_of_val(codes)) };
    let mut tile = Tile([[0.0; PANEL]; MOST]);
    for (top, x) in (0..).step_by(block).zip(x.chunks(block * depth)) {
        let rows = x.len() / depth;
        rows::code_rows(level, codes, stride, scales, x, depth);
        for (panel, right) in panels.codes.words().chunks_exact(steps * PANEL).enumerate() {
            let bias = then.bias_of(panel);
            let at = Place { columns: panels.columns, then, panel, bias: &bias };
            let mut row = 0;
            while row < rows {
                let span = Span {
                    left: codes[row * stride..].as_ptr(),
                    stride,
                    left_scales: scales[row..].as_ptr(),
                    right: right.as_ptr().cast(),
                    steps: depth.div_ceil(STEP),
                    starts: &panels.starts[panel],
                    scales: &panels.scales[panel],
                    lanes: panels.columns.used(panel),
                };
                // SAFETY: that many rows were coded, the panel is whole, and the rest is promised.
                let done = unsafe { T::strip(&mut tile, span, rows - row) };
                // SAFETY: `out` is borrowed exclusively and holds these rows.
                unsafe { finish::<S>(&mut tile.0[..done], at, top + row, Out(out.as_mut_ptr())) };
                row += done;
            }
        }
    }
}

/// # Safety
/// As for [`body`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn vnni(level: Level, out: &mut [f32], x: &[f32], panels: &Panels, then: Then<'_>, scratch: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { body::<sums::Vnni, Fused>(level, out, x, panels, then, scratch) }
}

/// # Safety
/// As for [`body`], and tiles have their shapes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
unsafe fn tiles(level: Level, out: &mut [f32], x: &[f32], panels: &Panels, then: Then<'_>, scratch: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { body::<amx::Tiles, Fused>(level, out, x, panels, then, scratch) }
}

/// # Safety
/// As for [`body`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(level: Level, out: &mut [f32], x: &[f32], panels: &Panels, then: Then<'_>, scratch: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { body::<sums::Avx2, Fused>(level, out, x, panels, then, scratch) }
}

/// `out = then(x · Wᵀ)`; what stands in the scratch before and after means nothing.
///
/// # Panics
/// If a slice is not as long as the rows of `x` and the width make it, or the scratch is shorter than [`Panels::room`].
pub(crate) fn product(level: Level, out: &mut [f32], x: &[f32], panels: &Panels, then: Then<'_>, scratch: &mut [f32]) {
    product_by(level, Dot::at(level), out, x, panels, then, scratch);
}

/// The same by some way that the level may use.
fn product_by(
    level: Level,
    dot: Dot,
    out: &mut [f32],
    x: &[f32],
    panels: &Panels,
    then: Then<'_>,
    scratch: &mut [f32],
) {
    let (width, depth) = (panels.width(), panels.depth);
    assert!(depth > 0 && x.len().is_multiple_of(depth), "rows of {depth} values in {}", x.len());
    let rows = x.len() / depth;
    assert_eq!(out.len(), rows * width, "output of a product of width {width}");
    assert!(scratch.len() >= panels.room(rows), "scratch of {} words for {rows} rows", scratch.len());
    then.check(panels.columns, rows);
    if out.is_empty() {
        return;
    }
    // SAFETY: slices are as long as asserted, panels are made whole, `Dot` found its features, and a level above portable,
    // which alone has a way of its own, was found with the rest.
    unsafe {
        match dot.kind() {
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => {
                super::bf16::amx::configure();
                tiles(level, out, x, panels, then, scratch);
                super::bf16::amx::release();
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni => vnni(level, out, x, panels, then, scratch),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(level, out, x, panels, then, scratch),
            _ => body::<Portable, Plain>(level, out, x, panels, then, scratch),
        }
    }
}

#[cfg(test)]
mod tests;
