//! Register tiles of attention: four queries against a tile of columns.
//!
//! In: rows of four queries and a packed or strided matrix. Out: four rows, written or added. A tile's accumulators fit
//! the registers of the wide levels; widths that are no multiple of a tile fall to narrower tiles, never to a padded
//! copy. Each loop is a kernel of its own: larger bodies lose their vector registers.

use crate::cpu::exp::exp;
use crate::cpu::reduce::{LANES, dot_of, max_of, sum_of};
use crate::cpu::transpose::{SIDE, transpose};
use crate::cpu::{Isa, Level, kernel};

/// Queries handled together.
pub(super) const QUERIES: usize = 4;

/// Keys of a packed panel: scores of four queries and a panel fit eight wide registers.
pub(super) const PANEL: usize = 32;

/// Rows `stride` apart, from the first column that matters.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// Like [`Strided`], to be written.
pub(super) struct StridedMut<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
}

#[inline(always)]
fn add_scaled<S: Isa, const N: usize>(acc: &mut [f32; N], c: f32, row: &[f32; N]) {
    for l in 0..N {
        acc[l] = S::fma(c, row[l], acc[l]);
    }
}

/// Runs `$tile::<S, N>(args.., at)` over tiles that cover `$width` columns.
macro_rules! cover {
    ($width:expr, $tile:ident($($arg:expr),*)) => {{
        let (width, mut at) = ($width, 0);
        cover!(@ 32, width, at, $tile($($arg),*));
        cover!(@ 16, width, at, $tile($($arg),*));
        cover!(@ 8, width, at, $tile($($arg),*));
        cover!(@ 1, width, at, $tile($($arg),*));
    }};
    (@ $size:literal, $width:ident, $at:ident, $tile:ident($($arg:expr),*)) => {
        while $width - $at >= $size {
            $tile::<S, $size>($($arg,)* $at);
            $at += $size;
        }
    };
}

#[inline(always)]
fn product_tile<S: Isa, const N: usize>(
    to: &mut StridedMut<'_>,
    left: [&[f32]; QUERIES],
    right: Strided<'_>,
    at: usize,
) {
    let mut acc = [[0.0; N]; QUERIES];
    let [a, b, c, d] = left;
    for ((((&a, &b), &c), &d), row) in a.iter().zip(b).zip(c).zip(d).zip(right.data.chunks(right.stride)) {
        let Some(row) = row[at..].first_chunk::<N>() else { break };
        add_scaled::<S, N>(&mut acc[0], a, row);
        add_scaled::<S, N>(&mut acc[1], b, row);
        add_scaled::<S, N>(&mut acc[2], c, row);
        add_scaled::<S, N>(&mut acc[3], d, row);
    }
    for (acc, row) in acc.iter().zip(to.data.chunks_mut(to.stride)) {
        row[at..at + N].copy_from_slice(acc);
    }
}

kernel! {
    /// `to[r][..width] = Σ_i left[r][i] · right[i][..width]`, for as many of the four rows as `to` has.
    pub(super) fn product<S>(to: StridedMut<'_>, left: [&[f32]; QUERIES], right: Strided<'_>, width: usize) {
        let mut to = to;
        cover!(width, product_tile(&mut to, left, right));
    }
}

#[inline(always)]
fn update_tile<S: Isa, const N: usize>(
    to: &mut StridedMut<'_>,
    left: [&[f32]; QUERIES],
    right: [&[f32]; QUERIES],
    at: usize,
) {
    let mut tile = [[0.0; N]; QUERIES];
    for (tile, row) in tile.iter_mut().zip(right) {
        tile.copy_from_slice(&row[at..at + N]);
    }
    let [a, b, c, d] = left;
    for ((((&a, &b), &c), &d), row) in a.iter().zip(b).zip(c).zip(d).zip(to.data.chunks_mut(to.stride)) {
        let Some(row) = row[at..].first_chunk_mut::<N>() else { break };
        let mut sum = *row;
        add_scaled::<S, N>(&mut sum, a, &tile[0]);
        add_scaled::<S, N>(&mut sum, b, &tile[1]);
        add_scaled::<S, N>(&mut sum, c, &tile[2]);
        add_scaled::<S, N>(&mut sum, d, &tile[3]);
        *row = sum;
    }
}

