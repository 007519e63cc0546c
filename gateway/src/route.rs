//! A release of a pipeline with everything looked up: stages instead of names, a metrics recorder, a limit.
//!
//! A request holds its release until it is answered, so a release that was replaced ends with its last request. What
//! must outlive a release, the places of the pipeline, lies in a [`Lane`] that successors share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use recmesh_contract::{
    Name, Stage,
    config::{Route, RouteParams},
};
use recmesh_telemetry::{GatewayMetrics, PipelineMetrics};
use tokio::sync::Semaphore;

use crate::wire::ReleaseBody;

/// A step on the request's way; also its name in replies and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Tokenize,
    Retrieve,
    Rank,
    /// Describes candidates that nobody could rank; the tokenize pool does it, because it holds the catalog.
    Finish,
    Fallback,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokenize => "tokenize",
            Self::Retrieve => "retrieve",
            Self::Rank => "rank",
            Self::Finish => "finish",
            Self::Fallback => "fallback",
        }
    }
}

/// A stage and the pool it is.
pub(crate) struct Pooled {
    pub(crate) pool: Name,
    pub(crate) stage: Arc<dyn Stage>,
}

/// How many requests of a pipeline may be worked on, and where they are recorded.
pub(crate) struct Lane {
    pub(crate) limit: u32,
    pub(crate) places: Semaphore,
    pub(crate) metrics: PipelineMetrics,
}

impl Lane {
    pub(crate) fn new(pipeline: &str, limit: u32, metrics: &GatewayMetrics) -> Arc<Self> {
        Arc::new(Self { limit, places: Semaphore::new(limit as usize), metrics: metrics.of(pipeline) })
    }
}

/// A release of a pipeline that is served, or warmed to be served next.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) release: ReleaseBody,
    pub(crate) params: RouteParams,
    pub(crate) weights: Arc<BTreeMap<String, f64>>,
    pub(crate) tokenize: Pooled,
    pub(crate) retrieve: Pooled,
    pub(crate) rank: Option<Pooled>,
    pub(crate) fallback: Option<Pooled>,
    pub(crate) lane: Arc<Lane>,
    warmed: AtomicBool,
}

/// A route that names a pool nobody runs.
#[derive(Debug)]
pub(crate) struct NoPool {
    pub(crate) step: Step,
    pub(crate) pool: Name,
}

impl Served {
    pub(crate) fn new(
        name: String,
        route: Route,
        stages: &HashMap<Name, Arc<dyn Stage>>,
        lane: Arc<Lane>,
    ) -> Result<Self, NoPool> {
        let Route { release, tokenize, retrieve, rank, fallback, params } = route;
        let find = |step, pool: Name| match stages.get(&pool) {
            Some(stage) => Ok(Pooled { stage: Arc::clone(stage), pool }),
            None => Err(NoPool { step, pool }),
        };
        Ok(Self {
            release: release.into(),
            weights: Arc::new(params.weights.clone()),
            tokenize: find(Step::Tokenize, tokenize)?,
            retrieve: find(Step::Retrieve, retrieve)?,
            rank: rank.map(|pool| find(Step::Rank, pool)).transpose()?,
            fallback: fallback.map(|pool| find(Step::Fallback, pool)).transpose()?,
            warmed: AtomicBool::new(false),
            lane,
            params,
            name,
        })
    }

    /// Every stage that must be ready.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Step, &Pooled)> {
        let always = [(Step::Tokenize, &self.tokenize), (Step::Retrieve, &self.retrieve)];
        let rank = self.rank.as_ref().map(|pooled| (Step::Rank, pooled));
        let fallback = self.fallback.as_ref().map(|pooled| (Step::Fallback, pooled));
        always.into_iter().chain(rank).chain(fallback)
    }

    /// Whether every stage was seen ready at once, now or at an earlier asking.
    pub(crate) fn was_warm(&self) -> bool {
        if !self.warmed.load(Ordering::Relaxed) && self.steps().all(|(_, pooled)| pooled.stage.ready()) {
            self.warmed.store(true, Ordering::Relaxed);
        }
        self.warmed.load(Ordering::Relaxed)
    }
}
