//! Products of coded rows with weights that were packed once, and what follows them.
//!
//! ```text
//! codes of W [outputs × depth], scales ─► panels of 64 outputs, [steps][64] words            once a model
//! x [rows × depth] f32 ─► words, a scale a row ─► sums ─► · scales ─► bias, curve, … ─► out    a call
//! ```
//! A word is four signed bytes, summed in integers, or two bf16, summed in f32; eight-bit floats are bf16 with scales
//! here, exactly. In: dense rows of f32, or rows coded before; [`Panels`], scratch. Out: dense rows of f32; what follows a
//! product is that of [`panels`](super::panels). A row is coded as it comes, so what it
//! gives does not depend on the rows beside it, and any block of rows may be a call of its own. Never allocates.
//!
//! **Bound, bytes.** `s = max |x| / 127`, `c = round(x / s)`. Sums of codes are exact, so that sums, and products with
//! nothing after them, are the same in bits at every level. With scales `s` of the row and `t` of the output, codes `c`
//! and `d`,
//!
//! ```text
//! |found − Σ x·w|  ≤  (1/2 + 2⁻¹⁵) · (t · Σ |x|  +  s · Σ |t·d|)  +  2⁻²² · |s · t · Σ c·d|  +  2⁻¹²⁶
//! ```
//! before what follows: a code is off by half a step (and by the roundings of a quotient up to 127), a sum is rounded to
//! f32 once and scaled by two products. A row that is zero gives 0, to the bit; a row with an infinity or NaN gives NaN
//! throughout, and so does an output whose scale is NaN.
//!
//! **Bound, pairs.** With `a`, `b` the operands, `L` of them under one pair of scales, `B` such stretches, `s` the largest
//! scale of the row and `u = 2⁻²⁴`, unless a sum times one of its scales overflows,
//!
//! ```text
//! |found − Σ s·t·a·b|  ≤  γ · Σ |s·t·a·b|  +  B · 2⁻¹⁴⁹ · (1 + s),     γ = (L + B + 2) · u / (1 − (L + B + 2) · u)
//! ```
//! A product of two bf16 is exact in f32; a sum of `L` rounds as often, two scales twice, and `B − 1` additions follow.
//! Operands are codes of eight-bit floats: neither they nor their sums are denormal, which bf16 instructions would take for
//! zero. All ways agree in bits but tiles. NaN goes through.
//!
//! Tiles (AMX) have run on an emulated processor (`make test-isa`), never on a real one.

#![allow(unsafe_code)] // Kernels take pointers; the one public function proves that they stay within the slices.

#[cfg(target_arch = "x86_64")]
mod amx;
pub(crate) mod dot;
pub(crate) mod rows;
mod sums;

use std::ops::Range;

use super::Isa;
use super::level::{Fused, Kind as LevelKind, Level, Plain};
use super::panels::{Columns, Out, PANEL, Place, Then, finish};
use crate::buffer::Buffer;
use dot::{Dot, Kind};
use rows::{Coder, RowsMut};
pub(crate) use sums::MOST;
use sums::{PortableBytes, PortablePairs, Span, Tile, Tiling};

/// The deepest product of bytes: sums of 127 times 127 fit into 32 bits.
pub(crate) const DEEPEST: usize = 1 << 16;
/// Steps that rows and panels are rounded up to: a cache line of words.
const STEPS: usize = 16;
/// Words that all panels go over before the next rows are coded: a share of the second cache.
const BLOCK: usize = 1 << 15;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Four signed bytes; those of rows plus 128.
    Bytes,
    /// Two bf16.
    Pairs,
}

impl Word {
    /// Codes of a word.
    fn codes(self) -> usize {
        match self {
            Self::Bytes => 4,
            Self::Pairs => 2,
        }
    }
}

/// Codes `[outputs, depth]` in the order in which products read them, with what their sums begin with and are scaled by.
#[derive(Debug)]
pub(crate) struct Panels {
    words: Buffer,
    word: Word,
    coder: Coder,
    /// What sums of a panel begin with; of pairs, zeros of all.
    starts: Vec<[i32; PANEL]>,
    /// Of a panel and stretch.
    scales: Vec<[f32; PANEL]>,
    columns: Columns,
    depth: usize,
    /// Codes of the depth under one scale.
    stretch: usize,
}

/// What [`Panels`] are made from besides codes.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub outputs: usize,
    pub depth: usize,
    /// Whether outputs are gates over values.
    pub gated: bool,
    /// Codes of the depth under one scale: all, or whole cache lines of words.
    pub stretch: usize,
}

