//! One level: greedy k-means++ seeding, Lloyd's iterations, empty clusters refilled.
//!
//! In: points, how many clusters, a generator. Out: centroids and the cluster of every point. Sums are taken in the order
//! of the points and in f64, so the thread count changes nothing.

use rand::{Rng, RngExt};

use super::{
    super::parallel::map_chunks,
    nearest::{Assignment, Codebook, distance},
};

/// Rows whose distance to one centre is computed together.
const CHUNK: usize = 4096;

/// An iteration that lowers the mean squared distance by less than this share is the last.
const SETTLED: f64 = 1e-5;

/// Points to cluster.
#[derive(Clone, Copy)]
pub(super) struct Points<'a> {
    /// `points × dims`.
    pub data: &'a [f32],
    /// Length of a point.
    pub dims: usize,
}

impl<'a> Points<'a> {
    fn len(self) -> usize {
        self.data.len() / self.dims
    }

    fn of(self, i: usize) -> &'a [f32] {
        &self.data[i * self.dims..(i + 1) * self.dims]
    }
}

/// How far to go.
pub(super) struct Limits {
    /// Clusters.
    pub size: usize,
    /// Most iterations.
    pub iterations: u32,
    /// Threads for the distances.
    pub threads: usize,
}

/// A clustering.
pub(super) struct Clusters {
    /// `size × dims`.
    pub centroids: Vec<f32>,
    /// The cluster of each point.
    pub codes: Vec<u32>,
}

/// Clusters points; `report` hears of each iteration with the root mean square distance to the centroids.
pub(super) fn kmeans(
    points: Points<'_>,
    limits: &Limits,
    random: &mut impl Rng,
    report: &dyn Fn(u32, f64),
) -> Clusters {
    let mut centroids = seed(points, limits, random);
    let mut found = Codebook::new(&centroids, points.dims).assign(points.data, limits.threads);
    let mut error = f64::INFINITY;
    for iteration in 0..limits.iterations {
        move_to_means(&mut centroids, points, &found.codes);
        refill(&mut centroids, points, &mut found);
        let next = Codebook::new(&centroids, points.dims).assign(points.data, limits.threads);
        let after = next.distances.iter().sum::<f64>() / points.len() as f64;
        let settled = next.codes == found.codes || (0.0..SETTLED * error).contains(&(error - after));
        (found, error) = (next, after);
        report(iteration + 1, error.sqrt());
        if settled {
            break;
        }
    }
    Clusters { centroids, codes: found.codes }
}

/// Greedy k-means++ (Arthur and Vassilvitskii 2007, §5): every next centre is the best of a few drawn with chance
/// proportional to the squared distance from the centres so far.
fn seed(points: Points<'_>, limits: &Limits, random: &mut impl Rng) -> Vec<f32> {
    let trials = 2 + (limits.size as f64).ln() as usize;
    let first = random.random_range(0..points.len());
    let mut centroids = points.of(first).to_vec();
    let mut nearest = vec![f32::INFINITY; points.len()];
    let (_, mut left) = shrink(points, &[first], &mut nearest, limits.threads);
    while centroids.len() < limits.size * points.dims {
        if left <= 0.0 {
            // Every point is a centre already: the rest are copies, which no point prefers.
            centroids.extend_from_slice(points.of(first));
            continue;
        }
        let picks: Vec<usize> = (0..trials).map(|_| draw(&nearest, random.random::<f64>() * left)).collect();
        let (best, after) = shrink(points, &picks, &mut nearest, limits.threads);
        left = after;
        centroids.extend_from_slice(points.of(best));
    }
    centroids
}

/// The point at which the running sum of weights passes `at`; never one of weight zero.
fn draw(weights: &[f32], at: f64) -> usize {
    let (mut sum, mut last) = (0.0, 0);
    for (i, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            sum += f64::from(weight);
            last = i;
            if sum > at {
                break;
            }
        }
    }
    last
}

/// Of some picks, the one that leaves the least sum of squared distances, with that sum; `nearest` becomes each point's
/// distance with this pick among the centres.
fn shrink(points: Points<'_>, picks: &[usize], nearest: &mut Vec<f32>, threads: usize) -> (usize, f64) {
    let parts = map_chunks(points.len(), CHUNK, threads, |range| {
        let before = &nearest[range.clone()];
        let after = |&pick: &usize| {
            let each = range.clone().zip(before);
            let distances: Vec<f32> = each.map(|(i, &d)| d.min(lanes(points.of(i), points.of(pick)))).collect();
            let sum: f64 = distances.iter().map(|&d| f64::from(d)).sum();
            (sum, distances)
        };
        picks.iter().map(after).collect::<Vec<_>>()
    });
    let sums = (0..picks.len()).map(|p| parts.iter().map(|part| part[p].0).sum::<f64>());
    let (best, left) = sums.enumerate().fold((0, f64::INFINITY), |a, b| if b.1 < a.1 { b } else { a });
    nearest.clear();
    parts.iter().for_each(|part| nearest.extend_from_slice(&part[best].1));
    (picks[best], left)
}

