//! Sums of a tile of rows with a panel, by each way of multiplying bytes.
//!
//! In: where codes of rows and of a panel begin. Out: sums as f32, each times the scale of its lane, then of its row. A
//! sum is an integer, the same at every level; what follows it rounds twice more, and is the same at every level too.

use super::PANEL;

/// Codes that one 32-bit lane sums at once.
pub(super) const STEP: usize = 4;
/// The most rows of a tile: what a tile of AMX has.
pub(super) const MOST: usize = 16;

/// Sums of a tile, before and after what follows.
#[repr(align(64))]
pub(super) struct Tile(pub [[f32; PANEL]; MOST]);

/// Where the rows of a tile and its panel begin.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// Codes of the first row, plus 128; the next is `stride` bytes on.
    pub left: *const u8,
    pub stride: usize,
    /// A scale a row.
    pub left_scales: *const f32,
    /// Steps of [`PANEL`] words.
    pub right: *const i8,
    pub steps: usize,
    /// What sums begin with: the 128 too many of every code.
    pub starts: &'a [i32; PANEL],
    /// A scale a lane.
    pub scales: &'a [f32; PANEL],
    /// Lanes that are needed.
    pub lanes: usize,
}

/// A register of sums, or as many numbers.
pub(super) trait Sums: Copy {
    const LANES: usize;
    /// Four codes of one row.
    type Left: Copy;
    /// Four codes of every lane.
    type Right: Copy;
    /// # Safety
    /// `LANES` numbers lie at `from`, and the machine has the instructions.
    unsafe fn start(from: *const i32) -> Self;
    /// # Safety
    /// The machine has the instructions.
    unsafe fn left(word: u32) -> Self::Left;
    /// # Safety
    /// `STEP · LANES` codes lie at `from`, and the machine has the instructions.
    unsafe fn right(from: *const i8) -> Self::Right;
    /// # Safety
    /// The machine has the instructions.
    unsafe fn add(self, left: Self::Left, right: Self::Right) -> Self;
    /// # Safety
    /// `LANES` numbers lie at `scales` and at `to`, and the machine has the instructions.
    unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32);
}

/// The sums of `M` rows with the lanes of a panel that are needed, rounded up to `W` registers; gives `M`.
///
/// # Safety
/// `left` holds `M` rows of as many steps as the panel, `left_scales` as many scales, and the machine has the
/// instructions of `V`.
#[inline(always)]
unsafe fn strip<V: Sums, const M: usize, const W: usize>(tile: &mut Tile, at: Span<'_>) -> usize {
    // SAFETY: the caller's promise covers every address below; lanes are at most a panel, which is a multiple of the
    // registers.
    unsafe {
        for first in (0..at.lanes).step_by(W * V::LANES) {
            let mut starts = [V::start(at.starts.as_ptr().add(first)); W];
            for (w, start) in starts.iter_mut().enumerate() {
                *start = V::start(at.starts.as_ptr().add(first + w * V::LANES));
            }
            let mut sums = [starts; M];
            for step in 0..at.steps {
                let right = at.right.add(STEP * (step * PANEL + first));
                let mut codes = [V::right(right); W];
                for (w, codes) in codes.iter_mut().enumerate() {
                    *codes = V::right(right.add(STEP * w * V::LANES));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let left = V::left(at.left.add(m * at.stride + STEP * step).cast::<u32>().read_unaligned());
                    for (sum, &right) in sums.iter_mut().zip(&codes) {
                        *sum = sum.add(left, right);
                    }
                }
            }
            for (m, (sums, row)) in sums.iter().zip(&mut tile.0).enumerate() {
                for (w, sum) in sums.iter().enumerate() {
                    let lane = first + w * V::LANES;
                    sum.store(at.scales.as_ptr().add(lane), *at.left_scales.add(m), row.as_mut_ptr().add(lane));
                }
            }
        }
    }
    M
}

