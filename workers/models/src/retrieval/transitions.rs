//! Items that followed the newest items of the history: `score(j) = Σ over history decay^rank · follows(i, j) /
//! outgoing_i`.
//!
//! `follows` counts neighbouring pairs of train sequences, `outgoing_i` those that start at `i`: a first-order Markov
//! chain, read at every item of the history. An item that follows itself counts.

use std::path::Path;
use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::{self, RetrievalAlgorithm};
use recmesh_contract::{ItemIndex, Recommend};

use super::header::Header;
use super::related::Related;
use super::sparse::Sparse;
use crate::{ModelError, weights};

/// Every item's followers.
#[derive(Debug)]
pub struct Transitions {
    params: config::Transitions,
    items: usize,
    rows: Arc<Sparse>,
}

impl Transitions {
    /// Counts who follows whom in sequences.
    #[must_use]
    pub fn count(params: &config::Transitions, sequences: &[&[ItemIndex]], items: usize) -> Self {
        let pairs = || sequences.iter().flat_map(|s| s.windows(2)).map(|pair| (pair[0] as usize, pair[1]));
        let mut ends = vec![0usize; items + 1];
        for (from, _) in pairs() {
            ends[from + 1] += 1;
        }
        for item in 0..items {
            ends[item + 1] += ends[item];
        }
        let mut next = ends.clone();
        let mut followers = vec![0u32; ends[items]];
        for (from, to) in pairs() {
            followers[next[from]] = to;
            next[from] += 1;
        }
        let mut rows = Sparse::new();
        for item in 0..items {
            let followers = &mut followers[ends[item]..ends[item + 1]];
            followers.sort_unstable();
            let outgoing = followers.len() as f64;
            let runs = followers.chunk_by(|a, b| a == b);
            rows.push_row(runs.map(|run| (run[0], (run.len() as f64 / outgoing) as f32)));
        }
        Self { params: params.clone(), items, rows: Arc::new(rows) }
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let algorithm = RetrievalAlgorithm::Transitions(self.params.clone());
        weights::save_arrays(dir, &Header { algorithm, items: self.items, catalog: None }, &self.rows.arrays())
    }

    pub(super) fn load(dir: &Path, params: &config::Transitions, header: &Header) -> Result<Self, ModelError> {
        let rows = Sparse::load(weights::load_arrays(dir)?, header.items)?;
        Ok(Self { params: params.clone(), items: header.items, rows: Arc::new(rows) })
    }

    /// The model, ready to answer; with a catalog, only with its live items.
    #[must_use]
    pub fn recommender(&self, catalog: Option<Arc<Catalog>>) -> Box<dyn Recommend> {
        Box::new(Related::new(Arc::clone(&self.rows), self.items, self.params.decay, catalog))
    }
}