/// `‖a − b‖²` in f32, eight lanes; exactly zero for equal rows.
fn lanes(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0f32; LANES];
    let (rows, rest) = a.as_chunks::<LANES>();
    let (centres, centre_rest) = b.as_chunks::<LANES>();
    for (a, b) in rows.iter().zip(centres) {
        for i in 0..LANES {
            sums[i] += (a[i] - b[i]) * (a[i] - b[i]);
        }
    }
    let tail: f32 = rest.iter().zip(centre_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + tail
}

/// Moves every centroid that has points to their mean.
fn move_to_means(centroids: &mut [f32], points: Points<'_>, codes: &[u32]) {
    let dims = points.dims;
    let mut sums = vec![0.0f64; centroids.len()];
    let mut counts = vec![0usize; centroids.len() / dims];
    for (row, &code) in points.data.chunks_exact(dims).zip(codes) {
        let code = code as usize;
        counts[code] += 1;
        sums[code * dims..(code + 1) * dims].iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
    }
    for ((centroid, sum), &count) in centroids.chunks_exact_mut(dims).zip(sums.chunks_exact(dims)).zip(&counts) {
        if count > 0 {
            centroid.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count as f64) as f32);
        }
    }
}

/// Gives every empty cluster half of the largest one: the points on the far side of its mean, towards its farthest point.
/// A cluster of equal points cannot be halved; where only such are left, clusters stay empty.
fn refill(centroids: &mut [f32], points: Points<'_>, found: &mut Assignment) {
    let size = centroids.len() / points.dims;
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); size];
    for (i, &code) in found.codes.iter().enumerate() {
        members[code as usize].push(i as u32);
    }
    let mut whole = vec![false; size];
    for empty in 0..size {
        while members[empty].is_empty() {
            let candidates = (0..size).filter(|&c| !whole[c] && members[c].len() > 1);
            // `max_by_key` keeps the last of equals; reversing makes it the first.
            let Some(largest) = candidates.rev().max_by_key(|&c| members[c].len()) else { return };
            match halve(centroids, points, &members[largest], largest) {
                Some((stay, leave)) => {
                    for &i in &leave {
                        found.codes[i as usize] = empty as u32;
                    }
                    mean(centroids, points, &stay, largest);
                    mean(centroids, points, &leave, empty);
                    members[largest] = stay;
                    members[empty] = leave;
                }
                None => whole[largest] = true,
            }
        }
    }
}

/// The members on this side and on the far side of a cluster's mean; `None` when they are all equal.
fn halve(centroids: &[f32], points: Points<'_>, members: &[u32], cluster: usize) -> Option<(Vec<u32>, Vec<u32>)> {
    let centre = &centroids[cluster * points.dims..(cluster + 1) * points.dims];
    let mut farthest = (0.0, None);
    for &i in members {
        let d = distance(points.of(i as usize), centre);
        if d > farthest.0 {
            farthest = (d, Some(i));
        }
    }
    let towards = points.of(farthest.1? as usize);
    let beyond = |i: &u32| {
        let along: f64 = points.of(*i as usize).iter().zip(centre).zip(towards).map(project).sum();
        along > 0.0
    };
    let (leave, stay): (Vec<u32>, Vec<u32>) = members.iter().partition(|i| beyond(i));
    (!leave.is_empty() && !stay.is_empty()).then_some((stay, leave))
}

/// One term of `(x − c) · (t − c)`.
fn project(((&x, &c), &t): ((&f32, &f32), &f32)) -> f64 {
    (f64::from(x) - f64::from(c)) * (f64::from(t) - f64::from(c))
}

/// Sets a centroid to the mean of some points.
fn mean(centroids: &mut [f32], points: Points<'_>, members: &[u32], cluster: usize) {
    for (d, c) in centroids[cluster * points.dims..(cluster + 1) * points.dims].iter_mut().enumerate() {
        let sum: f64 = members.iter().map(|&i| f64::from(points.of(i as usize)[d])).sum();
        *c = (sum / members.len() as f64) as f32;
    }
}
