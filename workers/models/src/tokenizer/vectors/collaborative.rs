//! Vectors from which items are consumed near each other.
//!
//! In: sequences. Out: rows of `U·√Σ` of the shifted positive PMI of items within a window (Levy and Goldberg, arXiv
//! 1402.3722), with context counts smoothed by the power 0.75 (Levy, Goldberg and Dagan, TACL 2015, §3.2), scaled to
//! length 1. A pair `d` steps apart counts `1/d`. Never looks at item text.

use recmesh_contract::{ItemIndex, config::Collaborative};

use super::{super::parallel::map_chunks, TokenizerError, Vectors, factorise::factorise, sparse::Sparse};

/// Power that context counts are smoothed by.
const SMOOTHING: f64 = 0.75;

/// Items whose neighbours are counted together.
const CHUNK: usize = 512;

/// One vector an item out of sequences. Equal input and seed give equal bytes for any thread count. Vectors are shorter
/// than `dims` when there are fewer items than that. An item that no sequence holds beside another has the zero vector.
///
/// # Errors
/// When there are no items, or a sequence names one beyond `items`.
pub fn collaborative(
    sequences: &[&[ItemIndex]],
    items: usize,
    params: &Collaborative,
    seed: u64,
    threads: usize,
) -> Result<Vectors, TokenizerError> {
    let counts = count(sequences, items, params.window as usize, threads)?;
    let matrix = pointwise_mutual_information(counts, params.shift);
    factorise(&matrix, params.dims as usize, seed, threads)
}

/// How often items lie within the window of each other, weighted by nearness; symmetric, without the diagonal.
fn count(sequences: &[&[ItemIndex]], items: usize, window: usize, threads: usize) -> Result<Sparse, TokenizerError> {
    if items == 0 {
        return Err(TokenizerError::NoItems);
    }
    let mut offsets = vec![0usize; items + 1];
    for &item in sequences.iter().copied().flatten() {
        if item as usize >= items {
            return Err(TokenizerError::UnknownItem { item: item as usize, items });
        }
        offsets[item as usize + 1] += 1;
    }
    for i in 0..items {
        offsets[i + 1] += offsets[i];
    }
    // Where each item stands, so that a row is counted without holding any other.
    let mut places = vec![(0u32, 0u32); offsets[items]];
    let mut next = offsets.clone();
    for (s, sequence) in sequences.iter().enumerate() {
        for (position, &item) in sequence.iter().enumerate() {
            places[next[item as usize]] = (s as u32, position as u32);
            next[item as usize] += 1;
        }
    }
    let rows = map_chunks(items, CHUNK, threads, |range| {
        let mut weight = vec![0.0f64; items];
        let mut touched: Vec<ItemIndex> = Vec::new();
        let mut rows = Vec::with_capacity(range.len());
        for item in range {
            for &(s, position) in &places[offsets[item]..offsets[item + 1]] {
                let (sequence, at) = (sequences[s as usize], position as usize);
                let reach = at.saturating_sub(window)..sequence.len().min(at + window + 1);
                for (other, &neighbour) in reach.clone().zip(&sequence[reach]) {
                    if neighbour as usize != item {
                        if weight[neighbour as usize] == 0.0 {
                            touched.push(neighbour);
                        }
                        weight[neighbour as usize] += 1.0 / other.abs_diff(at) as f64;
                    }
                }
            }
            touched.sort_unstable();
            rows.push(touched.iter().map(|&j| (j, std::mem::take(&mut weight[j as usize]) as f32)).collect::<Vec<_>>());
            touched.clear();
        }
        rows
    });
    Ok(Sparse::from_rows(items, rows.into_iter().flatten()))
}

