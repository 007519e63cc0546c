//! Steps with `VDPBF16PS`: two products of a pair and two additions a lane.
//!
//! In: packed tiles as they are. Out: sums; the instruction takes denormals for zero.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::Side;
use super::blocks::{Step, Unit, blocked};
use super::pack::{SIDE, TILE};
use crate::cpu::matmul::Output;

/// 8 rows of two vectors.
struct Dot;

const ROWS: usize = 8;

/// # Safety
/// The machine has AVX-512 and its bf16 instructions, and 16 words lie at `from`.
#[inline(always)]
unsafe fn pairs(from: *const u32) -> __m512bh {
    // SAFETY: the caller's promise; both are 512 bits without a meaning of their own.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
}

impl Unit for Dot {
    const ROWS: usize = ROWS;
    const COLS: usize = 2 * SIDE;
    const TILES: usize = 16;

    #[inline(always)]
    unsafe fn step(at: Step) {
        // SAFETY: the caller's promise covers every address below.
        unsafe {
            let mut sums: [[__m512; 2]; ROWS] = [[_mm512_setzero_ps(); 2]; ROWS];
            if at.add {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(at.out.add(r * at.row + c * SIDE));
                    }
                }
            }
            for tile in 0..at.tiles {
                for pair in 0..SIDE {
                    let right = at.right.add(tile * TILE + pair * SIDE);
                    let columns = [pairs(right), pairs(right.add(at.right_block))];
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let word = *at.left.add(tile * TILE + r * SIDE + pair);
                        let row = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word as i32));
                        for (sum, column) in sums.iter_mut().zip(columns) {
                            *sum = _mm512_dpbf16_ps(*sum, row, column);
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (c, &sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(at.out.add(r * at.row + c * SIDE), sum);
                }
            }
        }
    }
}

/// # Safety
/// As for [`blocked`].
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512_bf16(out: &mut [f32], how: Output, left: Side<'_>, right: Side<'_>) {
    // SAFETY: the caller's promise.
    unsafe { blocked::<Dot>(out, how, left, right) }
}
