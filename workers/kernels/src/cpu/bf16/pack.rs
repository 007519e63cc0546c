//! Packing: rows of f32 become tiles of bf16 pairs, in the one layout that all instruction sets multiply.
//!
//! ```text
//! left   [m × k]   blocks of 16 rows, each block k / 32 tiles:      tile[row][pair]     = (x[row, 2·pair], x[row, 2·pair + 1])
//! right  [k × n]   blocks of 16 columns, each block k / 32 tiles:   tile[pair][column]  = (x[2·pair, column], x[2·pair + 1, column])
//! ```
//! In: dense row-major f32. Out: 16 × 16 words a tile, 1 KiB; the first of a pair lies in the lower half. What a tile has
//! beyond the edge is zero. Either side can be packed from a matrix or from its transpose: the tiles of `xᵀ` as one side
//! are the tiles of `x` as the other, transposed word by word. The same words at every level.

#![allow(unsafe_code)] // Calls into functions compiled for more features than the crate needs.

use std::ops::Range;

use super::convert::word;
use crate::cpu::level::Kind;
use crate::cpu::{Level, kernel};

/// Rows of a left tile, columns of a right one, and pairs of either.
pub(crate) const SIDE: usize = 16;
/// Values of the depth in a tile.
pub(crate) const DEPTH: usize = 2 * SIDE;
/// Words of a tile.
pub(crate) const TILE: usize = SIDE * SIDE;

type Words = [u32; TILE];

/// Words that a packed side needs: `lines` rows of a left or columns of a right side, `depth` deep.
pub(crate) fn words(lines: usize, depth: usize) -> usize {
    lines.div_ceil(SIDE) * depth.div_ceil(DEPTH) * TILE
}

/// Which matrix a packed side stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Of {
    /// The one given.
    Matrix,
    /// Its transpose.
    Transpose,
}

/// Packs `x [rows × cols]`, or its transpose, as a left side.
///
/// # Panics
/// If a length does not fit.
pub(crate) fn pack_left(level: Level, out: &mut [u32], x: &[f32], (rows, cols): (usize, usize), of: Of) {
    match of {
        Of::Matrix => pack(level, out, x, (rows, 0..cols), cols, Along::Columns, false),
        Of::Transpose => pack(level, out, x, (rows, 0..cols), cols, Along::Rows, true),
    }
}

/// Packs `x [rows × cols]`, or its transpose, as a right side.
///
/// # Panics
/// If a length does not fit.
pub(crate) fn pack_right(level: Level, out: &mut [u32], x: &[f32], (rows, cols): (usize, usize), of: Of) {
    match of {
        Of::Matrix => pack_columns(level, out, x, (rows, cols), 0..cols),
        Of::Transpose => pack(level, out, x, (rows, 0..cols), cols, Along::Columns, true),
    }
}

/// Packs some columns of `x [rows × cols]` as a right side.
///
/// # Panics
/// If a length does not fit.
pub(crate) fn pack_columns(level: Level, out: &mut [u32], x: &[f32], (rows, cols): (usize, usize), part: Range<usize>) {
    pack(level, out, x, (rows, part), cols, Along::Rows, false);
}

/// Where the two of a pair lie in the matrix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Along {
    /// Below each other: a tile takes 32 rows of 16 columns.
    Rows,
    /// Side by side: a tile takes 16 rows of 32 columns.
    Columns,
}

fn pack(
    level: Level,
    out: &mut [u32],
    x: &[f32],
    (rows, part): (usize, Range<usize>),
    cols: usize,
    along: Along,
    turned: bool,
) {
    assert!(x.len() == rows * cols && part.start <= part.end && part.end <= cols, "a matrix {rows} x {cols}");
    let width = part.len();
    let (lines, depth) = if along == Along::Rows { (width, rows) } else { (rows, width) };
    assert_eq!(out.len(), words(lines, depth), "words of a packed matrix {rows} x {width}");
    let deep = depth.div_ceil(DEPTH);
    for (at, tile) in out.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
        let (line, k) = (at / deep * SIDE, at % deep * DEPTH);
        match along {
            Along::Rows => pairs_of_rows(level, tile, x, cols, (k, part.start + line), (rows, part.end)),
            Along::Columns => pairs_of_columns(level, tile, x, cols, (line, part.start + k), (rows, part.end)),
        }
        if turned {
            turn(level, tile);
        }
    }
}

