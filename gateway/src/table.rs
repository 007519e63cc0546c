//! Which pipelines there are and what answers each: replaced as a whole while requests run.
//!
//! A request looks once and holds what it found. In local mode the table never changes and pipelines have plain names;
//! in a cluster `discovery` writes it and pipelines are `<namespace>/<name>`, the default namespace being optional.

use std::{collections::BTreeMap, sync::Arc};

use recmesh_contract::{Class, Failure, reason};
use tokio::{sync::watch, time::Instant};

use crate::{discovery::Known, parse::bad, route::Served};

/// Most names that an error message lists.
const LISTED: usize = 20;

/// Everything that is served.
#[derive(Default)]
pub(crate) struct Table {
    /// By full name.
    pub(crate) pipelines: BTreeMap<String, Pipeline>,
    /// Where a pipeline named without a namespace is; none where names have no namespace.
    pub(crate) default_namespace: Option<String>,
    /// When every pipeline there is became known; none before.
    pub(crate) complete: Option<Instant>,
}

/// One pipeline.
#[derive(Default)]
pub(crate) struct Pipeline {
    /// What answers; none while the pipeline's first release is being warmed.
    pub(crate) current: Option<Arc<Served>>,
    /// What discovery knows of it beside; none in local mode.
    pub(crate) known: Option<Known>,
}

impl Table {
    /// What answers the pipeline that a request names, or the only one there is.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<Arc<Served>, Failure> {
        let pipeline = match name {
            Some(name) => self
                .pipelines
                .get(&self.full(name))
                .ok_or_else(|| self.missing(&format!("there is no pipeline {name:?}; there are: {}", self.names()))),
            None if self.pipelines.len() > 1 => Err(bad("pipeline", &format!("name one of {}", self.names()))),
            None => self.pipelines.values().next().ok_or_else(|| self.missing("no pipeline is served here")),
        }?;
        let starting = || Failure::new(Class::Unavailable, reason::STARTING, "its first release is being warmed");
        pipeline.current.clone().ok_or_else(starting)
    }

    fn full(&self, name: &str) -> String {
        match &self.default_namespace {
            Some(namespace) if !name.contains('/') => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        }
    }

    /// A pipeline that is not there; while not every pipeline is known, one that may yet be.
    fn missing(&self, text: &str) -> Failure {
        match self.complete {
            Some(_) => Failure::new(Class::NotFound, reason::NO_SUCH_PIPELINE, format!("pipeline: {text}")),
            None => Failure::new(Class::Unavailable, reason::STARTING, "the pipelines are not all known yet"),
        }
    }

    fn names(&self) -> String {
        let mut names = self.pipelines.keys().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
        if let Some(more) = self.pipelines.len().checked_sub(LISTED + 1) {
            names += &format!(" and {} more", more + 1);
        }
        names
    }
}

/// The table of now, to be looked at by requests.
#[derive(Clone)]
pub struct Routes(watch::Receiver<Arc<Table>>);

impl Routes {
    /// A table that never changes.
    pub(crate) fn fixed(table: Table) -> Self {
        Self(watch::channel(Arc::new(table)).1)
    }

    /// A table, and the way to replace it.
    pub(crate) fn changing(table: Table) -> (watch::Sender<Arc<Table>>, Self) {
        let (write, read) = watch::channel(Arc::new(table));
        (write, Self(read))
    }

    /// The table as it is. The lock is held for one count, by readers beside each other.
    pub(crate) fn now(&self) -> Arc<Table> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until the table is as wanted.
    #[cfg(test)]
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Table) -> bool) {
        self.0.wait_for(|table| wanted(table)).await.unwrap();
    }

    /// Waits for the next table.
    #[cfg(test)]
    pub(crate) async fn replaced(&mut self) -> Arc<Table> {
        self.0.changed().await.unwrap();
        Arc::clone(&self.0.borrow_and_update())
    }
}
