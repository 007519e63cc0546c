//! Products with weights that were packed once, and what follows them, done while a tile is in the nearest cache.
//!
//! ```text
//! W [outputs × depth] ─► panels of 64 outputs, [depth][64], zero beyond the last     once a model
//! x [rows × depth] · Wᵀ ─► + bias ─► activation or gate ─► + other rows ─► out        a call; x is read where it lies
//! ```
//! In: dense rows and [`Panels`]. Out: dense rows. Each sum is one chain of fused products in the order of the depth, so
//! that numbers of rows, tiles and instruction sets with fused products agree in bits: what a row gives does not depend
//! on the rows beside it. Never packs or copies `x`, never allocates.

#![allow(unsafe_code)] // Vector loads take pointers; the one public function proves that they stay within the slices.

use super::Isa;
use super::elementwise::{gelu_of, relu_of};
use super::exp::sigmoid;
use super::level::{Fused, Kind, Level, Plain};
use super::thin::{Four, Vector};
use crate::Team;
use crate::buffer::Buffer;

/// Outputs of a panel.
pub(crate) const PANEL: usize = 64;
/// Outputs of a panel whose other half are gates.
const HALF: usize = PANEL / 2;
/// The most rows of a tile.
const MOST: usize = 12;
/// Values of `x` that all panels go over before the next ones: a share of the second cache.
const BLOCK: usize = 1 << 16;

/// Which outputs lie in which lanes of which panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    outputs: usize,
    gated: bool,
}

impl Columns {
    /// Gated outputs are gates over values: a panel then holds 32 gates and the 32 values they belong to.
    ///
    /// # Panics
    /// If gated outputs are odd.
    pub fn new(outputs: usize, gated: bool) -> Self {
        assert!(!gated || outputs.is_multiple_of(2), "gates and values are halves, not {outputs} outputs");
        Self { outputs, gated }
    }

    /// Panels that hold all outputs.
    pub fn panels(self) -> usize {
        self.width().div_ceil(self.lanes())
    }

    /// Products of a row: gates count.
    pub fn outputs(self) -> usize {
        self.outputs
    }

    /// Columns of the result.
    pub fn width(self) -> usize {
        if self.gated { self.outputs / 2 } else { self.outputs }
    }

    /// Whether the outputs are gates and values.
    pub fn gated(self) -> bool {
        self.gated
    }

    /// Columns of the result that a panel gives.
    fn lanes(self) -> usize {
        if self.gated { HALF } else { PANEL }
    }

    /// Lanes up to the last that holds an output.
    pub fn used(self, panel: usize) -> usize {
        let columns = self.lanes().min(self.width() - panel * self.lanes());
        if self.gated { HALF + columns } else { columns }
    }

    /// The output whose weights lie in a lane.
    pub fn output(self, panel: usize, lane: usize) -> Option<usize> {
        let column = panel * self.lanes() + lane % self.lanes();
        (column < self.width()).then_some(if lane < self.lanes() { column } else { self.width() + column })
    }
}

/// Weights `[outputs, depth]` in the order in which products read them.
#[derive(Debug)]
pub(crate) struct Panels {
    data: Buffer,
    columns: Columns,
    depth: usize,
}

impl Panels {
    /// Packs row-major weights; gated ones as [`Columns::new`] says.
    ///
    /// # Panics
    /// If the slice is not `outputs × depth` long, or gated outputs are odd.
    pub fn new(weights: &[f32], outputs: usize, depth: usize, gated: bool) -> Self {
        Self::packed_in(Buffer::default(), weights, outputs, depth, gated)
    }

    /// The same in memory that is there; no more is taken where it is long enough.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn packed_in(memory: Buffer, weights: &[f32], outputs: usize, depth: usize, gated: bool) -> Self {
        assert_eq!(weights.len(), outputs * depth, "weights of {outputs} outputs and {depth} inputs");
        let columns = Columns::new(outputs, gated);
        let mut data = memory.zeroed(columns.panels() * depth * PANEL);
        for (panel, values) in data.chunks_exact_mut((depth * PANEL).max(1)).enumerate() {
            for lane in 0..PANEL {
                let Some(output) = columns.output(panel, lane) else { continue };
                for (lanes, &weight) in values.chunks_exact_mut(PANEL).zip(&weights[output * depth..][..depth]) {
                    lanes[lane] = weight;
                }
            }
        }
        Self { data, columns, depth }
    }

    /// The memory, for other panels.
    pub fn into_memory(self) -> Buffer {
        self.data
    }

    /// Columns of the result.
    pub fn width(&self) -> usize {
        self.columns.width()
    }

    /// Columns of `x`.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Products of a row: gates count.
    pub fn outputs(&self) -> usize {
        self.columns.outputs()
    }

    /// Whether the outputs are gates and values.
    pub fn gated(&self) -> bool {
        self.columns.gated()
    }
}

