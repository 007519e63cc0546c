//! A SASRec at work: histories in, exact best items out.
//!
//! ```text
//! histories ─► passes of some hundred rows, whose values stay in the second cache ─► one hidden row a query
//! hidden rows of all queries · item table ─► best items
//! ```
//! In: queries, many at once. Out: the best of all items, by an exact scan of the item table that never holds the scores
//! of a batch. Items the model does not know are skipped in a history. Nothing is allocated but the answers once a batch
//! no larger was answered.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Failure, ItemIndex, Query, Recommend, Threads};
use recmesh_kernels::topk::{Scan, TopK};
use recmesh_kernels::{Packed, Tape, Workspace};

use super::super::sequence::newest;
use super::model::{Rows, SasRec, Sequences};
use crate::answer::{Filter, candidates, reset};
use crate::team::team;

/// Values of a pass: its rows with their widest layer, about half of a second cache of a megabyte.
const PASS: usize = 1 << 17;

/// A SASRec with scratch memory of its own.
pub(super) struct Server {
    model: SasRec,
    packed: Arc<Packed>,
    catalog: Option<Arc<Catalog>>,
    workspace: Workspace,
    scratch: Scratch,
}

/// Memory of requests, used again by the next ones: as much as the largest batch so far took.
#[derive(Default)]
struct Scratch {
    batch: Sequences,
    known: Vec<ItemIndex>,
    /// Places of the answered queries.
    asked: Vec<usize>,
    /// Their rows, one after another.
    hidden: Vec<f32>,
    /// Their collectors, and those that larger batches had.
    tops: Vec<TopK>,
    scan: Scan,
}

impl Server {
    pub(super) fn new(mut model: SasRec, catalog: Option<Arc<Catalog>>) -> Self {
        let packed = model.packed();
        if let Some(params) = Arc::get_mut(&mut model.params) {
            packed.maps().for_each(|id| params.drop_values(id));
        }
        Self::with(model, Arc::new(packed), catalog)
    }

    fn with(model: SasRec, packed: Arc<Packed>, catalog: Option<Arc<Catalog>>) -> Self {
        Self { model, packed, catalog, workspace: Workspace::default(), scratch: Scratch::default() }
    }

    /// Adds the hidden rows of the sequences packed so far.
    fn pass(&mut self) {
        let Scratch { batch, hidden, .. } = &mut self.scratch;
        let mut tape = Tape::serve_packed(&self.model.params, &self.packed, &mut self.workspace);
        let last = self.model.forward(&mut tape, batch, Rows::Last);
        hidden.extend_from_slice(tape.value(last));
        batch.clear();
    }

    /// How many rows a pass has before it is begun.
    fn rows_per_pass(&self) -> usize {
        let config = &self.model.config;
        PASS / (config.dim as usize * (config.ffn as usize + 4))
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.batch.clear();
        self.asked.clear();
        self.hidden.clear();
    }
}

impl Recommend for Server {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let (items, most) = (self.model.items, self.rows_per_pass());
        self.scratch.clear();
        for (at, query) in queries.iter().enumerate() {
            let Scratch { batch, known, asked, .. } = &mut self.scratch;
            known.clear();
            known.extend(query.history.iter().filter(|&&item| (item as usize) < items));
            if known.is_empty() || query.k == 0 {
                continue;
            }
            batch.push(newest(known, self.model.config.max_length as usize));
            asked.push(at);
            if batch.rows() >= most {
                self.pass();
            }
        }
        if self.scratch.batch.rows() > 0 {
            self.pass();
        }
        let Scratch { asked, hidden, tops, scan, .. } = &mut self.scratch;
        if tops.len() < asked.len() {
            tops.resize_with(asked.len(), TopK::default);
        }
        let tops = &mut tops[..asked.len()];
        for (top, query) in tops.iter_mut().zip(asked.iter().map(|&at| &queries[at])) {
            reset(top, query.k, items, query.ties);
        }
        let table = &self.model.params.get(self.model.layout.item).data;
        let passes = |row: usize, item| Filter::new(&queries[asked[row]], self.catalog.as_deref()).passes(item);
        scan.offer(hidden, table, self.model.config.dim as usize, tops, &|row, item| !passes(row, item));
        let mut answers = vec![Vec::new(); queries.len()];
        for (&at, top) in asked.iter().zip(tops) {
            answers[at] = candidates(top)?;
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(Self::with(self.model.clone(), Arc::clone(&self.packed), self.catalog.clone()))
    }

    fn set_threads(&mut self, threads: &Threads) -> usize {
        let (team, workspace) = team(threads);
        self.workspace = workspace;
        team.threads()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_with_its_weights_keeps_them_once() {
        let model = SasRec::new(&serde_json::from_str("{}").unwrap(), 20, 3).unwrap();
        let first = model.layout.blocks[0].up;
        let shared = Server::new(model.clone(), None);
        assert!(!shared.model.params.get(first).data.is_empty(), "the model may be trained further");
        drop(shared);
        let mut alone = Server::new(model.clone(), None);
        let query = crate::planted::query(&[1, 2], 5);
        let wanted = alone.recommend(&[query]).unwrap();
        drop(alone);
        let mut alone = Server::new(model, None);
        assert!(alone.packed.maps().all(|id| alone.model.params.get(id).data.is_empty()));
        assert_eq!(alone.recommend(&[query]).unwrap(), wanted);
    }
}
