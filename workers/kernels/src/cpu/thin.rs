//! Products whose right side is a few vectors wide and stays in the nearest cache: no side is packed or copied.
//!
//! ```text
//! out [rows × cols]  =  or +=  left [rows × depth], any strides  ·  right [depth × cols], rows dense
//! ```
//! In: views that lie within their slices. Out: each element is one chain of fused products in the order of the depth,
//! so that tiles, widths and instruction sets with fused products agree in bits. Made for a depth and a width of tens to
//! hundreds; larger products belong to the `gemm` crate.

#![allow(unsafe_code)] // Vector loads take pointers; the one public function proves that they stay within the slices.

use std::marker::PhantomData;

use super::Isa;
use super::level::{Fused, Kind, Level, Plain};
use super::matmul::Output;

/// `rows × depth` values: `(i, k)` lies at `i · row + k · step`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub step: usize,
    pub rows: usize,
    pub depth: usize,
}

/// Rows of a tile: with four vectors a row, 24 sums and what they are made of fill the wide registers. What is left is
/// done in strips of fewer rows.
const ROWS: usize = 6;
const FEWER: usize = 4;

/// One register, or one number.
pub(super) trait Vector: Copy {
    const LANES: usize;
    /// # Safety
    /// `LANES` values lie at `from`, and the machine has the instructions.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// As for `load`, to be written.
    unsafe fn store(self, to: *mut f32);
    /// # Safety
    /// The machine has the instructions.
    unsafe fn splat(value: f32) -> Self;
    /// `self · b + c`.
    /// # Safety
    /// The machine has the instructions.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
}

/// One number, rounded as the level rounds.
struct One<S>(f32, PhantomData<S>);

impl<S> Clone for One<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for One<S> {}

impl<S: Isa> Vector for One<S> {
    const LANES: usize = 1;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { *from }, PhantomData)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to = self.0 }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(value, PhantomData)
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        Self(S::fma(self.0, b.0, c.0), PhantomData)
    }
}

/// Four numbers in plain arithmetic, which compilers put into one register where there is one.
pub(super) type Four = [f32; 4];

impl Vector for Four {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| Plain::fma(self[i], b[i], c[i]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    macro_rules! vector {
        ($register:ty, $lanes:literal, $load:ident, $store:ident, $splat:ident, $fma:ident) => {
            impl super::Vector for $register {
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: the caller's promise, as in the other three.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: as above.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: as above.
                    unsafe { $splat(value) }
                }
                #[inline(always)]
                unsafe fn fma(self, b: Self, c: Self) -> Self {
                    // SAFETY: as above.
                    unsafe { $fma(self, b, c) }
                }
            }
        };
    }
    vector!(__m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps);
    vector!(__m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps);
}

/// Where a tile begins, and how far its neighbours are.
#[derive(Clone, Copy)]
struct Place {
    out: *mut f32,
    out_row: usize,
    left: *const f32,
    row: usize,
    step: usize,
    right: *const f32,
    right_row: usize,
    depth: usize,
    add: bool,
}

/// `M` rows of `W` vectors.
///
/// # Safety
/// The tile lies within all three slices, and the machine has the instructions of `V`.
#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const W: usize>(at: Place) {
    // SAFETY: the caller's promise covers every address below.
    unsafe {
        let mut sums = [[V::splat(0.0); W]; M];
        if at.add {
            for (m, sums) in sums.iter_mut().enumerate() {
                for (w, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(at.out.add(m * at.out_row + w * V::LANES));
                }
            }
        }
        for k in 0..at.depth {
            let mut row = [V::splat(0.0); W];
            for (w, value) in row.iter_mut().enumerate() {
                *value = V::load(at.right.add(k * at.right_row + w * V::LANES));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let left = V::splat(*at.left.add(m * at.row + k * at.step));
                for (sum, &right) in sums.iter_mut().zip(&row) {
                    *sum = left.fma(right, *sum);
                }
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            for (w, sum) in sums.iter().enumerate() {
                sum.store(at.out.add(m * at.out_row + w * V::LANES));
            }
        }
    }
}

/// `M` rows of all columns.
///
/// # Safety
/// As for [`tile`], for `cols` columns.
#[inline(always)]
unsafe fn strip<V: Vector, S: Isa, const M: usize, const W: usize>(mut at: Place, mut cols: usize) {
    // SAFETY: a tile is only begun where that many columns are left.
    unsafe {
        while cols > 0 {
            let done = if cols >= W * V::LANES {
                tile::<V, M, W>(at);
                W * V::LANES
            } else if cols >= V::LANES {
                tile::<V, M, 1>(at);
                V::LANES
            } else {
                tile::<One<S>, M, 1>(at);
                1
            };
            // Past the last column no address is used, and none need lie within a slice.
            at.out = at.out.wrapping_add(done);
            at.right = at.right.wrapping_add(done);
            cols -= done;
        }
    }
}