/// A function of each element of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    None,
    Relu,
    Gelu,
    Silu,
    Sigmoid,
}

/// What follows a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Then<'a> {
    /// One an output, or empty. Gated weights take none.
    pub bias: &'a [f32],
    /// Gated weights take none: theirs is `silu(gate) ∘ value`.
    pub curve: Curve,
    /// Rows like those of the result, added last; or empty.
    pub onto: &'a [f32],
}

impl Then<'_> {
    /// The product alone.
    pub const NOTHING: Self = Then { bias: &[], curve: Curve::None, onto: &[] };

    /// Sees that this can follow a product of so many rows.
    ///
    /// # Panics
    /// If it cannot.
    pub(super) fn check(self, columns: Columns, rows: usize) {
        let (width, gated) = (columns.width(), columns.gated());
        let Self { bias, curve, onto } = self;
        assert!(bias.is_empty() || (bias.len() == width && !gated), "{} biases for width {width}", bias.len());
        assert!(!gated || curve == Curve::None, "gates have their own curve");
        assert!(onto.is_empty() || onto.len() == rows * width, "rows to add to");
    }

    /// The biases of a panel's lanes.
    #[inline(always)]
    pub(super) fn bias_of(self, panel: usize) -> [f32; PANEL] {
        let mut bias = [0.0; PANEL];
        for (to, &from) in bias.iter_mut().zip(self.bias.get(panel * PANEL..).unwrap_or_default()) {
            *to = from;
        }
        bias
    }
}

/// Sums of a tile, before and after what follows.
#[repr(align(64))]
struct Tile([[f32; PANEL]; MOST]);

/// Where the rows of a tile and its panel begin.
#[derive(Clone, Copy)]
struct Span {
    left: *const f32,
    right: *const f32,
    depth: usize,
    lanes: usize,
}

/// What follows a panel's sums.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub columns: Columns,
    pub then: Then<'a>,
    pub panel: usize,
    pub bias: &'a [f32; PANEL],
}

/// The sums of `M` rows with the first `lanes` outputs of a panel, rounded up to `W` vectors.
///
/// # Safety
/// `left` holds `M` rows of `depth` values, `right` holds `depth` rows of [`PANEL`], and the machine has the
/// instructions of `V`.
#[inline(always)]
unsafe fn sums<V: Vector, const M: usize, const W: usize>(tile: &mut Tile, at: Span) {
    let Span { left, right, depth, lanes } = at;
    // SAFETY: the caller's promise covers every address below; lanes are at most a panel, which is a multiple of the
    // vectors.
    unsafe {
        for first in (0..lanes).step_by(W * V::LANES) {
            let mut sums = [[V::splat(0.0); W]; M];
            for k in 0..depth {
                let mut row = [V::splat(0.0); W];
                for (w, value) in row.iter_mut().enumerate() {
                    *value = V::load(right.add(k * PANEL + first + w * V::LANES));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let left = V::splat(*left.add(m * depth + k));
                    for (sum, &right) in sums.iter_mut().zip(&row) {
                        *sum = left.fma(right, *sum);
                    }
                }
            }
            for (sums, row) in sums.iter().zip(&mut tile.0) {
                for (w, sum) in sums.iter().enumerate() {
                    sum.store(row.as_mut_ptr().add(first + w * V::LANES));
                }
            }
        }
    }
}

/// The sums of `M` rows, or of as many as are left, with one panel; gives how many rows it did.
///
/// # Safety
/// As for [`sums`], for `rows` rows, at least 1.
#[inline(always)]
unsafe fn strip<V: Vector, const M: usize, const W: usize>(tile: &mut Tile, at: Span, rows: usize) -> usize {
    // SAFETY: no more rows are taken than are left.
    unsafe {
        if rows >= M {
            sums::<V, M, W>(tile, at);
            M
        } else if rows >= 4 {
            sums::<V, 4, W>(tile, at);
            4
        } else if rows >= 2 {
            sums::<V, 2, W>(tile, at);
            2
        } else {
            sums::<V, 1, W>(tile, at);
            1
        }
    }
}

/// `f(sum + bias)`; a panel without biases has zeros.
#[inline(always)]
fn map(sums: &mut [f32; PANEL], bias: &[f32; PANEL], f: impl Fn(f32) -> f32) {
    for (x, &bias) in sums.iter_mut().zip(bias) {
        *x = f(*x + bias);
    }
}

