//! Steps for machines without bf16 instructions: widened tiles, f32 products.
//!
//! In: tiles that were widened once for many steps. Out: sums, each a chain of fused (portable: plain) products in the
//! order of the depth, so all levels that fuse agree in bits.

use super::Side;
use super::blocks::{Step, Unit, blocked};
use super::pack::{SIDE, TILE};
use crate::cpu::matmul::Output;
use crate::cpu::thin::Vector;

/// Tiles of the depth in a block: 32 columns of it are 32 KiB.
pub(super) const TILES: usize = 8;

/// `R` rows of `C` vectors.
pub(super) struct Vectors<V, const R: usize, const C: usize>(std::marker::PhantomData<V>);

impl<V: Vector, const R: usize, const C: usize> Unit for Vectors<V, R, C> {
    const ROWS: usize = R;
    const COLS: usize = C * V::LANES;
    const TILES: usize = TILES;
    const WIDENED: bool = true;

    #[inline(always)]
    unsafe fn step(at: Step) {
        let (left, right) = (at.left.cast::<f32>(), at.right.cast::<f32>());
        // SAFETY: the caller's promise covers every address below.
        unsafe {
            let mut sums = [[V::splat(0.0); C]; R];
            if at.add {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(at.out.add(r * at.row + c * V::LANES));
                    }
                }
            }
            for tile in 0..at.tiles {
                let (left, right) = (left.add(tile * 2 * TILE), right.add(tile * 2 * TILE));
                for pair in 0..SIDE {
                    for half in 0..2 {
                        let mut row = [V::splat(0.0); C];
                        for (c, value) in row.iter_mut().enumerate() {
                            let (block, column) = (c * V::LANES / SIDE, c * V::LANES % SIDE);
                            *value = V::load(right.add(block * at.right_block + half * TILE + pair * SIDE + column));
                        }
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let value = V::splat(*left.add(half * TILE + r * SIDE + pair));
                            for (sum, &right) in sums.iter_mut().zip(&row) {
                                *sum = value.fma(right, *sum);
                            }
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (c, sum) in sums.iter().enumerate() {
                    sum.store(at.out.add(r * at.row + c * V::LANES));
                }
            }
        }
    }
}

/// # Safety
/// As for [`blocked`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512(out: &mut [f32], how: Output, left: Side<'_>, right: Side<'_>, widened: &mut [u32]) {
    // SAFETY: the caller's promise.
    unsafe { blocked::<Vectors<std::arch::x86_64::__m512, 8, 2>>(out, how, left, right, widened) }
}

/// # Safety
/// As for [`blocked`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(out: &mut [f32], how: Output, left: Side<'_>, right: Side<'_>, widened: &mut [u32]) {
    // SAFETY: the caller's promise.
    unsafe { blocked::<Vectors<std::arch::x86_64::__m256, 4, 2>>(out, how, left, right, widened) }
}
