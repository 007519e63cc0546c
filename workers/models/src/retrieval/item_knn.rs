//! Items consumed by the same users: `score(j) = Σ over history decay^rank · co(i, j) / sqrt(pop_i · pop_j)`.
//!
//! `co` and `pop` count users, each once, however often they consumed an item. Rows are made one after another from an
//! item-to-users index, so that memory is bounded by the sequences, one dense row and the rows that are kept.

use std::path::Path;
use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::{self, RetrievalAlgorithm};
use recmesh_contract::{ItemIndex, Recommend};

use super::header::Header;
use super::related::Related;
use super::sparse::Sparse;
use crate::{ModelError, weights};

/// Every item's neighbours.
#[derive(Debug)]
pub struct ItemKnn {
    params: config::ItemKnn,
    items: usize,
    rows: Arc<Sparse>,
}

/// Lists of numbers, one after another.
struct Lists {
    offsets: Vec<usize>,
    entries: Vec<u32>,
}

impl Lists {
    fn of(&self, row: u32) -> &[u32] {
        &self.entries[self.offsets[row as usize]..self.offsets[row as usize + 1]]
    }

    fn distinct(sequences: &[&[ItemIndex]]) -> Self {
        let mut lists = Self { offsets: vec![0], entries: Vec::new() };
        let mut sorted = Vec::new();
        for sequence in sequences {
            sorted.clear();
            sorted.extend_from_slice(sequence);
            sorted.sort_unstable();
            sorted.dedup();
            lists.entries.extend_from_slice(&sorted);
            lists.offsets.push(lists.entries.len());
        }
        lists
    }

    /// For every entry below `rows`, the lists it is in, ascending.
    fn inverted(&self, rows: usize) -> Self {
        let mut offsets = vec![0usize; rows + 1];
        for &entry in &self.entries {
            offsets[entry as usize + 1] += 1;
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let mut next = offsets.clone();
        let mut entries = vec![0; self.entries.len()];
        for list in 0..self.offsets.len() - 1 {
            for &entry in self.of(list as u32) {
                entries[next[entry as usize]] = list as u32;
                next[entry as usize] += 1;
            }
        }
        Self { offsets, entries }
    }
}

impl ItemKnn {
    /// Counts co-consumption in sequences; keeps `neighbours` of every item, or all when that is 0.
    #[must_use]
    pub fn count(params: &config::ItemKnn, sequences: &[&[ItemIndex]], items: usize) -> Self {
        let users = Lists::distinct(sequences);
        let consumers = users.inverted(items);
        let popularity = |item: u32| consumers.of(item).len() as f64;
        let mut rows = Sparse::new();
        let mut counts = vec![0u32; items];
        let mut row: Vec<(u32, f32)> = Vec::new();
        for item in 0..items as u32 {
            for &user in consumers.of(item) {
                for &other in users.of(user) {
                    if counts[other as usize] == 0 {
                        row.push((other, 0.0));
                    }
                    counts[other as usize] += 1;
                }
            }
            for (other, value) in &mut row {
                let co = f64::from(std::mem::take(&mut counts[*other as usize]));
                *value = (co / (popularity(item) * popularity(*other)).sqrt()) as f32;
            }
            row.retain(|&(other, _)| other != item);
            let keep = params.neighbours as usize;
            if keep > 0 && row.len() > keep {
                row.select_nth_unstable_by(keep - 1, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                row.truncate(keep);
            }
            row.sort_unstable_by_key(|&(other, _)| other);
            rows.push_row(row.drain(..));
        }
        Self { params: params.clone(), items, rows: Arc::new(rows) }
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let algorithm = RetrievalAlgorithm::ItemKnn(self.params.clone());
        weights::save_arrays(dir, &Header { algorithm, items: self.items, catalog: None }, &self.rows.arrays())
    }

    pub(super) fn load(dir: &Path, params: &config::ItemKnn, header: &Header) -> Result<Self, ModelError> {
        let rows = Sparse::load(weights::load_arrays(dir)?, header.items)?;
        Ok(Self { params: params.clone(), items: header.items, rows: Arc::new(rows) })
    }

    /// The model, ready to answer; with a catalog, only with its live items.
    #[must_use]
    pub fn recommender(&self, catalog: Option<Arc<Catalog>>) -> Box<dyn Recommend> {
        Box::new(Related::new(Arc::clone(&self.rows), self.items, self.params.decay, catalog))
    }
}
