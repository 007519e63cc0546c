//! The best k of many scores, and exact inner-product search with it.
//!
//! In: scores with indices, or queries and a table. Out: the best, in an order that depends on the scores and the tie
//! rule alone, never on the order of arrival. NaN is reported and comes last.

mod int8;
mod normaliser;
mod products;
mod scan;

pub use int8::Int8Table;
pub use normaliser::{largest, log_sum_exp, sum_exp};
pub use scan::Scan;

use std::cmp::Ordering;

use crate::noise;

/// How equal scores are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TieOrder {
    /// The smaller index first.
    #[default]
    ByIndex,
    /// By a 64-bit hash of this seed and the index: fair to all indices, the same in every run.
    Hash(u64),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    score: f32,
    tie: u64,
    index: u32,
}

impl Entry {
    /// `Less` when `self` comes before `other` in the result.
    fn order(&self, other: &Self) -> Ordering {
        let scores = match (self.score.is_nan(), other.score.is_nan()) {
            (false, false) => other.score.partial_cmp(&self.score).unwrap_or(Ordering::Equal),
            (left, right) => left.cmp(&right),
        };
        scores.then(self.tie.cmp(&other.tie)).then(self.index.cmp(&other.index))
    }
}

/// Collects the best `k` of what is pushed; at first none.
#[derive(Clone, Debug, Default)]
pub struct TopK {
    /// A heap whose root is the worst kept entry.
    heap: Vec<Entry>,
    k: usize,
    ties: TieOrder,
    saw_nan: bool,
}

impl TopK {
    /// An empty collector.
    #[must_use]
    pub fn new(k: usize, ties: TieOrder) -> Self {
        Self { heap: Vec::with_capacity(k), k, ties, saw_nan: false }
    }

    /// Empty again, for other numbers and ties, with the memory it has.
    pub fn reset(&mut self, k: usize, ties: TieOrder) {
        self.heap.clear();
        self.heap.reserve_exact(k);
        (self.k, self.ties, self.saw_nan) = (k, ties, false);
    }

    /// Offers a score. NaN ranks below everything and is remembered.
    #[inline]
    pub fn push(&mut self, score: f32, index: u32) {
        if score < self.threshold() {
            return;
        }
        self.consider(score, index);
    }

    /// The worst kept score once k are kept: what lies below it cannot enter. `−∞` before that.
    #[inline]
    #[must_use]
    pub fn threshold(&self) -> f32 {
        match self.heap.first() {
            Some(worst) if self.heap.len() == self.k && !worst.score.is_nan() => worst.score,
            _ => f32::NEG_INFINITY,
        }
    }

    /// Whether any score was NaN.
    #[must_use]
    pub fn saw_nan(&self) -> bool {
        self.saw_nan
    }

    /// The best, best first.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<(f32, u32)> {
        self.drain_sorted().collect()
    }

    /// The best, best first; the collector keeps its memory and is empty afterwards.
    pub fn drain_sorted(&mut self) -> impl ExactSizeIterator<Item = (f32, u32)> {
        self.heap.sort_unstable_by(Entry::order);
        self.heap.drain(..).map(|entry| (entry.score, entry.index))
    }

    fn consider(&mut self, score: f32, index: u32) {
        self.saw_nan |= score.is_nan();
        let tie = match self.ties {
            TieOrder::ByIndex => 0,
            TieOrder::Hash(seed) => noise::hash(seed, u64::from(index)),
        };
        let entry = Entry { score, tie, index };
        if self.heap.len() < self.k {
            self.heap.push(entry);
            self.rise(self.heap.len() - 1);
        } else if self.k > 0 && entry.order(&self.heap[0]) == Ordering::Less {
            self.heap[0] = entry;
            self.sink();
        }
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[at].order(&self.heap[parent]) != Ordering::Greater {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let mut worst = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child].order(&self.heap[worst]) == Ordering::Greater {
                    worst = child;
                }
            }
            if worst == at {
                break;
            }
            self.heap.swap(at, worst);
            at = worst;
        }
    }
}

/// An exact search: which rows of a table have the largest inner product with each query.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Columns of queries and table.
    pub dim: usize,
    /// How many to find.
    pub k: usize,
    /// How equal products are ordered.
    pub ties: TieOrder,
}

/// One collector a query row, filled from all table rows that `skip(query, row)` does not exclude.
///
/// Queries are `n × dim`, the table is `m × dim`. `skip` is asked only about rows good enough to enter. Memory is that of
/// a [`Scan`].
///
/// # Panics
/// If a slice is not a whole number of rows.
pub fn inner_product_top_k(
    queries: &[f32],
    table: &[f32],
    search: Search,
    skip: &dyn Fn(usize, u32) -> bool,
) -> Vec<TopK> {
    let Search { dim, k, ties } = search;
    let mut found = vec![TopK::new(k, ties); queries.len() / dim.max(1)];
    offer_products(queries, table, dim, &mut found, skip);
    found
}

/// The same into collectors of the caller's, one a query row, each with its own k and ties.
///
/// # Panics
/// If a slice is not a whole number of rows, or there are not as many collectors as query rows.
pub fn offer_products(
    queries: &[f32],
    table: &[f32],
    dim: usize,
    found: &mut [TopK],
    skip: &dyn Fn(usize, u32) -> bool,
) {
    Scan::default().offer(queries, table, dim, found, skip);
}

#[cfg(test)]
mod tests;
