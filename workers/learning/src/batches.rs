//! Which examples a step sees, and how it is cut into micro-batches.
//!
//! In: the seed, the epoch and the sizes. Out: an order, micro-batch borders and noise. All of it is a function of
//! its arguments: there is no generator whose state a checkpoint would have to keep.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Most parts of a step that can run at once. Fixed, so that sums are grouped alike on every machine.
pub(crate) const SHARDS: usize = 8;
/// Fewest examples in a micro-batch, unless the batch is smaller: below it, matrix products are too thin.
const SMALLEST: usize = 32;
/// Most examples in a micro-batch: it bounds the memory of a tape.
const LARGEST: usize = 256;

/// The order of an epoch (from 0): a permutation of `examples`.
pub(crate) fn shuffle(examples: &[u32], seed: u64, epoch: u32) -> Vec<u32> {
    let mut order = examples.to_vec();
    order.shuffle(&mut generator(seed, u64::from(epoch), u64::MAX));
    order
}

/// Examples in each micro-batch of a batch; the last one may have fewer.
pub(crate) fn micro_batch_size(batch: usize) -> usize {
    batch.div_ceil(SHARDS).clamp(SMALLEST, LARGEST)
}

/// Shards that batches of up to `batch` examples use.
pub(crate) fn shards(batch: usize) -> usize {
    batch.div_ceil(micro_batch_size(batch)).clamp(1, SHARDS)
}

/// Dropout noise and sampling noise of a micro-batch.
pub(crate) fn noise(seed: u64, step: u64, micro_batch: usize) -> (u64, u64) {
    let mut generator = generator(seed, step, micro_batch as u64);
    (generator.next_u64(), generator.next_u64())
}

/// A generator for a place in the run; the three numbers are spread before they are joined, so that neighbouring
/// places share nothing.
fn generator(seed: u64, place: u64, part: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(spread(spread(spread(seed) ^ place) ^ part))
}

/// The finaliser of splitmix64: a bijection under which near inputs become far.
fn spread(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn epochs_are_different_permutations_and_repeat_by_seed() {
        let examples: Vec<u32> = (0..500).map(|i| i * 3).collect();
        let first = shuffle(&examples, 7, 0);
        assert_eq!(first, shuffle(&examples, 7, 0));
        assert_ne!(first, shuffle(&examples, 7, 1));
        assert_ne!(first, shuffle(&examples, 8, 0));
        assert_ne!(first, examples);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, examples);
    }

    #[test]
    fn shares_are_fair() {
        // Every example is first about equally often.
        let mut first = [0u32; 10];
        for epoch in 0..2000 {
            first[shuffle(&(0..10).collect::<Vec<_>>(), 1, epoch)[0] as usize] += 1;
        }
        assert!(first.iter().all(|&n| (140..260).contains(&n)), "{first:?}");
    }

    #[test]
    fn micro_batches_are_neither_thin_nor_vast() {
        assert_eq!((micro_batch_size(1), shards(1)), (32, 1));
        assert_eq!((micro_batch_size(128), shards(128)), (32, 4));
        assert_eq!((micro_batch_size(1024), shards(1024)), (128, 8));
        assert_eq!((micro_batch_size(100_000), shards(100_000)), (256, 8));
    }

    #[test]
    fn noise_never_repeats_nearby() {
        let mut seen = BTreeSet::new();
        for seed in 0..4 {
            for step in 0..50 {
                for micro_batch in 0..8 {
                    let (dropout, sampling) = noise(seed, step, micro_batch);
                    assert!(seen.insert(dropout) && seen.insert(sampling));
                }
            }
        }
    }
}