impl Panels {
    /// Packs row-major signed bytes; `scales` are one an output, or one of all.
    ///
    /// # Panics
    /// If lengths do not fit, gated outputs are odd, or the depth is above [`DEEPEST`].
    pub fn bytes(codes: &[i8], scales: &[f32], (outputs, depth): (usize, usize), gated: bool) -> Self {
        assert_eq!(codes.len(), outputs * depth, "codes of {outputs} outputs and {depth} inputs");
        assert!(scales.len() == 1 || scales.len() == outputs, "{} scales of {outputs} outputs", scales.len());
        assert!(depth <= DEEPEST, "a product of {depth} codes");
        let word = |output: usize, part: Range<usize>| {
            let mut word = [0; 4];
            let codes = &codes[output * depth..][part];
            word.iter_mut().zip(codes).for_each(|(byte, code)| *byte = code.cast_unsigned());
            u32::from_ne_bytes(word)
        };
        let scale = |output: usize, _| scales[if scales.len() == 1 { 0 } else { output }];
        let shape = Shape { outputs, depth, gated, stretch: depth };
        let mut made = Self::pack(Buffer::default(), Word::Bytes, rows::bytes, shape, word, scale);
        made.starts = vec![[0; PANEL]; made.columns.panels()];
        for (panel, starts) in made.starts.iter_mut().enumerate() {
            for (lane, start) in starts.iter_mut().enumerate() {
                let Some(output) = made.columns.output(panel, lane) else { continue };
                *start = -128 * codes[output * depth..][..depth].iter().map(|&code| i32::from(code)).sum::<i32>();
            }
        }
        made
    }

    /// Packs bf16 that eight-bit floats stand for, given by output and place, with a scale by output and stretch; rows are
    /// coded by `coder`. Takes the memory where it is long enough.
    ///
    /// # Panics
    /// If gated outputs are odd, or a stretch ends within a cache line.
    pub fn pairs(
        memory: Buffer,
        coder: Coder,
        shape: Shape,
        value: impl Fn(usize, usize) -> u16,
        scale: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let word = |output: usize, part: Range<usize>| {
            let mut pair = part.map(|k| u32::from(value(output, k)));
            pair.next().unwrap_or_default() | pair.next().unwrap_or_default() << 16
        };
        let mut made = Self::pack(memory, Word::Pairs, coder, shape, word, scale);
        made.starts = vec![[0; PANEL]];
        made
    }

    fn pack(
        memory: Buffer,
        word: Word,
        coder: Coder,
        Shape { outputs, depth, gated, stretch }: Shape,
        pick: impl Fn(usize, Range<usize>) -> u32,
        scale: impl Fn(usize, usize) -> f32,
    ) -> Self {
        assert!(stretch >= depth || stretch.is_multiple_of(STEPS * word.codes()), "scales over {stretch} codes");
        let columns = Columns::new(outputs, gated);
        let (panels, steps) = (columns.panels(), padded(word, depth));
        let stretches = stretches(depth, stretch);
        let mut words = memory.zeroed(panels * steps * PANEL);
        let mut scales = vec![[0.0; PANEL]; panels * stretches];
        for (panel, words) in words.words_mut().chunks_exact_mut((steps * PANEL).max(1)).enumerate() {
            for lane in 0..PANEL {
                let Some(output) = columns.output(panel, lane) else { continue };
                for (step, lanes) in words.chunks_exact_mut(PANEL).take(depth.div_ceil(word.codes())).enumerate() {
                    let first = step * word.codes();
                    lanes[lane] = pick(output, first..depth.min(first + word.codes()));
                }
                for (at, scales) in scales[panel * stretches..][..stretches].iter_mut().enumerate() {
                    scales[lane] = scale(output, at);
                }
            }
        }
        Self { words, word, coder, starts: Vec::new(), scales, columns, depth, stretch: stretch.min(depth) }
    }

    /// The memory, for other panels.
    pub fn into_memory(self) -> Buffer {
        self.words
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

    /// Scales of a row.
    fn stretches(&self) -> usize {
        stretches(self.depth, self.stretch)
    }

    /// What starts the sums of a panel.
    fn starts(&self, panel: usize) -> &[i32; PANEL] {
        &self.starts[if self.word == Word::Pairs { 0 } else { panel }]
    }

    /// How rows are coded for these.
    pub fn coding(&self) -> Coding {
        let words = padded(self.word, self.depth);
        let stride = words + self.stretches().next_multiple_of(STEPS);
        Coding { coder: self.coder, depth: self.depth, words, stride }
    }

    /// Words of scratch that a product with so many rows needs.
    pub fn room(&self, level: Level, rows: usize) -> usize {
        let coding = self.coding();
        let rows = rows.min(self.block());
        coding.room(rows) + if self.widened(level) { 2 * rows * coding.stride } else { 0 }
    }

    /// Whether rows are widened to f32 before they are multiplied.
    fn widened(&self, level: Level) -> bool {
        self.word == Word::Pairs && !level.multiplies_bf16()
    }

    /// Rows that are coded at once.
    fn block(&self) -> usize {
        (BLOCK / padded(self.word, self.depth).max(1)).max(1).next_multiple_of(3 * MOST)
    }
}

/// Steps of a depth with those that are zero.
fn padded(word: Word, depth: usize) -> usize {
    depth.div_ceil(word.codes()).next_multiple_of(STEPS)
}

/// Scales of a depth.
fn stretches(depth: usize, stretch: usize) -> usize {
    depth.div_ceil(stretch.max(1)).max(1)
}

/// The row at or before this one with which a tile may begin: where products are best cut.
pub(crate) fn tile_of(row: usize) -> usize {
    row / MOST * MOST
}

/// How rows are coded for some panels. Rows coded alike can be multiplied with either's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    coder: Coder,
    depth: usize,
    words: usize,
    stride: usize,
}