kernel! {
    /// `to[i][..width] += Σ_r left[r][i] · right[r][..width]`: four rank-one updates at once.
    pub(super) fn update<S>(
        to: StridedMut<'_>,
        left: [&[f32]; QUERIES],
        right: [&[f32]; QUERIES],
        width: usize,
    ) {
        let mut to = to;
        cover!(width, update_tile(&mut to, left, right));
    }
}

kernel! {
    /// Softmax of `scale · row` over the first `len` values, in place; zeros up to the end, which is a multiple of the
    /// lanes: a tail would be exponentiated one by one.
    pub(super) fn normalise<S>(row: &mut [f32], len: usize, scale: f32) {
        row[len..].fill(f32::NEG_INFINITY);
        let (row, _) = row.as_chunks_mut::<LANES>();
        let max = max_of(row.as_flattened());
        for chunk in row.iter_mut() {
            for x in chunk {
                *x = exp::<S>((*x - max) * scale);
            }
        }
        let inverse = 1.0 / sum_of(row.as_flattened());
        for chunk in row {
            for x in chunk {
                *x *= inverse;
            }
        }
    }
}

kernel! {
    /// `d` becomes `p ∘ (d − Σ p·d)`.
    pub(super) fn normalise_back<S>(d: &mut [f32], p: &[f32]) {
        let mean = dot_of::<S>(p, d);
        for (d, &p) in d.iter_mut().zip(p) {
            *d = p * (*d - mean);
        }
    }
}

/// Transposes `len` strided rows of `width` into panels `[keys / PANEL][width][PANEL]`, zero beyond the last row.
pub(super) fn pack(level: Level, packed: &mut [f32], rows: Strided<'_>, width: usize, len: usize) {
    for (panel, first) in packed.chunks_exact_mut(width * PANEL).zip((0..len).step_by(PANEL)) {
        for (half, first) in (0..PANEL).step_by(SIDE).zip((first..).step_by(SIDE)) {
            let count = SIDE.min(len.saturating_sub(first));
            let from = &rows.data[(first * rows.stride).min(rows.data.len())..];
            let blocks = if count == SIDE { width / SIDE } else { 0 };
            for block in 0..blocks {
                transpose(level, &mut panel[block * SIDE * PANEL + half..], PANEL, &from[block * SIDE..], rows.stride);
            }
            let lanes = panel.chunks_exact_mut(PANEL).enumerate().skip(blocks * SIDE);
            for (column, lane) in lanes {
                let (filled, rest) = lane[half..half + SIDE].split_at_mut(count);
                for (value, row) in filled.iter_mut().zip(from.chunks(rows.stride)) {
                    *value = row[column];
                }
                rest.fill(0.0);
            }
        }
    }
}

kernel! {
    /// Copies strided rows to lie one after another.
    pub(super) fn gather<S>(to: &mut [f32], rows: Strided<'_>, width: usize) {
        for (to, row) in to.chunks_exact_mut(width).zip(rows.data.chunks(rows.stride)) {
            to.copy_from_slice(&row[..width]);
        }
    }
}

kernel! {
    /// `to[r][j] = left[r] · row j` of packed rows, for `j < len` and up to the end of its panel half.
    pub(super) fn scores<S>(to: StridedMut<'_>, left: [&[f32]; QUERIES], packed: &[f32], len: usize) {
        let width = left[0].len();
        for (panel, first) in packed.chunks_exact(width * PANEL).zip((0..len).step_by(PANEL)) {
            let mut to = StridedMut { data: &mut to.data[first..], stride: to.stride };
            let right = Strided { data: panel, stride: PANEL };
            if len - first > PANEL / 2 {
                product_tile::<S, PANEL>(&mut to, left, right, 0);
            } else {
                product_tile::<S, { PANEL / 2 }>(&mut to, left, right, 0);
            }
        }
    }
}
