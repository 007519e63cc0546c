//! Metrics of one target in a ranked list.
//!
//! In: the target's rank, from 0, or none when it is not in the list. Out: recall (hit rate), NDCG and reciprocal rank
//! at a cut-off. With a single target the ideal DCG is 1, so NDCG is the target's discount.

/// A metric of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankMetric {
    /// 1 for a target within the cut-off.
    Recall,
    /// `1 / log2(rank + 2)` within the cut-off.
    Ndcg,
    /// `1 / (rank + 1)` within the cut-off.
    Mrr,
}

impl RankMetric {
    /// Every metric, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Recall, Self::Ndcg, Self::Mrr];

    /// The standard name, before `@k`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Ndcg => "ndcg",
            Self::Mrr => "mrr",
        }
    }

    /// The value for one row.
    #[must_use]
    pub fn at(self, rank: Option<usize>, k: usize) -> f64 {
        match rank.filter(|&rank| rank < k) {
            None => 0.0,
            Some(rank) => match self {
                Self::Recall => 1.0,
                Self::Ndcg => 1.0 / (rank as f64 + 2.0).log2(),
                Self::Mrr => 1.0 / (rank as f64 + 1.0),
            },
        }
    }
}

/// Share of items that at least one list has before its cut-off; `best` holds each item's best rank over all lists,
/// `u32::MAX` for an item that was never answered.
#[must_use]
pub fn item_coverage(best: &[u32], k: usize) -> f64 {
    let covered = best.iter().filter(|&&rank| (rank as usize) < k).count();
    covered as f64 / best.len().max(1) as f64
}
