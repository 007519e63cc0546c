//! The engine of a retrieve pool: a batch of contexts in one pass over the model.
//!
//! In: contexts. Out: candidates, or described items for a pipeline that does not rank. Fewer than asked for come back
//! as they are; who fills up is the gateway's to decide.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Class, DeviceWork, Done, Failure, Query, Recommend, Threads, Ties, Work, reason};

use super::describe::describe;
use crate::engine::{Engine, wrong_work};

/// Finds candidates.
pub(crate) struct RetrieveEngine {
    model: Box<dyn Recommend>,
    catalog: Arc<Catalog>,
}

impl RetrieveEngine {
    pub(crate) fn new(model: Box<dyn Recommend>, catalog: Arc<Catalog>) -> Self {
        Self { model, catalog }
    }
}

impl Engine for RetrieveEngine {
    fn run(&mut self, batch: Vec<Work>) -> Vec<Result<Done, Failure>> {
        let query = |work| match work {
            &Work::Retrieve { ref context, candidates, .. } => Some(Query {
                history: &context.history,
                exclude: &context.exclude,
                allowed: context.allowed.as_deref(),
                k: candidates,
                ties: Ties::ByIndex,
            }),
            _ => None,
        };
        let queries: Vec<Query<'_>> = batch.iter().filter_map(query).collect();
        let found = self.model.recommend(&queries).and_then(|found| {
            let text = || format!("the model gave {} answers to {} queries", found.len(), queries.len());
            if found.len() == queries.len() {
                Ok(found)
            } else {
                Err(Failure::new(Class::Internal, reason::WRONG_REPLY, text()))
            }
        });
        let mut found = found.map(Vec::into_iter);
        let mut answer = |work: &Work| match (work, &mut found) {
            (Work::Retrieve { finish, .. }, Ok(found)) => {
                let candidates = found.next().unwrap_or_default();
                Ok(match finish {
                    Some(finish) => Done::Items(describe(&self.catalog, candidates, &[], finish.k)),
                    None => Done::Candidates(candidates),
                })
            }
            (Work::Retrieve { .. }, Err(failure)) => Err(failure.clone()),
            (work, _) => Err(wrong_work("retrieve", work)),
        };
        batch.iter().map(&mut answer).collect()
    }

    fn fork(&self) -> Box<dyn Engine> {
        Box::new(Self { model: self.model.fork(), catalog: Arc::clone(&self.catalog) })
    }

    fn set_threads(&mut self, threads: &Threads) -> usize {
        self.model.set_threads(threads)
    }

    fn device(&self) -> DeviceWork {
        self.model.device()
    }

    fn illegal(&self) -> u64 {
        self.model.illegal()
    }
}
