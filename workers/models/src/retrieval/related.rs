//! Answers from a matrix of related items: `score(j) = Σ over history decay^rank · related(i, j)`, rank 0 the newest.
//!
//! In: rows made by [`item_knn`](super::item_knn) or [`transitions`](super::transitions). Out: candidates; only items
//! with a positive score, so an unrelated history gets a short or empty answer.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Failure, Query, Recommend};
use recmesh_kernels::topk::TopK;

use super::sparse::Sparse;
use crate::answer::{Filter, candidates, reset};

/// A counting model ready to answer.
pub(super) struct Related {
    rows: Arc<Sparse>,
    decay: f64,
    catalog: Option<Arc<Catalog>>,
    /// Score by item; all zero between queries.
    scores: Vec<f64>,
    touched: Vec<u32>,
    top: TopK,
}

impl Related {
    pub(super) fn new(rows: Arc<Sparse>, items: usize, decay: f64, catalog: Option<Arc<Catalog>>) -> Self {
        Self { rows, decay, catalog, scores: vec![0.0; items], touched: Vec::new(), top: TopK::default() }
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
        reset(&mut self.top, query.k, self.touched.len(), query.ties);
        for item in self.touched.drain(..) {
            let score = std::mem::take(&mut self.scores[item as usize]) as f32;
            if filter.passes(item) {
                self.top.push(score, item);
            }
        }
        candidates(&mut self.top)
    }
}

impl Recommend for Related {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            answers.push(self.answer(query)?);
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        let catalog = self.catalog.clone();
        Box::new(Self::new(Arc::clone(&self.rows), self.scores.len(), self.decay, catalog))
    }
}