impl PartialEq for Coding {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.coder, other.coder)
            && (self.depth, self.words, self.stride) == (other.depth, other.words, other.stride)
    }
}

impl Coding {
    /// Words of a row with its scales.
    pub fn stride(self) -> usize {
        self.stride
    }

    /// Words of a row without them.
    pub fn words(self) -> usize {
        self.words
    }

    /// Words of so many rows: of whole tiles.
    pub fn room(self, rows: usize) -> usize {
        rows.next_multiple_of(MOST) * self.stride
    }

    /// Codes dense rows.
    ///
    /// # Panics
    /// If there is no room.
    pub fn code(self, level: Level, rows: &mut [u32], x: &[f32]) {
        assert!(rows.len() / self.stride >= x.len() / self.depth, "room for coded rows");
        (self.coder)(level, RowsMut { rows, stride: self.stride, words: self.words }, x, self.depth);
    }
}

/// The rows of a product.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Dense rows, coded on the way.
    Plain(&'a [f32]),
    /// Rows coded before, of whole tiles.
    Coded(&'a [u32]),
}

/// All rows with all panels.
///
/// # Safety
/// `left` and `out` are as many rows, none of width 0, `scratch` has room for them, and the machine has the instructions of
/// the tiling.
#[inline(always)]
unsafe fn body<T: Tiling, S: Isa>(
    level: Level,
    out: &mut [f32],
    left: Left<'_>,
    panels: &Panels,
    then: Then<'_>,
    scratch: &mut [f32],
) {
    let (depth, all, block) = (panels.depth, out.len() / panels.width(), panels.block());
    let coding = panels.coding();
    let (stride, stretches) = (coding.stride, panels.stretches());
    let (own, widened) = bytemuck::cast_slice_mut::<f32, u32>(scratch).split_at_mut(coding.room(all.min(block)));
    let deep = panels.stretch.div_ceil(panels.word.codes());
    let mut tile = Tile([[0.0; PANEL]; MOST]);
    for top in (0..all).step_by(block) {
        let rows = block.min(all - top);
        let coded = match left {
            Left::Plain(x) => {
                coding.code(level, own, &x[top * depth..(top + rows) * depth]);
                &*own
            }
            Left::Coded(coded) => &coded[top * stride..],
        };
        let scales: &[f32] = bytemuck::cast_slice(&coded[coding.words..]);
        let (words, wide) = if T::WIDENED {
            let widened = &mut widened[..2 * rows * stride];
            rows::widen(level, widened, &coded[..rows * stride]);
            (&*widened, 2)
        } else {
            (coded, 1)
        };
        let steps = depth.div_ceil(panels.word.codes());
        for (panel, right) in panels.words.words().chunks_exact(padded(panels.word, depth) * PANEL).enumerate() {
            let bias = then.bias_of(panel);
            let at = Place { columns: panels.columns, then, panel, bias: &bias };
            let mut row = 0;
            while row < rows {
                let mut done = 0;
                for (stretch, first) in (0..steps).step_by(deep).enumerate() {
                    let span = Span {
                        left: words[wide * (row * stride + first)..].as_ptr(),
                        stride: wide * stride,
                        left_scales: scales[row * stride + stretch..].as_ptr(),
                        left_scales_step: stride,
                        right: right[first * PANEL..].as_ptr(),
                        steps: deep.min(steps - first),
                        starts: panels.starts(panel),
                        scales: &panels.scales[panel * stretches + stretch],
                        lanes: panels.columns.used(panel),
                        add: stretch > 0,
                    };
                    // SAFETY: that many rows were coded, the panel is whole, and the rest is promised.
                    done = unsafe { T::strip(&mut tile, span, rows - row) };
                }
                // SAFETY: `out` is borrowed exclusively and holds these rows.
                unsafe { finish::<S>(&mut tile.0[..done], at, top + row, Out(out.as_mut_ptr())) };
                row += done;
            }
        }
    }
}

/// A way of multiplying, compiled for what it needs.
#[cfg(target_arch = "x86_64")]
macro_rules! way {
    ($name:ident, $features:literal, $tiling:ty) => {
        /// # Safety
        /// As for [`body`]; where it uses tiles, these have their shapes.
        #[target_feature(enable = $features)]
        unsafe fn $name(
            level: Level,
            out: &mut [f32],
            left: Left<'_>,
            panels: &Panels,
            then: Then<'_>,
            scratch: &mut [f32],
        ) {
            // SAFETY: the caller's promise.
            unsafe { body::<$tiling, Fused>(level, out, left, panels, then, scratch) }
        }
    };
}
#[cfg(target_arch = "x86_64")]
way!(byte_tiles, "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma", amx::ByteTiles);
#[cfg(target_arch = "x86_64")]
way!(vnni, "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma", sums::Vnni);
#[cfg(target_arch = "x86_64")]
way!(avx2_bytes, "avx2,fma", sums::Avx2Bytes);
#[cfg(target_arch = "x86_64")]
way!(pair_tiles, "avx512f,avx512bw,avx512vl,avx2,fma", amx::PairTiles);
#[cfg(target_arch = "x86_64")]
way!(dots, "avx512bf16,avx512f,avx512bw,avx512vl,avx2,fma", sums::Dot);
#[cfg(target_arch = "x86_64")]
way!(avx512_pairs, "avx512f,avx512bw,avx512vl,avx2,fma", sums::Avx512Pairs);
#[cfg(target_arch = "x86_64")]
way!(avx2_pairs, "avx2,fma", sums::Avx2Pairs);

/// `out = then(x · Wᵀ)`; what stands in the scratch before and after means nothing.
///
/// # Panics
/// If a slice is not as long as the rows and the width make it, or the scratch is shorter than [`Panels::room`].
pub(crate) fn product(
    level: Level,
    out: &mut [f32],
    left: Left<'_>,
    panels: &Panels,
    then: Then<'_>,
    scratch: &mut [f32],
) {
    product_by(level, Dot::at(level), out, left, panels, then, scratch);
}

/// The same, bytes by some way that the level may use.
fn product_by(
    level: Level,
    dot: Dot,
    out: &mut [f32],
    left: Left<'_>,
    panels: &Panels,
    then: Then<'_>,
    scratch: &mut [f32],
) {
    let (width, depth) = (panels.width(), panels.depth);
    assert!(width > 0 && out.len().is_multiple_of(width) || out.is_empty(), "output of a product of width {width}");
    let rows = out.len().checked_div(width).unwrap_or(0);
    match left {
        Left::Plain(x) => assert!(depth > 0 && x.len() == rows * depth || width == 0, "{rows} rows of {depth} values"),
        Left::Coded(coded) => assert!(coded.len() >= panels.coding().room(rows), "words of {rows} coded rows"),
    }
    assert!(scratch.len() >= panels.room(level, rows), "scratch of {} words for {rows} rows", scratch.len());
    then.check(panels.columns, rows);
    if out.is_empty() {
        return;
    }
    // SAFETY: slices are as long as asserted, panels are made whole, `Dot` found its features, and a level above portable
    // is only made where its features were found.
    unsafe {
        match (panels.word, dot.kind(), level.kind()) {
            #[cfg(target_arch = "x86_64")]
            (Word::Bytes, Kind::Amx, _) => {
                super::bf16::amx::configure();
                byte_tiles(level, out, left, panels, then, scratch);
                super::bf16::amx::release();
            }
            #[cfg(target_arch = "x86_64")]
            (Word::Bytes, Kind::Vnni, _) => vnni(level, out, left, panels, then, scratch),
            #[cfg(target_arch = "x86_64")]
            (Word::Bytes, Kind::Avx2, _) => avx2_bytes(level, out, left, panels, then, scratch),
            (Word::Bytes, ..) => body::<PortableBytes, Plain>(level, out, left, panels, then, scratch),
            #[cfg(target_arch = "x86_64")]
            (Word::Pairs, _, LevelKind::Amx) => {
                super::bf16::amx::configure();
                pair_tiles(level, out, left, panels, then, scratch);
                super::bf16::amx::release();
            }
            #[cfg(target_arch = "x86_64")]
            (Word::Pairs, _, LevelKind::Avx512Bf16) => dots(level, out, left, panels, then, scratch),
            #[cfg(target_arch = "x86_64")]
            (Word::Pairs, _, LevelKind::Avx512) => avx512_pairs(level, out, left, panels, then, scratch),
            #[cfg(target_arch = "x86_64")]
            (Word::Pairs, _, LevelKind::Avx2) => avx2_pairs(level, out, left, panels, then, scratch),
            (Word::Pairs, ..) => body::<PortablePairs, Plain>(level, out, left, panels, then, scratch),
        }
    }
}

#[cfg(test)]
mod tests;
