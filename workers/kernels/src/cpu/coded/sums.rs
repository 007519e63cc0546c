//! Sums of a tile of rows with a panel, by each way of multiplying words.
//!
//! In: where words of rows and of a panel begin. Out: sums as f32, each times the scale of its lane, then of its row,
//! written or added to. Sums of bytes are integers, the same by every way; sums of pairs are one chain along the depth,
//! the second of a pair first, so that all ways but tiles give the same bits.

use super::PANEL;
use crate::cpu::thin::Vector;

/// The most rows of a tile: what a tile of AMX has.
pub(crate) const MOST: usize = 16;

/// Sums of a tile, before and after what follows.
#[repr(align(64))]
pub(super) struct Tile(pub [[f32; PANEL]; MOST]);

/// Where the rows of a tile and its panel begin.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    /// Words of the first row; the next is `stride` words on. Widened rows have two f32 in place of a word.
    pub left: *const u32,
    pub stride: usize,
    /// A scale a row, so many apart.
    pub left_scales: *const f32,
    pub left_scales_step: usize,
    /// Steps of [`PANEL`] words.
    pub right: *const u32,
    pub steps: usize,
    /// What sums begin with, as bits.
    pub starts: &'a [i32; PANEL],
    /// A scale a lane.
    pub scales: &'a [f32; PANEL],
    /// Lanes that are needed.
    pub lanes: usize,
    /// Whether the tile has sums to add to.
    pub add: bool,
}

/// A register of sums, or as many numbers.
pub(super) trait Sums: Copy {
    const LANES: usize;
    /// Words of a row that one step takes.
    const LEFT: usize;
    /// A word of one row.
    type Left: Copy;
    /// A word of every lane.
    type Right: Copy;
    /// # Safety
    /// `LANES` numbers lie at `from`, and the machine has the instructions.
    unsafe fn start(from: *const i32) -> Self;
    /// # Safety
    /// `LEFT` words lie at `from`, and the machine has the instructions.
    unsafe fn left(from: *const u32) -> Self::Left;
    /// # Safety
    /// `LANES` words lie at `from`, and the machine has the instructions.
    unsafe fn right(from: *const u32) -> Self::Right;
    /// # Safety
    /// The machine has the instructions.
    unsafe fn add(self, left: Self::Left, right: Self::Right) -> Self;
    /// `to = [to +] self · scales · scale`.
    /// # Safety
    /// `LANES` numbers lie at `scales` and at `to`, and the machine has the instructions.
    unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32, add: bool);
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
                let right = at.right.add(step * PANEL + first);
                let mut words = [V::right(right); W];
                for (w, words) in words.iter_mut().enumerate() {
                    *words = V::right(right.add(w * V::LANES));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let left = V::left(at.left.add(m * at.stride + V::LEFT * step));
                    for (sum, &right) in sums.iter_mut().zip(&words) {
                        *sum = sum.add(left, right);
                    }
                }
            }
            for (m, (sums, row)) in sums.iter().zip(&mut tile.0).enumerate() {
                let scale = *at.left_scales.add(m * at.left_scales_step);
                for (w, sum) in sums.iter().enumerate() {
                    let lane = first + w * V::LANES;
                    sum.store(at.scales.as_ptr().add(lane), scale, row.as_mut_ptr().add(lane), at.add);
                }
            }
        }
    }
    M
}

/// How a way tiles.
pub(super) trait Tiling {
    /// Whether it takes rows as f32, two in place of a word.
    const WIDENED: bool = false;
    /// The sums of some rows with one panel; gives how many rows it did, which depends on rows and lanes alone.
    ///
    /// # Safety
    /// As for [`strip`], for `rows` rows, at least 1.
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize;
}

