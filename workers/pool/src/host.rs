//! The pools of a worker process, as its configuration lists them now.
//!
//! In: a list of pools, and later another one. Out: stages by name, and what each pool waits for. A pool that is new in
//! the list is loaded and warmed beside those that run; one that is listed no more finishes what it admitted and goes,
//! and its cores go to a pool that waits for some. A pool that cannot start says why and disturbs no other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;
use recmesh_contract::{
    Name, Stage,
    config::{PoolConfig, WorkerConfig},
};
use recmesh_store::Store;
use recmesh_telemetry::PoolMetrics;

use crate::Pool;

/// The pools of a process.
pub struct Host {
    store: Store,
    metrics: PoolMetrics,
    pools: Mutex<BTreeMap<Name, Hosted>>,
}

/// One pool of the list.
struct Hosted {
    config: PoolConfig,
    state: State,
}

/// Where a pool stands.
enum State {
    /// It is being loaded or warmed.
    Starting,
    /// It takes calls.
    Running(Arc<Pool>),
    /// It could not start, and why.
    Failed(String),
}

/// A pool of the list and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedState {
    /// The pool.
    pub name: Name,
    /// Why it takes no calls; `None` when it does.
    pub waiting: Option<String>,
    /// What its model serves from, and why; `None` without a model or before it is loaded.
    pub from: Option<String>,
}

/// A list that cannot be hosted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("pools: {0} is listed twice; every pool needs a name of its own")]
pub struct ListedTwice(pub Name);

impl Host {
    /// A host without pools.
    #[must_use]
    pub fn new(store: Store, metrics: PoolMetrics) -> Self {
        Self { store, metrics, pools: Mutex::default() }
    }

    /// Makes the list so: ends what is listed no more, starts what is new, tries again what failed before. Returns when
    /// all that is new is warm or has failed.
    ///
    /// # Errors
    /// When a name is listed twice; nothing has changed then.
    pub async fn apply(&self, list: &WorkerConfig) -> Result<(), ListedTwice> {
        let mut listed = BTreeMap::new();
        for config in &list.pools {
            if listed.insert(config.name.clone(), config).is_some() {
                return Err(ListedTwice(config.name.clone()));
            }
        }
        let (ends, starts) = {
            let mut pools = self.pools();
            let stays = |hosted: &Hosted| listed.get(&hosted.config.name) == Some(&&hosted.config);
            let leave: Vec<Name> =
                pools.iter().filter(|(_, hosted)| !stays(hosted)).map(|(name, _)| name.clone()).collect();
            let left = leave.iter().filter_map(|name| pools.remove(name));
            let ends: Vec<_> = left.filter_map(|hosted| hosted.state.running()).collect();
            let new = |config: &&PoolConfig| {
                !matches!(pools.get(&config.name), Some(Hosted { state: State::Running(_) | State::Starting, .. }))
            };
            let starts: Vec<PoolConfig> = list.pools.iter().filter(new).cloned().collect();
            for config in &starts {
                pools.insert(config.name.clone(), Hosted { config: config.clone(), state: State::Starting });
            }
            (ends, starts)
        };
        let end = async {
            join_all(ends.iter().map(|pool| pool.drain())).await;
        };
        let start = async {
            // One after the other: each takes its weights' memory once more while it loads.
            for config in starts {
                self.start(config).await;
            }
        };
        futures_util::future::join(end, start).await;
        for pool in self.running() {
            pool.pin().await;
        }
        Ok(())
    }

    /// Starts and warms one pool, and puts it in its place.
    async fn start(&self, config: PoolConfig) {
        let name = config.name.clone();
        let state = match self.warm(config).await {
            Ok(pool) => {
                tracing::info!(pool = %name, "a pool is ready");
                State::Running(Arc::new(pool))
            }
            Err(why) => {
                tracing::error!(pool = %name, why, "a pool cannot start");
                State::Failed(why)
            }
        };
        if let Some(hosted) = self.pools().get_mut(&name) {
            hosted.state = state;
        }
    }

    async fn warm(&self, config: PoolConfig) -> Result<Pool, String> {
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        let load = tokio::task::spawn_blocking(move || Pool::start(&config, &store, &metrics));
        let pool = load.await.map_err(|error| error.to_string())?.map_err(|error| told(&error))?;
        pool.warm_up().await.map_err(|failure| format!("the warm-up request failed: {failure}"))?;
        Ok(pool)
    }

    /// The stage of a pool that runs.
    #[must_use]
    pub fn stage(&self, pool: &str) -> Option<Arc<dyn Stage>> {
        let pools = self.pools();
        // A name is a key; looking it up by text would need one made of it.
        let hosted = pools.iter().find(|(name, _)| name.as_str() == pool)?.1;
        match &hosted.state {
            State::Running(pool) => Some(pool.stage()),
            State::Starting | State::Failed(_) => None,
        }
    }

    /// Every pool of the list, by name.
    #[must_use]
    pub fn states(&self) -> Vec<HostedState> {
        let state = |(name, hosted): (&Name, &Hosted)| HostedState {
            name: name.clone(),
            waiting: match &hosted.state {
                State::Starting => Some("it is being loaded".to_owned()),
                State::Running(pool) if pool.stage().ready() => None,
                State::Running(_) => Some("it is stopping".to_owned()),
                State::Failed(why) => Some(why.clone()),
            },
            from: match &hosted.state {
                State::Running(pool) => pool.serves_from().map(|(from, why)| format!("{}: {why}", from.as_str())),
                State::Starting | State::Failed(_) => None,
            },
        };
        self.pools().iter().map(state).collect()
    }

    /// Refuses new calls in every pool and finishes the admitted ones.
    pub async fn drain(&self) {
        join_all(self.running().iter().map(|pool| pool.drain())).await;
    }

    fn running(&self) -> Vec<Arc<Pool>> {
        self.pools().values().filter_map(|hosted| hosted.state.running()).collect()
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<Name, Hosted>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn running(&self) -> Option<Arc<Pool>> {
        match self {
            Self::Running(pool) => Some(Arc::clone(pool)),
            Self::Starting | Self::Failed(_) => None,
        }
    }
}

/// An error and everything behind it, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
