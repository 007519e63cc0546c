//! Percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13).
//!
//! In: how many rows there are, and what to compute from drawn ones. Out: a 95 % interval for each statistic. A
//! resample's draws depend on the seed and its number alone, so that threads change nothing.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::cases::mix;
use crate::threads::map;

/// How to resample.
#[derive(Clone, Copy, Debug)]
pub struct Resampling {
    /// How often; 0 gives no interval.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Threads to use.
    pub threads: usize,
}

/// The interval of each of `statistics` numbers that `compute` makes from `rows` rows drawn with replacement. `None`
/// without rows or resamples.
pub fn intervals(
    how: Resampling,
    rows: usize,
    statistics: usize,
    compute: impl Fn(&[u32], &mut [f64]) + Sync,
) -> Option<Vec<(f64, f64)>> {
    if rows == 0 || how.resamples == 0 {
        return None;
    }
    let draws = vec![vec![0u32; rows]; how.threads.clamp(1, how.resamples)];
    let made: Vec<Vec<f64>> = map(draws, how.resamples, &|_| (), |draws, resample| {
        let mut generator = Pcg64Mcg::seed_from_u64(mix(how.seed, resample as u64));
        for draw in draws.iter_mut() {
            // High bits of a 64 × 64 product: uniform but for one part in 2^64 / rows.
            *draw = ((u128::from(generator.next_u64()) * rows as u128) >> 64) as u32;
        }
        let mut values = vec![0.0; statistics];
        compute(draws, &mut values);
        values
    })
    .0;
    let interval = |statistic: usize| {
        let mut values: Vec<f64> = made.iter().map(|values| values[statistic]).collect();
        values.sort_unstable_by(f64::total_cmp);
        (quantile(&values, 0.025), quantile(&values, 0.975))
    };
    Some((0..statistics).map(interval).collect())
}

/// Linear between the two nearest of ascending values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
