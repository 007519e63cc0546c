//! Attention of one query that shares its span with no other: no keys are packed.
//!
//! In: a query row and the rows it sees. Out: its row, and its probabilities in the order in which training keeps them.
//! Packing pays off only where several queries read what was packed; a beam that sees its own three rows, or the newest
//! position of a history, reads each key once.

use super::kernels::Problem;
use super::tiles::{Strided, normalise};
use crate::cpu::reduce::{LANES, dot_of};
use crate::cpu::{Level, kernel};

kernel! {
    /// `scores[j] = q · row j`.
    fn dots<S>(scores: &mut [f32], q: &[f32], rows: Strided<'_>) {
        for (score, row) in scores.iter_mut().zip(rows.data.chunks(rows.stride)) {
            *score = dot_of::<S>(q, &row[..q.len()]);
        }
    }
}

kernel! {
    /// `out = Σ_j shares[j] · row j`.
    fn mix<S>(out: &mut [f32], shares: &[f32], rows: Strided<'_>) {
        out.fill(0.0);
        for (&share, row) in shares.iter().zip(rows.data.chunks(rows.stride)) {
            for (out, &x) in out.iter_mut().zip(row) {
                *out = S::fma(share, x, *out);
            }
        }
    }
}

/// All heads of one query over `len` rows from `start` on; `scores` has room for `len` rounded up to the lanes,
/// `probabilities` for `len` a head or nothing.
pub(super) fn attend(
    level: Level,
    p: &Problem<'_>,
    (query, start, len): (usize, usize, usize),
    scores: &mut [f32],
    out: &mut [f32],
    probabilities: &mut [f32],
) {
    let (stride, width) = (p.groups * p.width, p.width);
    let row = query * p.heads * width;
    let scores = &mut scores[..len.next_multiple_of(LANES)];
    for head in 0..p.heads {
        let first = start * stride + head / (p.heads / p.groups) * width;
        let (keys, values) = (Strided { data: &p.k[first..], stride }, Strided { data: &p.v[first..], stride });
        dots(level, &mut scores[..len], &p.q[row + head * width..][..width], keys);
        let scale = p.biased(level, &mut scores[..len], head, query, start);
        normalise(level, scores, len, scale);
        mix(level, &mut out[row + head * width..][..width], &scores[..len], values);
        if !probabilities.is_empty() {
            probabilities[head * len..][..len].copy_from_slice(&scores[..len]);
        }
    }
}
