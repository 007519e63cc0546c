//! A SASRec at work: histories in, exact best items out.
//!
//! In: queries, many at once. Out: the best of all items, by an exact scan of the item table that never holds the scores
//! of a batch. Items the model does not know are skipped in a history.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Failure, ItemIndex, Query, Recommend};
use recmesh_kernels::topk::offer_products;
use recmesh_kernels::{Tape, Workspace};

use super::super::pass::rows_per_pass;
use super::super::sequence::newest;
use super::model::{Packed, Rows, SasRec};
use crate::answer::{Filter, candidates, collector};

/// A SASRec with scratch memory of its own.
pub(super) struct Server {
    model: SasRec,
    catalog: Option<Arc<Catalog>>,
    workspace: Workspace,
}

impl Server {
    pub(super) fn new(model: SasRec, catalog: Option<Arc<Catalog>>) -> Self {
        Self { model, catalog, workspace: Workspace::default() }
    }

    /// Answers `queries[pass[i]]` from the `i`-th packed sequence.
    fn pass(
        &mut self,
        queries: &[Query<'_>],
        pass: &[usize],
        batch: &Packed,
        answers: &mut [Vec<Candidate>],
    ) -> Result<(), Failure> {
        let mut tape = Tape::serve(&self.model.params, &mut self.workspace);
        let hidden = self.model.forward(&mut tape, batch, Rows::Last);
        let filters: Vec<_> = pass.iter().map(|&at| Filter::new(&queries[at], self.catalog.as_deref())).collect();
        let mut tops: Vec<_> =
            pass.iter().map(|&at| collector(queries[at].k, self.model.items, queries[at].ties)).collect();
        let table = &self.model.params.get(self.model.layout.item).data;
        let dim = self.model.config.dim as usize;
        offer_products(tape.value(hidden), table, dim, &mut tops, &|row, item| !filters[row].passes(item));
        for (&at, top) in pass.iter().zip(tops) {
            answers[at] = candidates(top)?;
        }
        Ok(())
    }
}

impl Recommend for Server {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        let most = rows_per_pass(self.model.config.dim, self.model.config.blocks);
        let mut answers = vec![Vec::new(); queries.len()];
        let (mut batch, mut pass) = (Packed::default(), Vec::new());
        let mut known: Vec<ItemIndex> = Vec::new();
        for (at, query) in queries.iter().enumerate() {
            known.clear();
            known.extend(query.history.iter().filter(|&&item| (item as usize) < self.model.items));
            if known.is_empty() || query.k == 0 {
                continue;
            }
            batch.push(newest(&known, self.model.config.max_length as usize));
            pass.push(at);
            if batch.rows() >= most {
                self.pass(queries, &pass, &batch, &mut answers)?;
                (batch, pass) = (Packed::default(), Vec::new());
            }
        }
        if !pass.is_empty() {
            self.pass(queries, &pass, &batch, &mut answers)?;
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(Self::new(self.model.clone(), self.catalog.clone()))
    }
}
