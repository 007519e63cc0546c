//! What a retrieval model is asked: each held-out target with the history before it.
//!
//! In: sequences and a split. Out: a case a target, evenly thinned, each with the target of a random other case as its
//! control. No model is asked here.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use recmesh_contract::ItemIndex;
use recmesh_data::{Part, Sequences};

/// One held-out target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case<'a> {
    /// Everything of the user before the target, oldest first.
    pub history: &'a [ItemIndex],
    /// What came next.
    pub target: ItemIndex,
    /// What came next in another case.
    pub control: ItemIndex,
}

/// The cases of a split; `sample` 0 takes all. The control permutes the targets of all cases taken.
pub(crate) fn cases(sequences: &Sequences, part: Part, sample: usize, seed: u64) -> Vec<Case<'_>> {
    let targets = sequences.targets(part);
    let taken: Vec<_> = spread(targets.len(), sample).map(|row| targets[row]).collect();
    let mut controls: Vec<ItemIndex> = taken.iter().map(|target| sequences.item(target)).collect();
    controls.shuffle(&mut Pcg64Mcg::seed_from_u64(mix(seed, CONTROL)));
    let case = |(target, control)| Case { history: sequences.history(target), target: sequences.item(target), control };
    taken.iter().zip(controls).map(case).collect()
}

/// `sample` of `0..rows`, evenly spread and ascending; all of them when `sample` is 0 or not smaller.
pub fn spread(rows: usize, sample: usize) -> impl Iterator<Item = usize> {
    let taken = if sample == 0 { rows } else { sample.min(rows) };
    (0..taken).map(move |i| (i as u128 * rows as u128 / taken as u128) as usize)
}

/// Number of the control's stream of randomness, out of the way of rows and resamples.
const CONTROL: u64 = u64::MAX;

/// A seed for a numbered part of the work (splitmix64's finaliser over both).
pub(crate) fn mix(seed: u64, part: u64) -> u64 {
    let finish = |x: u64| {
        let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    finish(finish(seed) ^ part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_evenly() {
        assert_eq!(spread(5, 0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(spread(5, 9).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(0, 4).count(), 0);
    }
}
