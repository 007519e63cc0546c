//! Columns of a few rows as rows: what a product over packed rows reads.
//!
//! In: a block of 16 × 16 values within two slices. Out: the block transposed. Moves values, computes nothing, so every
//! level gives the same bits.

#![allow(unsafe_code)] // Vector loads take pointers; the one public function proves that they stay within the slices.

use super::level::{Kind, Level};

/// Rows and columns of a block.
pub(crate) const SIDE: usize = 16;

/// `to[c · to_stride + r] = from[r · from_stride + c]` for 16 rows and columns.
///
/// # Panics
/// If the block leaves a slice.
#[inline]
pub(crate) fn transpose(level: Level, to: &mut [f32], to_stride: usize, from: &[f32], from_stride: usize) {
    let last = |stride: usize| (SIDE - 1) * stride + SIDE;
    assert!(to.len() >= last(to_stride) && from.len() >= last(from_stride), "a block within both slices");
    match level.kind() {
        // SAFETY: the block lies within both slices as asserted, and the level has the features.
        #[cfg(target_arch = "x86_64")]
        kind if kind >= Kind::Avx512 => unsafe { wide(to.as_mut_ptr(), to_stride, from.as_ptr(), from_stride) },
        _ => {
            for (r, row) in from.chunks(from_stride).take(SIDE).enumerate() {
                for (c, &value) in row[..SIDE].iter().enumerate() {
                    to[c * to_stride + r] = value;
                }
            }
        }
    }
}

/// Pairs, then fours, then halves of registers change places.
///
/// # Safety
/// The block can be read and written, and the machine has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn wide(to: *mut f32, to_stride: usize, from: *const f32, from_stride: usize) {
    use std::arch::x86_64::{
        __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps,
        _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    // SAFETY: the caller's promise, here and for the stores below.
    let rows: [__m512; SIDE] = std::array::from_fn(|r| unsafe { _mm512_loadu_ps(from.add(r * from_stride)) });
    // Lane group g of `fours[4b + i]` holds column 4g + i of rows 4b to 4b + 3.
    let fours: [__m512; SIDE] = std::array::from_fn(|at| {
        let rows = &rows[at / 4 * 4..][..4];
        let (left, right) = if at % 4 < 2 {
            (_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpacklo_ps(rows[2], rows[3]))
        } else {
            (_mm512_unpackhi_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[2], rows[3]))
        };
        let (left, right) = (_mm512_castps_pd(left), _mm512_castps_pd(right));
        _mm512_castpd_ps(if at % 2 == 0 { _mm512_unpacklo_pd(left, right) } else { _mm512_unpackhi_pd(left, right) })
    });
    for i in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|rows| fours[rows + i]);
        // Groups 0 and 2, and 1 and 3, of the upper and the lower eight rows.
        let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (even_low, odd_low) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        let columns = [
            (i, _mm512_shuffle_f32x4::<0x88>(even, even_low)),
            (4 + i, _mm512_shuffle_f32x4::<0x88>(odd, odd_low)),
            (8 + i, _mm512_shuffle_f32x4::<0xdd>(even, even_low)),
            (12 + i, _mm512_shuffle_f32x4::<0xdd>(odd, odd_low)),
        ];
        for (column, values) in columns {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to.add(column * to_stride), values) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_changes_rows_for_columns_and_nothing_else() {
        let from: Vec<f32> = (0..SIDE * 21).map(|i| i as f32).collect();
        for level in Level::all() {
            let mut to = vec![-1.0; SIDE * 18];
            transpose(level, &mut to, 18, &from[2..], 21);
            for (at, &value) in to.iter().enumerate() {
                let (c, r) = (at / 18, at % 18);
                let wanted = if r < SIDE { from[2 + r * 21 + c] } else { -1.0 };
                assert_eq!(value, wanted, "{level:?} {c} {r}");
            }
        }
    }
}
