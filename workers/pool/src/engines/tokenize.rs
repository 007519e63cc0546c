//! The engine of a tokenize pool: requests in, contexts in the model's terms out.
//!
//! A known user brings the stored history; an inline history stands in for it. Items the catalog does not know are
//! counted and left out, never an error. It also describes candidates that nobody could rank: it holds the catalog and
//! no model, so it still answers when models do not.

use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::{Context, Done, Failure, ItemIndex, Request, Work};
use recmesh_store::Histories;

use super::{describe::describe, filter::Filter};
use crate::engine::{Engine, wrong_work};

/// Turns requests into contexts.
pub(crate) struct TokenizeEngine {
    catalog: Arc<Catalog>,
    histories: Arc<Histories>,
    filter: Arc<Filter>,
}

impl TokenizeEngine {
    pub(crate) fn new(catalog: Arc<Catalog>, histories: Arc<Histories>) -> Self {
        let filter = Arc::new(Filter::new(&catalog));
        Self { catalog, histories, filter }
    }

    fn context(&self, request: &Request) -> Result<Context, Failure> {
        let user = request.user.as_deref().and_then(|user| self.histories.find(user));
        let (history, unknown) = match (&request.history, user) {
            (Some(inline), _) => self.known(inline),
            (None, Some(user)) => (self.histories.items(user).to_vec(), 0),
            (None, None) => (vec![], 0),
        };
        let (mut exclude, _) = self.known(&request.exclude);
        if !request.allow_seen {
            exclude.extend_from_slice(&history);
        }
        exclude.sort_unstable();
        exclude.dedup();
        let allowed = self.filter.allowed(&self.catalog, &request.filters)?;
        Ok(Context { user, history, unknown, exclude, allowed })
    }

    /// The known ones of `ids`, in order, and how many are not.
    fn known(&self, ids: &[String]) -> (Vec<ItemIndex>, usize) {
        let items: Vec<ItemIndex> = ids.iter().filter_map(|id| self.catalog.find(id)).collect();
        let unknown = ids.len() - items.len();
        (items, unknown)
    }
}

impl Engine for TokenizeEngine {
    fn run(&mut self, batch: Vec<Work>) -> Vec<Result<Done, Failure>> {
        let answer = |work| match work {
            Work::Tokenize(request) => self.context(&request).map(|context| Done::Context(Arc::new(context))),
            Work::Describe { candidates, k } => Ok(Done::Items(describe(&self.catalog, candidates, &[], k))),
            work => Err(wrong_work("tokenize", &work)),
        };
        batch.into_iter().map(answer).collect()
    }

    fn fork(&self) -> Box<dyn Engine> {
        let (catalog, histories) = (Arc::clone(&self.catalog), Arc::clone(&self.histories));
        Box::new(Self { catalog, histories, filter: Arc::clone(&self.filter) })
    }
}
