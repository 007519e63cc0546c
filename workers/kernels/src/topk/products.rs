//! Products of signed with unsigned bytes, summed in 32 bits.
//!
//! In: a group of 64 rows, packed so that four columns of sixteen rows fill a register, and queries of signed bytes,
//! interleaved. Out: exact integer sums, the same at every level: `vpdpbusd` where there is AVX-512 VNNI, products of
//! 16-bit pairs on AVX2, plain loops elsewhere. Nothing saturates: a sum of 65,536 products of 255 and 127 fits.

pub(super) use crate::cpu::coded::dot::Dot;
use crate::cpu::coded::dot::Kind;

/// Rows of a group.
pub(super) const GROUP: usize = 64;
/// Columns that one instruction sums.
pub(super) const STEP: usize = 4;
/// Rows of a 512-bit register.
pub(super) const LANES: usize = 16;
/// Queries whose sums are held in registers beside four of rows.
const AT_ONCE: usize = 6;

/// Queries as words of four columns: groups of [`AT_ONCE`] queries (the last may be smaller), in a group step by step,
/// in a step query by query. Columns beyond a query's end are zero.
pub(super) fn interleave<'a>(queries: impl Iterator<Item = &'a [i8]>, steps: usize) -> Vec<i32> {
    let queries: Vec<&[i8]> = queries.collect();
    let mut words = Vec::with_capacity(queries.len() * steps);
    for group in queries.chunks(AT_ONCE) {
        for step in 0..steps {
            for query in group {
                let mut word = [0; STEP];
                for (byte, code) in word.iter_mut().zip(&query[step * STEP..]) {
                    *byte = code.cast_unsigned();
                }
                words.push(i32::from_le_bytes(word));
            }
        }
    }
    words
}

/// `out[query][row] = Σ codes · query`, for one group of rows.
pub(super) fn multiply(dot: Dot, out: &mut [[i32; GROUP]], codes: &[u8], words: &[i32], steps: usize) {
    assert_eq!((codes.len(), words.len()), (GROUP * steps * STEP, out.len() * steps), "products of {steps} steps");
    let (codes, _) = codes.as_chunks::<{ GROUP * STEP }>();
    for (out, words) in out.chunks_mut(AT_ONCE).zip(words.chunks(AT_ONCE * steps)) {
        match dot.kind() {
            // SAFETY: this way is only made where `Dot` found its features.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Kind::Vnni => unsafe { some_vnni(out, codes, words) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Kind::Avx2 => unsafe { avx2(out, codes, words) },
            _ => portable(out, codes, words),
        }
    }
}

fn portable(out: &mut [[i32; GROUP]], codes: &[[u8; GROUP * STEP]], words: &[i32]) {
    out.fill([0; GROUP]);
    for (codes, words) in codes.iter().zip(words.chunks_exact(out.len())) {
        for (sums, word) in out.iter_mut().zip(words) {
            let query = word.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
            for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<STEP>().0) {
                *sum += codes.iter().zip(query).map(|(&code, query)| i32::from(code) * query).sum::<i32>();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn some_vnni(out: &mut [[i32; GROUP]], codes: &[[u8; GROUP * STEP]], words: &[i32]) {
    match out.len() {
        6 => vnni::<6>(out, codes, words),
        5 => vnni::<5>(out, codes, words),
        4 => vnni::<4>(out, codes, words),
        3 => vnni::<3>(out, codes, words),
        2 => vnni::<2>(out, codes, words),
        _ => out.iter_mut().for_each(|one| vnni::<1>(std::slice::from_mut(one), codes, words)),
    }
}

/// `QUERIES` rows of sums, four registers each.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
#[allow(unsafe_code)] // Loads and stores of registers.
fn vnni<const QUERIES: usize>(out: &mut [[i32; GROUP]], codes: &[[u8; GROUP * STEP]], words: &[i32]) {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };
    let mut sums = [[_mm512_setzero_si512(); 4]; QUERIES];
    for (codes, words) in codes.iter().zip(words.as_chunks::<QUERIES>().0) {
        // SAFETY: four times 64 bytes are the 256 of `codes`.
        let rows = [0, 1, 2, 3].map(|at| unsafe { _mm512_loadu_si512(codes.as_ptr().add(64 * at).cast()) });
        for (sums, &word) in sums.iter_mut().zip(words) {
            let query = _mm512_set1_epi32(word);
            for (sum, rows) in sums.iter_mut().zip(rows) {
                *sum = _mm512_dpbusd_epi32(*sum, rows, query);
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
            // SAFETY: sixteen sums of four bytes.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }
}

/// Even and odd bytes apart, so that pairs of products are summed in 32 bits before anything can saturate.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(unsafe_code)] // Loads and stores of registers.
fn avx2(out: &mut [[i32; GROUP]], codes: &[[u8; GROUP * STEP]], words: &[i32]) {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi16,
        _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16,
        _mm256_storeu_si256,
    };
    let low = _mm256_set1_epi16(255);
    let queries = out.len();
    for (at, out) in out.iter_mut().enumerate() {
        let mut sums = [_mm256_setzero_si256(); 8];
        for (codes, words) in codes.iter().zip(words.chunks_exact(queries)) {
            let query = _mm256_set1_epi32(words[at]);
            let (even, odd) = (_mm256_srai_epi16(_mm256_slli_epi16(query, 8), 8), _mm256_srai_epi16(query, 8));
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: eight times 32 bytes are the 256 of `codes`.
                let rows = unsafe { _mm256_loadu_si256(codes.as_ptr().add(32 * part).cast()) };
                let evens = _mm256_madd_epi16(_mm256_and_si256(rows, low), even);
                let odds = _mm256_madd_epi16(_mm256_srli_epi16(rows, 8), odd);
                *sum = _mm256_add_epi32(*sum, _mm256_add_epi32(evens, odds));
            }
        }
        for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            // SAFETY: eight sums of four bytes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sum) };
        }
    }
}
