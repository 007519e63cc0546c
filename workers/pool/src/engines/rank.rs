//! The engine of a rank pool: a batch of candidate lists in one pass over the model.
//!
//! In: contexts with candidates. Out: candidates with task scores, or, for the last stage, mixed, cut to `k` and
//! described.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Candidate, Class, Done, Failure, Finish, ItemIndex, Rank, RankQuery, Threads, Work, reason};
use recmesh_models::ranking::policy;

use super::describe::describe;
use crate::engine::{Engine, wrong_work};

/// Scores candidates.
pub(crate) struct RankEngine {
    model: Box<dyn Rank>,
    catalog: Arc<Catalog>,
    /// Items of a batch's candidates, one request after another; memory of the next batch.
    items: Vec<ItemIndex>,
}

impl RankEngine {
    pub(crate) fn new(model: Box<dyn Rank>, catalog: Arc<Catalog>) -> Self {
        Self { model, catalog, items: Vec::new() }
    }

    /// Puts one query's scores to its candidates; finishes them where this is the last stage.
    fn answer(&self, mut candidates: Vec<Candidate>, scores: &[f32], finish: Option<Finish>) -> Result<Done, Failure> {
        let tasks = self.model.tasks();
        if scores.len() != candidates.len() * tasks.len() {
            let (rows, columns) = (candidates.len(), tasks.len());
            let text = format!("the model gave {} scores for {rows} candidates and {columns} tasks", scores.len());
            return Err(Failure::new(Class::Internal, reason::WRONG_REPLY, text));
        }
        for (candidate, row) in candidates.iter_mut().zip(scores.chunks_exact(tasks.len().max(1))) {
            candidate.tasks = row.to_vec();
        }
        let Some(finish) = finish else { return Ok(Done::Candidates(candidates)) };
        // Without weights the retrieval model's order and scores stand.
        if !finish.weights.is_empty() {
            let weights = policy::weights(&tasks, &finish.weights)
                .map_err(|error| Failure::new(Class::Internal, reason::BAD_FIELD, error.to_string()))?;
            let mixed = policy::mix(scores, &weights);
            for (candidate, score) in candidates.iter_mut().zip(&mixed) {
                candidate.score = *score;
            }
            let kept = |place: usize| {
                let Candidate { item, score, ref mut tasks } = candidates[place];
                Candidate { item, score, tasks: std::mem::take(tasks) }
            };
            candidates = policy::best(&mixed, finish.k).into_iter().map(kept).collect();
        }
        Ok(Done::Items(describe(&self.catalog, candidates, &tasks, finish.k)))
    }
}

impl Engine for RankEngine {
    fn run(&mut self, batch: Vec<Work>) -> Vec<Result<Done, Failure>> {
        let Self { model, items, .. } = self;
        items.clear();
        for work in &batch {
            if let Work::Rank { candidates, .. } = work {
                items.extend(candidates.iter().map(|candidate| candidate.item));
            }
        }
        let (mut queries, mut rest) = (Vec::with_capacity(batch.len()), &items[..]);
        for work in &batch {
            if let Work::Rank { context, candidates, .. } = work {
                let (candidates, others) = rest.split_at(candidates.len());
                queries.push(RankQuery { history: &context.history, user: context.user, candidates });
                rest = others;
            }
        }
        let mut scores = model.rank(&queries).map(Vec::into_iter);
        drop(queries);
        let mut answer = |work| match (work, &mut scores) {
            (Work::Rank { candidates, finish, .. }, Ok(scores)) => {
                self.answer(candidates, &scores.next().unwrap_or_default(), finish)
            }
            (Work::Rank { .. }, Err(failure)) => Err(failure.clone()),
            (work, _) => Err(wrong_work("rank", &work)),
        };
        batch.into_iter().map(&mut answer).collect()
    }

    fn fork(&self) -> Box<dyn Engine> {
        Box::new(Self::new(self.model.fork(), Arc::clone(&self.catalog)))
    }

    fn set_threads(&mut self, threads: &Threads) -> usize {
        self.model.set_threads(threads)
    }
}