/// Writes sums, with the row they are added to where there is one.
#[inline(always)]
fn put(out: &mut [f32], sums: &[f32], onto: &[f32]) {
    if onto.is_empty() {
        out.copy_from_slice(sums);
    } else {
        for ((out, &sum), &more) in out.iter_mut().zip(sums).zip(onto) {
            *out = sum + more;
        }
    }
}

/// What follows, for the sums of some rows; `first` is the first of them.
///
/// # Safety
/// Nobody else reads or writes these rows' columns of the panel in `out`, which are within it.
#[inline(always)]
pub(super) unsafe fn finish<S: Isa>(tile: &mut [[f32; PANEL]], at: Place<'_>, first: usize, out: Out) {
    let (width, lanes) = (at.columns.width(), at.columns.lanes());
    let left = at.panel * lanes;
    let count = lanes.min(width - left);
    for (row, sums) in (first..).zip(tile) {
        if at.columns.gated {
            let (gates, values) = sums.split_at_mut(HALF);
            for (gate, &value) in gates.iter_mut().zip(&*values) {
                *gate = *gate * sigmoid::<S>(*gate) * value;
            }
        }
        match at.then.curve {
            Curve::None if at.then.bias.is_empty() => {}
            Curve::None => map(sums, at.bias, |x| x),
            Curve::Relu => map(sums, at.bias, relu_of),
            Curve::Gelu => map(sums, at.bias, gelu_of::<S>),
            Curve::Silu => map(sums, at.bias, |x| x * sigmoid::<S>(x)),
            Curve::Sigmoid => map(sums, at.bias, sigmoid::<S>),
        }
        let start = row * width + left;
        let onto = at.then.onto.get(start..start + count).unwrap_or_default();
        // SAFETY: the caller's promise.
        let out = unsafe { std::slice::from_raw_parts_mut(out.0.add(start), count) };
        match out.as_mut_array::<PANEL>() {
            Some(out) => put(out, sums, onto),
            None => put(out, &sums[..count], onto),
        }
    }
}

/// How a level tiles: the vectors and the rows of a tile that fill its registers, by how many vectors a panel has.
trait Tiling {
    type Vector: Vector;
    type Isa: Isa;
    /// # Safety
    /// As for [`strip`].
    unsafe fn strip(tile: &mut Tile, at: Span, rows: usize) -> usize;
}

#[cfg(target_arch = "x86_64")]
struct Avx512;
#[cfg(target_arch = "x86_64")]
struct Avx2;
struct Portable;

#[cfg(target_arch = "x86_64")]
impl Tiling for Avx512 {
    type Vector = std::arch::x86_64::__m512;
    type Isa = Fused;
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span, rows: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match at.lanes.div_ceil(Self::Vector::LANES) {
                1 => strip::<Self::Vector, 12, 1>(tile, at, rows),
                2 => strip::<Self::Vector, 12, 2>(tile, at, rows),
                _ => strip::<Self::Vector, 6, 4>(tile, at, rows),
            }
        }
    }
}
#[cfg(target_arch = "x86_64")]
impl Tiling for Avx2 {
    type Vector = std::arch::x86_64::__m256;
    type Isa = Fused;
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span, rows: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match at.lanes.div_ceil(Self::Vector::LANES) {
                1 => strip::<Self::Vector, 12, 1>(tile, at, rows),
                _ => strip::<Self::Vector, 6, 2>(tile, at, rows),
            }
        }
    }
}

impl Tiling for Portable {
    type Vector = Four;
    type Isa = Plain;
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span, rows: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe { strip::<Four, 4, 2>(tile, at, rows) }
    }
}

/// Some rows with some panels.
///
/// # Safety
/// `x` is a whole number of rows of the depth, `out` has as many of the width, neither is 0, and the machine has the
/// instructions of the tiling. Nobody else reads or writes the part's rows and columns of `out`.
#[inline(always)]
unsafe fn body<T: Tiling>(out: Out, x: &[f32], panels: &Panels, then: Then<'_>, part: Part) {
    let depth = panels.depth;
    let block = (BLOCK / depth).max(1).next_multiple_of(MOST);
    let mut tile = Tile([[0.0; PANEL]; MOST]);
    for top in (part.rows.0..part.rows.1).step_by(block) {
        let end = (top + block).min(part.rows.1);
        let some = panels.data.chunks_exact(depth * PANEL).enumerate().take(part.panels.1).skip(part.panels.0);
        for (panel, right) in some {
            let bias = then.bias_of(panel);
            let at = Place { columns: panels.columns, then, panel, bias: &bias };
            let lanes = panels.columns.used(panel);
            let mut row = top;
            while row < end {
                let span = Span { left: x[row * depth..].as_ptr(), right: right.as_ptr(), depth, lanes };
                // SAFETY: that many rows are left, the panel is whole, and the rest is promised.
                let done = unsafe { T::strip(&mut tile, span, end - row) };
                // SAFETY: the rows and the panel are of this part.
                unsafe { finish::<T::Isa>(&mut tile.0[..done], at, row, out) };
                row += done;
            }
        }
    }
}