/// Bytes by `VPDPBUSD`.
#[cfg(target_arch = "x86_64")]
pub(super) struct Vnni;
/// Bytes by products of 16-bit pairs.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2Bytes;
pub(super) struct PortableBytes;
/// Pairs by `VDPBF16PS`.
#[cfg(target_arch = "x86_64")]
pub(super) struct Dot;
/// Pairs by fused products of f32.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512Pairs;
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2Pairs;
pub(super) struct PortablePairs;

/// Tiles that fill 32 registers: rows of one word a step, a panel of four registers.
#[cfg(target_arch = "x86_64")]
macro_rules! wide {
    ($way:ty, $lanes:ty) => {
        impl Tiling for $way {
            #[inline(always)]
            unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
                // SAFETY: no more rows are taken than are left.
                unsafe {
                    match (rows, at.lanes) {
                        (12.., ..=16) => strip::<$lanes, 12, 1>(tile, at),
                        (12.., ..=32) => strip::<$lanes, 12, 2>(tile, at),
                        (6.., 33..) => strip::<$lanes, 6, 4>(tile, at),
                        (4.., _) => strip::<$lanes, 4, 4>(tile, at),
                        (2.., _) => strip::<$lanes, 2, 4>(tile, at),
                        _ => strip::<$lanes, 1, 4>(tile, at),
                    }
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
wide!(Vnni, std::arch::x86_64::__m512i);
#[cfg(target_arch = "x86_64")]
wide!(Dot, x86::Dotted);

#[cfg(target_arch = "x86_64")]
impl Tiling for Avx2Bytes {
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

impl Tiling for PortableBytes {
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

#[cfg(target_arch = "x86_64")]
impl Tiling for Avx512Pairs {
    const WIDENED: bool = true;
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        type Lanes = Widened<std::arch::x86_64::__m512>;
        // SAFETY: no more rows are taken than are left.
        unsafe {
            match rows {
                12.. => strip::<Lanes, 12, 2>(tile, at),
                4.. => strip::<Lanes, 4, 4>(tile, at),
                2.. => strip::<Lanes, 2, 4>(tile, at),
                _ => strip::<Lanes, 1, 4>(tile, at),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Tiling for Avx2Pairs {
    const WIDENED: bool = true;
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        type Lanes = Widened<std::arch::x86_64::__m256>;
        // SAFETY: no more rows are taken than are left.
        unsafe {
            match rows {
                4.. => strip::<Lanes, 4, 2>(tile, at),
                _ => strip::<Lanes, 1, 2>(tile, at),
            }
        }
    }
}

impl Tiling for PortablePairs {
    const WIDENED: bool = true;
    #[inline(always)]
    unsafe fn strip(tile: &mut Tile, at: Span<'_>, rows: usize) -> usize {
        type Lanes = Widened<[f32; 4]>;
        // SAFETY: no more rows are taken than are left.
        unsafe {
            match rows {
                2.. => strip::<Lanes, 2, 2>(tile, at),
                _ => strip::<Lanes, 1, 2>(tile, at),
            }
        }
    }
}

/// Codes that one 32-bit lane sums at once.
const BYTES: usize = 4;

impl Sums for [i32; 4] {
    const LANES: usize = 4;
    const LEFT: usize = 1;
    type Left = [u8; BYTES];
    type Right = [[i8; BYTES]; 4];
    #[inline(always)]
    unsafe fn start(from: *const i32) -> Self {
        // SAFETY: the caller's promise, here and below.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn left(from: *const u32) -> Self::Left {
        // SAFETY: as above.
        unsafe { (*from).to_ne_bytes() }
    }
    #[inline(always)]
    unsafe fn right(from: *const u32) -> Self::Right {
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
    unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
        // SAFETY: as above.
        unsafe { put([0, 1, 2, 3].map(|lane| self[lane] as f32), scales, scale, to, add) }
    }
}

/// [`Sums::store`] of four numbers.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn put(sums: [f32; 4], scales: *const f32, scale: f32, to: *mut f32, add: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        let scales = scales.cast::<[f32; 4]>().read_unaligned();
        let to = to.cast::<[f32; 4]>();
        let before = if add { to.read_unaligned() } else { [0.0; 4] };
        to.write_unaligned(std::array::from_fn(|lane| {
            let value = sums[lane] * scales[lane] * scale;
            if add { before[lane] + value } else { value }
        }));
    }
}

/// Sums of pairs that are widened to f32 as they are read.
#[derive(Clone, Copy)]
pub(super) struct Widened<V>(V);

/// A register whose halves of words are numbers.
pub(super) trait Halves: Vector {
    /// The first and the second of every pair.
    /// # Safety
    /// `LANES` words lie at `from`, and the machine has the instructions.
    unsafe fn halves(from: *const u32) -> [Self; 2];
    /// [`Sums::store`].
    /// # Safety
    /// As there.
    unsafe fn scaled(self, scales: *const f32, scale: f32, to: *mut f32, add: bool);
}

impl<V: Halves> Sums for Widened<V> {
    const LANES: usize = V::LANES;
    const LEFT: usize = 2;
    type Left = [V; 2];
    type Right = [V; 2];
    #[inline(always)]
    unsafe fn start(from: *const i32) -> Self {
        // SAFETY: the caller's promise, here and below.
        Self(unsafe { V::load(from.cast()) })
    }
    #[inline(always)]
    unsafe fn left(from: *const u32) -> [V; 2] {
        // SAFETY: as above.
        unsafe { [V::splat(*from.cast()), V::splat(*from.cast::<f32>().add(1))] }
    }
    #[inline(always)]
    unsafe fn right(from: *const u32) -> [V; 2] {
        // SAFETY: as above.
        unsafe { V::halves(from) }
    }
    #[inline(always)]
    unsafe fn add(self, left: [V; 2], right: [V; 2]) -> Self {
        // The second first, as `VDPBF16PS` does.
        // SAFETY: as above.
        Self(unsafe { left[0].fma(right[0], left[1].fma(right[1], self.0)) })
    }
    #[inline(always)]
    unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
        // SAFETY: as above.
        unsafe { self.0.scaled(scales, scale, to, add) }
    }
}

impl Halves for [f32; 4] {
    #[inline(always)]
    unsafe fn halves(from: *const u32) -> [Self; 2] {
        // SAFETY: the caller's promise, here and below.
        let words = unsafe { from.cast::<[u32; 4]>().read_unaligned() };
        [words.map(|word| f32::from_bits(word << 16)), words.map(|word| f32::from_bits(word & 0xFFFF_0000))]
    }
    #[inline(always)]
    unsafe fn scaled(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
        // SAFETY: as above.
        unsafe { put(self, scales, scale, to, add) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m256i, __m512, __m512bh, __m512i, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
        _mm256_castsi256_ps, _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps,
        _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srai_epi16, _mm256_srli_epi16,
        _mm256_storeu_ps, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi32_ps, _mm512_dpbf16_ps,
        _mm512_dpbusd_epi32, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_slli_epi32, _mm512_storeu_ps,
    };

    use super::{Halves, Sums};

    impl Halves for __m512 {
        #[inline(always)]
        unsafe fn halves(from: *const u32) -> [Self; 2] {
            // SAFETY: the caller's promise, here and below.
            unsafe {
                let words = _mm512_loadu_si512(from.cast());
                let second = _mm512_and_si512(words, _mm512_set1_epi32(0xFFFF_0000_u32.cast_signed()));
                [_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)), _mm512_castsi512_ps(second)]
            }
        }
        #[inline(always)]
        unsafe fn scaled(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
            // SAFETY: as above.
            unsafe {
                let value = _mm512_mul_ps(_mm512_mul_ps(self, _mm512_loadu_ps(scales)), _mm512_set1_ps(scale));
                _mm512_storeu_ps(to, if add { _mm512_add_ps(_mm512_loadu_ps(to), value) } else { value });
            }
        }
    }

    impl Halves for __m256 {
        #[inline(always)]
        unsafe fn halves(from: *const u32) -> [Self; 2] {
            // SAFETY: the caller's promise, here and below.
            unsafe {
                let words = _mm256_loadu_si256(from.cast());
                let second = _mm256_and_si256(words, _mm256_set1_epi32(0xFFFF_0000_u32.cast_signed()));
                [_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)), _mm256_castsi256_ps(second)]
            }
        }
        #[inline(always)]
        unsafe fn scaled(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
            // SAFETY: as above.
            unsafe {
                let value = _mm256_mul_ps(_mm256_mul_ps(self, _mm256_loadu_ps(scales)), _mm256_set1_ps(scale));
                _mm256_storeu_ps(to, if add { _mm256_add_ps(_mm256_loadu_ps(to), value) } else { value });
            }
        }
    }

    /// Sums of pairs as the machine multiplies them.
    #[derive(Clone, Copy)]
    pub(crate) struct Dotted(__m512);

    impl Sums for Dotted {
        const LANES: usize = 16;
        const LEFT: usize = 1;
        type Left = __m512bh;
        type Right = __m512bh;
        #[inline(always)]
        unsafe fn start(from: *const i32) -> Self {
            // SAFETY: the caller's promise, here and below.
            Self(unsafe { _mm512_loadu_ps(from.cast()) })
        }
        #[inline(always)]
        unsafe fn left(from: *const u32) -> __m512bh {
            // SAFETY: as above; both are 512 bits without a meaning of their own.
            unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32((*from).cast_signed())) }
        }
        #[inline(always)]
        unsafe fn right(from: *const u32) -> __m512bh {
            // SAFETY: as above.
            unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
        }
        #[inline(always)]
        unsafe fn add(self, left: __m512bh, right: __m512bh) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_dpbf16_ps(self.0, left, right) })
        }
        #[inline(always)]
        unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
            // SAFETY: as above.
            unsafe { self.0.scaled(scales, scale, to, add) }
        }
    }

    impl Sums for __m512i {
        const LANES: usize = 16;
        const LEFT: usize = 1;
        type Left = Self;
        type Right = Self;
        #[inline(always)]
        unsafe fn start(from: *const i32) -> Self {
            // SAFETY: the caller's promise, here and below.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn left(from: *const u32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_set1_epi32((*from).cast_signed()) }
        }
        #[inline(always)]
        unsafe fn right(from: *const u32) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn add(self, left: Self, right: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_dpbusd_epi32(self, left, right) }
        }
        #[inline(always)]
        unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
            // SAFETY: as above.
            unsafe { _mm512_cvtepi32_ps(self).scaled(scales, scale, to, add) }
        }
    }

    /// Even and odd bytes apart, as 16-bit numbers, so that no sum of two products saturates.
    impl Sums for __m256i {
        const LANES: usize = 8;
        const LEFT: usize = 1;
        type Left = (Self, Self);
        type Right = (Self, Self);
        #[inline(always)]
        unsafe fn start(from: *const i32) -> Self {
            // SAFETY: the caller's promise, here and below.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }
        #[inline(always)]
        unsafe fn left(from: *const u32) -> (Self, Self) {
            // SAFETY: as above.
            unsafe {
                let word = _mm256_set1_epi32((*from).cast_signed());
                (_mm256_and_si256(word, _mm256_set1_epi32(0x00ff_00ff)), _mm256_srli_epi16(word, 8))
            }
        }
        #[inline(always)]
        unsafe fn right(from: *const u32) -> (Self, Self) {
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
        unsafe fn store(self, scales: *const f32, scale: f32, to: *mut f32, add: bool) {
            // SAFETY: as above.
            unsafe { _mm256_cvtepi32_ps(self).scaled(scales, scale, to, add) }
        }
    }
}
