//! Answers from a matrix of related items: `score(j) = Σ over history decay^rank · related(i, j)`, rank 0 the newest.
//!
//! In: rows made by [`item_knn`](super::item_knn) or [`transitions`](super::transitions). Out: candidates; only items
//! with a positive score, so an unrelated history gets a short or empty answer.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Failure, Query, Recommend};

use super::sparse::Sparse;
use crate::answer::{Filter, candidates, collector};

/// A counting model ready to answer.
pub(super) struct Related {
    rows: Arc<Sparse>,
    decay: f64,
    catalog: Option<Arc<Catalog>>,
    /// Score by item; all zero between queries.
    scores: Vec<f64>,
    touched: Vec<u32>,
}

impl Related {
    pub(super) fn new(rows: Arc<Sparse>, items: usize, decay: f64, catalog: Option<Arc<Catalog>>) -> Self {
        Self { rows, decay, catalog, scores: vec![0.0; items], touched: Vec::new() }
    }

    fn answer(&mut self, query: &Query<'_>) -> Result<Vec<Candidate>, Failure> {
        let mut weight = 1.0f64;
        for &item in query.history.iter().rev() {
            for (other, value) in self.rows.row(item) {
                let score = &mut self.scores[other as usize];
                if *score == 0.0 {
                    self.touched.push(other);
                }
                *score += weight * f64::from(value);
            }
            weight *= self.decay;
            if weight < f64::MIN_POSITIVE {
                break;
            }
        }
        let filter = Filter::new(query, self.catalog.as_deref());
        let mut top = collector(query.k, self.touched.len(), query.ties);
        for item in self.touched.drain(..) {
            let score = std::mem::take(&mut self.scores[item as usize]) as f32;
            if filter.passes(item) {
                top.push(score, item);
            }
        }
        candidates(top)
    }
}

impl Recommend for Related {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        queries.iter().map(|query| self.answer(query)).collect()
    }

    fn fork(&self) -> Box<dyn Recommend> {
        let catalog = self.catalog.clone();
        Box::new(Self::new(Arc::clone(&self.rows), self.scores.len(), self.decay, catalog))
    }
}
