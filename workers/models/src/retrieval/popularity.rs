//! Items by how often they were consumed: the answer for users of whom nothing is known.
//!
//! In: the train parts of sequences. Out: a count for every item, and the same best items for everybody. Items nobody
//! consumed come last, with score 0.

use std::path::Path;
use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::{NoParams, RetrievalAlgorithm};
use recmesh_contract::{Candidate, Failure, ItemIndex, Query, Recommend, Ties};
use recmesh_kernels::topk::TopK;

use super::header::Header;
use crate::ModelError;
use crate::answer::{Filter, candidates, reset};
use crate::weights::{self, Values};

/// How often every item was consumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Popularity {
    counts: Vec<u32>,
}

impl Popularity {
    /// Counts the items of sequences.
    #[must_use]
    pub fn count(sequences: &[&[ItemIndex]], items: usize) -> Self {
        let mut counts = vec![0u32; items];
        for &item in sequences.iter().copied().flatten() {
            counts[item as usize] += 1;
        }
        Self { counts }
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let algorithm = RetrievalAlgorithm::Popularity(NoParams {});
        let header = Header { algorithm, items: self.counts.len(), catalog: None };
        weights::save_arrays(dir, &header, &[("counts", Values::U32(self.counts.clone()))])
    }

    pub(super) fn load(dir: &Path, header: &Header) -> Result<Self, ModelError> {
        let mut arrays = weights::load_arrays(dir)?;
        let counts = arrays.u32("counts")?;
        if counts.len() != header.items {
            return Err(arrays.corrupt(format!("{} counts for {} items", counts.len(), header.items)));
        }
        Ok(Self { counts })
    }

    /// The model, ready to answer; with a catalog, only with its live items.
    #[must_use]
    pub fn recommender(&self, catalog: Option<Arc<Catalog>>) -> Box<dyn Recommend> {
        let mut order: Vec<ItemIndex> = (0..self.counts.len() as u32).collect();
        order.sort_by_key(|&item| (std::cmp::Reverse(self.counts[item as usize]), item));
        Box::new(Popular { counts: self.counts.clone().into(), order: order.into(), catalog, top: TopK::default() })
    }
}

/// Popular items in order, shared by all forks.
#[derive(Clone)]
struct Popular {
    counts: Arc<[u32]>,
    order: Arc<[ItemIndex]>,
    catalog: Option<Arc<Catalog>>,
    top: TopK,
}

impl Recommend for Popular {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let filter = Filter::new(query, self.catalog.as_deref());
            reset(&mut self.top, query.k, self.order.len(), query.ties);
            let (mut taken, mut last) = (0, None);
            for &item in self.order.iter().filter(|&&item| filter.passes(item)) {
                let count = self.counts[item as usize];
                // Past the k-th item only equals can still matter, and by index not even those.
                if taken >= query.k && (query.ties == Ties::ByIndex || last != Some(count)) {
                    break;
                }
                self.top.push(count as f32, item);
                (taken, last) = (taken + 1, Some(count));
            }
            answers.push(candidates(&mut self.top)?);
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(self.clone())
    }
}