/// # Safety
/// As for [`body`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
unsafe fn avx512(out: Out, x: &[f32], panels: &Panels, then: Then<'_>, part: Part) {
    // SAFETY: the caller's promise.
    unsafe { body::<Avx512>(out, x, panels, then, part) }
}

/// # Safety
/// As for [`body`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(out: Out, x: &[f32], panels: &Panels, then: Then<'_>, part: Part) {
    // SAFETY: the caller's promise.
    unsafe { body::<Avx2>(out, x, panels, then, part) }
}

/// `out = then(x · Wᵀ)`.
///
/// # Panics
/// If a slice is not as long as the rows of `x` and the width make it.
pub(crate) fn product(level: Level, out: &mut [f32], x: &[f32], panels: &Panels, then: Then<'_>) {
    shared_product(None, level, out, x, panels, then);
}

/// The same, shared among a team, where there is one. Of few rows, threads go over different panels first, so that each
/// reads a part of the weights, and where there are too few, over different rows, too; of many, over different rows.
pub(crate) fn shared_product(
    team: Option<&Team>,
    level: Level,
    out: &mut [f32],
    x: &[f32],
    panels: &Panels,
    then: Then<'_>,
) {
    let (width, depth) = (panels.width(), panels.depth);
    assert!(depth > 0 && x.len().is_multiple_of(depth), "rows of {depth} values in {}", x.len());
    assert_eq!(out.len(), x.len() / depth * width, "output of a product of width {width}");
    then.check(panels.columns, x.len() / depth);
    if out.is_empty() {
        return;
    }
    let (rows, count) = (x.len() / depth, panels.data.len() / (depth * PANEL));
    let out = Out(out.as_mut_ptr());
    // SAFETY: both slices are whole rows as asserted, panels are made whole, and a level above portable is only made
    // where its features were found. Parts are disjoint, and each is done once, while `out` is borrowed.
    let run = |part: Part| unsafe {
        match level.kind() {
            #[cfg(target_arch = "x86_64")]
            kind if kind >= Kind::Avx512 => avx512(out, x, panels, then, part),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(out, x, panels, then, part),
            _ => body::<Portable>(out, x, panels, then, part),
        }
    };
    match team {
        Some(team) => {
            let cut = Cut::new(rows, count, team.threads());
            team.pieces(cut.pieces(), &|piece| run(cut.part(piece)));
        }
        None => run(Part { rows: (0, rows), panels: (0, count) }),
    }
}

/// Where the result is written.
#[derive(Clone, Copy)]
pub(super) struct Out(pub *mut f32);

// SAFETY: threads write different parts of what it points to, as `body` is promised.
unsafe impl Sync for Out {}

/// Rows and panels, each from one to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    rows: (usize, usize),
    panels: (usize, usize),
}

/// Pieces a member: more than one, so that who is late leaves some to others.
const PIECES: usize = 4;

/// Rows of a piece for which it pays to read all weights, and that then stay where they were made.
const MANY: usize = 8 * MOST;

/// A product cut in pieces: groups of panels, of each several stretches of rows.
#[derive(Clone, Copy, Debug)]
struct Cut {
    rows: usize,
    panels: usize,
    groups: usize,
    stretches: usize,
}

impl Cut {
    fn new(rows: usize, panels: usize, threads: usize) -> Self {
        let wanted = PIECES * threads;
        let groups = if rows >= wanted * MANY { 1 } else { panels.min(wanted) };
        let stretches = wanted.div_ceil(groups.max(1)).min(rows.div_ceil(2 * MOST)).max(1);
        Self { rows, panels, groups, stretches }
    }

    fn pieces(self) -> usize {
        self.groups * self.stretches
    }

    /// A group's stretches lie one after another, so that mostly one thread has them.
    fn part(self, piece: usize) -> Part {
        let (group, stretch) = (piece / self.stretches, piece % self.stretches);
        let panel = |group: usize| group * self.panels / self.groups;
        let tiles = self.rows.div_ceil(MOST);
        let row = |stretch: usize| (stretch * tiles / self.stretches * MOST).min(self.rows);
        Part { rows: (row(stretch), row(stretch + 1)), panels: (panel(group), panel(group + 1)) }
    }
}

#[cfg(test)]
mod tests;