/// How a way tiles.
pub(super) trait Tiling {
    /// The sums of some rows with one panel; gives how many rows it did.
    ///
    /// # Safety
    /// As for [`strip`], for `rows` rows, at least 1.
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize;
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Vnni;
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;
pub(super) struct Portable;

#[cfg(target_arch = "x86_64")]
impl Tiling for Vnni {
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        type Lanes = std::arch::x86_64::__m512i;
        // SAFETY: no more rows are taken than are left.
        unsafe {
            match (rows, at.lanes) {
                (12.., ..=16) => strip::<Lanes, 12, 1>(tile, at),
                (12.., ..=32) => strip::<Lanes, 12, 2>(tile, at),
                (6.., 33..) => strip::<Lanes, 6, 4>(tile, at),
                (4.., _) => strip::<Lanes, 4, 4>(tile, at),
                (2.., _) => strip::<Lanes, 2, 4>(tile, at),
                _ => strip::<Lanes, 1, 4>(tile, at),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Tiling for Avx2 {
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        type Lanes = std::arch::x86_64::__m256i;
        // SAFETY: no more rows are taken than are left.
        unsafe {
            match rows {
                4.. => strip::<Lanes, 4, 2>(tile, at),
                _ => strip::<Lanes, 1, 4>(tile, at),
            }
        }
    }
}

impl Tiling for Portable {
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        // SAFETY: no more rows are taken than are left.
        unsafe {
            match rows {
                2.. => strip::<[i32; 4], 2, 2>(tile, at),
                _ => strip::<[i32; 4], 1, 2>(tile, at),
            }
        }
    }
}

impl Sums for [i32; 4] {
    const LANES: usize = 4;
    type Left = [u8; STEP];
    type Right = [[i8; STEP]; 4];
    #[inline(always)]
    unsafe fn start(from: *const i32) -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn left(word: u32) -> Self::Left {
        word.to_ne_bytes()
    }
    #[inline(always)]
    unsafe fn right(from: *const i8) -> Self::Right {
        // SAFETY: as above.
        unsafe { from.cast::<Self::Right>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn add(self, left: Self::Left, right: Self::Right) -> Self {
        std::array::from_fn(|lane| {
            let products = left.iter().zip(right[lane]).map(|(&left, right)| i32::from(left) * i32::from(right));
            self[lane].wrapping_add(products.sum())
        })
    }
    #[inline(always)]
    unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32) {
        // SAFETY: as above.
        unsafe {
            let scales = scales.cast::<[f32; 4]>().read_unaligned();
            let values: [f32; 4] = std::array::from_fn(|lane| self[lane] as f32 * scales[lane] * scale);
            to.cast::<[f32; 4]>().write_unaligned(values);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi16, _mm256_srai_epi16,
        _mm256_srli_epi16, _mm256_storeu_ps, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_storeu_ps,
    };

    impl super::Sums for __m512i {
        const LANES: usize = 16;
        type Left = Self;
        type Right = Self;
        #[inline(always)]
        unsafe fn start(from: *const i32) -> Self {
            // SAFETY: the caller's promise, here and below.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn left(word: u32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_epi32(word.cast_signed()) }
        }
        #[inline(always)]
        unsafe fn right(from: *const i8) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn add(self, left: Self, right: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_dpbusd_epi32(self, left, right) }
        }
        #[inline(always)]
        unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32) {
            // SAFETY: as above.
            unsafe {
                let value = _mm512_mul_ps(_mm512_cvtepi32_ps(self), _mm512_loadu_ps(scales));
                _mm512_storeu_ps(to, _mm512_mul_ps(value, _mm512_set1_ps(scale)));
            }
        }
    }

    /// Even and odd bytes apart, as 16-bit numbers, so that no sum of two products saturates.
    impl super::Sums for __m256i {
        const LANES: usize = 8;
        type Left = (Self, Self);
        type Right = (Self, Self);
        #[inline(always)]
        unsafe fn start(from: *const i32) -> Self {
            // SAFETY: the caller's promise, here and below.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }
        #[inline(always)]
        unsafe fn left(word: u32) -> (Self, Self) {
            // SAFETY: as above.
            unsafe {
                let word = _mm256_set1_epi32(word.cast_signed());
                (_mm256_and_si256(word, _mm256_set1_epi32(0x00ff_00ff)), _mm256_srli_epi16(word, 8))
            }
        }
        #[inline(always)]
        unsafe fn right(from: *const i8) -> (Self, Self) {
            // SAFETY: as above.
            unsafe {
                let codes = _mm256_loadu_si256(from.cast());
                (_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8), _mm256_srai_epi16(codes, 8))
            }
        }
        #[inline(always)]
        unsafe fn add(self, left: (Self, Self), right: (Self, Self)) -> Self {
            // SAFETY: as above.
            unsafe {
                let (evens, odds) = (_mm256_madd_epi16(left.0, right.0), _mm256_madd_epi16(left.1, right.1));
                _mm256_add_epi32(self, _mm256_add_epi32(evens, odds))
            }
        }
        #[inline(always)]
        unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32) {
            // SAFETY: as above.
            unsafe {
                let value = _mm256_mul_ps(_mm256_cvtepi32_ps(self), _mm256_loadu_ps(scales));
                _mm256_storeu_ps(to, _mm256_mul_ps(value, _mm256_set1_ps(scale)));
            }
        }
    }
}