/// All rows.
///
/// # Safety
/// As for [`tile`], for `rows` rows and `cols` columns.
#[inline(always)]
unsafe fn body<V: Vector, S: Isa, const W: usize>(mut at: Place, mut rows: usize, cols: usize) {
    // SAFETY: a strip is only begun where that many rows are left.
    unsafe {
        while rows > 0 {
            let done = if rows >= ROWS {
                strip::<V, S, ROWS, W>(at, cols);
                ROWS
            } else if rows >= FEWER {
                strip::<V, S, FEWER, W>(at, cols);
                FEWER
            } else {
                strip::<V, S, 1, W>(at, cols);
                1
            };
            at.out = at.out.wrapping_add(done * at.out_row);
            at.left = at.left.wrapping_add(done * at.row);
            rows -= done;
        }
    }
}

/// # Safety
/// As for [`body`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
unsafe fn avx512(at: Place, rows: usize, cols: usize) {
    // SAFETY: the caller's promise.
    unsafe { body::<std::arch::x86_64::__m512, Fused, 4>(at, rows, cols) }
}

/// # Safety
/// As for [`body`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(at: Place, rows: usize, cols: usize) {
    // SAFETY: the caller's promise.
    unsafe { body::<std::arch::x86_64::__m256, Fused, 2>(at, rows, cols) }
}

/// `out = left · right` or `out += left · right`; `out` has `rows` dense rows of `cols`, `right` has `depth` of them.
///
/// # Panics
/// If a view leaves its slice.
pub(crate) fn thin(level: Level, out: &mut [f32], how: Output, left: Left<'_>, right: &[f32], cols: usize) {
    let Left { data, row, step, rows, depth } = left;
    assert_eq!((out.len(), right.len()), (rows * cols, depth * cols), "a thin product {rows} x {depth} x {cols}");
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(depth == 0 || (rows - 1) * row + (depth - 1) * step < data.len(), "the left side of a thin product");
    let at = Place {
        out: out.as_mut_ptr(),
        out_row: cols,
        left: data.as_ptr(),
        row,
        step,
        right: right.as_ptr(),
        right_row: cols,
        depth,
        add: how == Output::Add,
    };
    // SAFETY: `out` and `right` are dense and as long as asserted, the last value of `left` lies within its slice, and
    // a level above portable is only made where its features were found.
    unsafe {
        match level.kind() {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Bf16 | Kind::Amx => avx512(at, rows, cols),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2(at, rows, cols),
            _ => body::<Four, Plain, 2>(at, rows, cols),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        (0..count as u64).map(|i| (crate::noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Every layout of the left side at ragged sizes: within `(depth + 1) · 2⁻²³ · Σ |a · b|` of the sum in f64, and
    /// equal in bits wherever products are fused.
    #[test]
    fn ragged_products_keep_their_bound_at_every_level() {
        for (rows, depth, cols) in
            [(1, 1, 1), (4, 64, 64), (5, 7, 83), (17, 130, 16), (3, 0, 5), (2, 5, 0), (7, 33, 31)]
        {
            let (a, b) = (numbers(rows * depth, 1), numbers(depth * cols, 2));
            let transposed: Vec<f32> = (0..rows * depth).map(|i| a[(i % rows) * depth + i / rows]).collect();
            for how in [Output::Write, Output::Add] {
                let mut fused: Vec<Vec<f32>> = Vec::new();
                for level in Level::all() {
                    for (data, row, step) in [(&a, depth, 1), (&transposed, 1, rows)] {
                        let mut out = vec![0.5; rows * cols];
                        thin(level, &mut out, how, Left { data, row, step, rows, depth }, &b, cols);
                        for (at, &value) in out.iter().enumerate() {
                            let start = if how == Output::Add { 0.5 } else { 0.0 };
                            let product = |k| f64::from(a[at / cols * depth + k]) * f64::from(b[k * cols + at % cols]);
                            let exact = start + (0..depth).map(product).sum::<f64>();
                            let size = start + (0..depth).map(|k| product(k).abs()).sum::<f64>();
                            let bound = (depth + 1) as f64 * f64::from(f32::EPSILON) * size;
                            assert!((f64::from(value) - exact).abs() <= bound, "{level:?} {rows} {depth} {cols} {at}");
                        }
                        if level != Level::PORTABLE {
                            fused.push(out);
                        }
                    }
                }
                assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "{rows} {depth} {cols}");
            }
        }
    }
}