/// `max(0, log(n_ij · Σ n^α / √(n_i n_j^α · n_j n_i^α)) − shift)`: the mean of both directions, which keeps the matrix
/// symmetric where smoothing one side would not.
fn pointwise_mutual_information(mut counts: Sparse, shift: f64) -> Sparse {
    let of_row = |row: usize| counts.entries[counts.offsets[row]..counts.offsets[row + 1]].iter();
    let totals: Vec<f64> = (0..counts.rows()).map(|i| of_row(i).map(|&(_, n)| f64::from(n)).sum()).collect();
    let smoothed: f64 = totals.iter().map(|n| n.powf(SMOOTHING)).sum();
    let half = (1.0 + SMOOTHING) / 2.0;
    let mut kept = Vec::with_capacity(counts.entries.len());
    let mut offsets = vec![0];
    for row in 0..counts.rows() {
        for &(col, n) in &counts.entries[counts.offsets[row]..counts.offsets[row + 1]] {
            let expected = half * (totals[row] * totals[col as usize]).ln();
            let value = f64::from(n).ln() + smoothed.ln() - expected - shift;
            if value > 0.0 {
                kept.push((col, value as f32));
            }
        }
        offsets.push(kept.len());
    }
    counts.entries = kept;
    counts.offsets = offsets;
    counts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt, SeedableRng, seq::SliceRandom};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// 12 buckets of 5 items; a sequence stays in one bucket.
    fn world() -> Vec<Vec<ItemIndex>> {
        let mut random = Pcg64Mcg::seed_from_u64(3);
        (0..600)
            .map(|_| {
                let bucket = random.random_range(0..12u32);
                (0..8).map(|_| bucket * 5 + random.random_range(0..5u32)).collect()
            })
            .collect()
    }

    /// Share of items whose nearest other item is of the same bucket.
    fn purity(sequences: &[Vec<ItemIndex>], threads: usize) -> (f64, Vectors) {
        let borrowed: Vec<&[ItemIndex]> = sequences.iter().map(Vec::as_slice).collect();
        let params = Collaborative { dims: 16, ..Collaborative::default() };
        let vectors = collaborative(&borrowed, 60, &params, 1, threads).unwrap();
        let dot = |a: usize, b: usize| vectors.of(a).iter().zip(vectors.of(b)).map(|(x, y)| x * y).sum::<f32>();
        let nearest = |i: usize| (0..60).filter(|&j| j != i).max_by(|&a, &b| dot(i, a).total_cmp(&dot(i, b))).unwrap();
        ((0..60).filter(|&i| nearest(i) / 5 == i / 5).count() as f64 / 60.0, vectors)
    }

    #[test]
    fn bucket_mates_are_nearest_and_shuffling_ends_it() {
        let sequences = world();
        let (planted, one) = purity(&sequences, 1);
        assert!(planted > 0.98, "{planted}");
        assert_eq!(one, purity(&sequences, 3).1, "threads change nothing");
        assert!((0..60).all(|i| (one.of(i).iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5));

        let mut all: Vec<ItemIndex> = sequences.concat();
        all.shuffle(&mut Pcg64Mcg::seed_from_u64(4));
        let shuffled: Vec<Vec<ItemIndex>> = all.chunks(8).map(<[ItemIndex]>::to_vec).collect();
        let (chance, _) = purity(&shuffled, 1);
        assert!(chance < 0.3, "{chance}");
    }

    #[test]
    fn counts_equal_a_naive_loop() {
        let sequences: [&[ItemIndex]; 3] = [&[0, 1, 2, 1, 3], &[3], &[2, 2, 0]];
        let counted = count(&sequences, 5, 2, 2).unwrap();
        let mut naive: BTreeMap<(u32, u32), f32> = BTreeMap::new();
        for s in sequences {
            for (a, &x) in s.iter().enumerate() {
                for (b, &y) in s.iter().enumerate() {
                    if x != y && a.abs_diff(b) <= 2 {
                        *naive.entry((x, y)).or_default() += 1.0 / a.abs_diff(b) as f32;
                    }
                }
            }
        }
        let mut found = BTreeMap::new();
        for row in 0..counted.rows() {
            for &(col, n) in &counted.entries[counted.offsets[row]..counted.offsets[row + 1]] {
                found.insert((row as u32, col), n);
            }
        }
        assert_eq!(found, naive);
    }

    #[test]
    fn mutual_information_is_symmetric_positive_and_shifted() {
        let sequences: [&[ItemIndex]; 2] = [&[0, 1, 0, 1, 2], &[3, 2, 3, 2]];
        let plain = pointwise_mutual_information(count(&sequences, 4, 1, 1).unwrap(), 0.0);
        let shifted = pointwise_mutual_information(count(&sequences, 4, 1, 1).unwrap(), 0.5);
        assert_eq!(plain, plain.transposed());
        assert!(plain.entries.iter().all(|&(_, v)| v > 0.0));
        assert!(shifted.entries.len() <= plain.entries.len() && shifted.entries[0].1 < plain.entries[0].1);
        // n_01 = 3, n_0 = 3, n_1 = 4; written out once.
        let totals = [3.0f64, 4.0, 4.0, 3.0];
        let sum: f64 = totals.iter().map(|n| n.powf(0.75)).sum();
        let expected = (3.0 * sum / (3.0f64 * 4.0).powf(0.875)).ln();
        assert!((f64::from(plain.entries[0].1) - expected).abs() < 1e-6);
    }

    #[test]
    fn hard_inputs() {
        let params = Collaborative::default();
        assert!(collaborative(&[], 0, &params, 1, 1).is_err());
        assert!(collaborative(&[&[7]], 3, &params, 1, 1).is_err());
        let lone = collaborative(&[&[0]], 1, &params, 1, 1).unwrap();
        assert_eq!((lone.rows, lone.cols, lone.data.as_slice()), (1, 1, &[0.0][..]));
    }
}