kernel! {
    /// A tile of pairs that lie side by side, from row and column `from` on; rows and columns at `ends` and beyond are
    /// zero. `step` is the distance of two rows.
    pub(crate) fn pairs_of_columns<S>(
        tile: &mut [u32; TILE],
        x: &[f32],
        step: usize,
        from: (usize, usize),
        ends: (usize, usize),
    ) {
        let (rows, width) = (SIDE.min(ends.0 - from.0), DEPTH.min(ends.1 - from.1));
        let lines = tile.as_chunks_mut::<SIDE>().0;
        let mut edge = [0.0; DEPTH];
        for (i, line) in lines.iter_mut().enumerate().take(rows) {
            let values = &x[(from.0 + i) * step + from.1..][..width];
            let values = match <&[f32; DEPTH]>::try_from(values) {
                Ok(values) => values,
                Err(_) => {
                    edge[..width].copy_from_slice(values);
                    &edge
                }
            };
            // First to 16 bits each, of which two neighbours are a word.
            let mut halves = [0u16; DEPTH];
            for (half, &value) in halves.iter_mut().zip(values) {
                *half = word(value) as u16;
            }
            for (word, pair) in line.iter_mut().zip(halves.as_chunks::<2>().0) {
                *word = u32::from(pair[0]) | u32::from(pair[1]) << 16;
            }
        }
        for line in &mut lines[rows..] {
            *line = [0; SIDE];
        }
    }
}

kernel! {
    /// A tile of pairs that lie below each other, likewise.
    pub(crate) fn pairs_of_rows<S>(
        tile: &mut [u32; TILE],
        x: &[f32],
        step: usize,
        from: (usize, usize),
        ends: (usize, usize),
    ) {
        let (rows, width) = (DEPTH.min(ends.0 - from.0), SIDE.min(ends.1 - from.1));
        let lines = tile.as_chunks_mut::<SIDE>().0;
        if rows == DEPTH && width == SIDE {
            for (pair, line) in lines.iter_mut().enumerate() {
                let at = (from.0 + 2 * pair) * step + from.1;
                let (first, second) = (&x[at..][..SIDE], &x[at + step..][..SIDE]);
                for ((line, &first), &second) in line.iter_mut().zip(first).zip(second) {
                    *line = word(first) | word(second) << 16;
                }
            }
            return;
        }
        *tile = [0; TILE];
        for i in 0..rows {
            let values = &x[(from.0 + i) * step + from.1..][..width];
            for (line, &value) in tile[i / 2 * SIDE..].iter_mut().zip(values) {
                *line |= word(value) << (16 * (i % 2));
            }
        }
    }
}

/// Transposes a tile.
pub(crate) fn turn(level: Level, tile: &mut Words) {
    match level.kind() {
        // SAFETY: a level above portable is only made where its features were found.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 | Kind::Avx512Bf16 | Kind::Amx => unsafe { turn_avx512(tile) },
        _ => {
            for row in 0..SIDE {
                for col in 0..row {
                    tile.swap(row * SIDE + col, col * SIDE + row);
                }
            }
        }
    }
}

/// Four rounds; round `r` exchanges blocks of `2ʳ` words between rows `2ʳ` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
fn turn_avx512(tile: &mut Words) {
    use std::arch::x86_64::{__m512i, _mm512_loadu_si512, _mm512_permutex2var_epi32, _mm512_storeu_si512};

    const fn picks(apart: usize, upper: bool) -> [u32; SIDE] {
        let mut picks = [0; SIDE];
        let mut lane = 0;
        while lane < SIDE {
            // Lane `lane` of the first row, or, from 16 on, of the second.
            let low = lane & !apart;
            let from = if upper { low + apart } else { low };
            picks[lane] = (from + if lane & apart == 0 { 0 } else { SIDE }) as u32;
            lane += 1;
        }
        picks
    }
    const PICKS: [[[u32; SIDE]; 2]; 4] = {
        let mut all = [[[0; SIDE]; 2]; 4];
        let mut round = 0;
        while round < 4 {
            all[round] = [picks(1 << round, false), picks(1 << round, true)];
            round += 1;
        }
        all
    };
    // SAFETY: every load and store is of 16 words within an array of that many, or of 16 rows of them.
    unsafe {
        let mut rows: [__m512i; SIDE] =
            std::array::from_fn(|row| _mm512_loadu_si512(tile.as_ptr().add(row * SIDE).cast()));
        for (round, picks) in PICKS.iter().enumerate() {
            let [lower, upper] = [0, 1].map(|half: usize| _mm512_loadu_si512(picks[half].as_ptr().cast()));
            let apart = 1 << round;
            for row in (0..SIDE).filter(|row| row & apart == 0) {
                let (a, b) = (rows[row], rows[row + apart]);
                rows[row] = _mm512_permutex2var_epi32(a, lower, b);
                rows[row + apart] = _mm512_permutex2var_epi32(a, upper, b);
            }
        }
        for (row, values) in rows.into_iter().enumerate() {
            _mm512_storeu_si512(tile.as_mut_ptr().add(row * SIDE).cast(), values);
        }
    }
}
