//! The stages of remote pools: one for each pool that a route names, however many routes do.
//!
//! In: the pools that are named now and the workers there are. Out: stages. A pool that is not named any more is let go,
//! and ends with the last request that holds it; until then it keeps the workers it had.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use recmesh_contract::{
    Call, Name, Reply, Stage,
    config::{Affinity, PoolPlace},
};
use recmesh_telemetry::WireMetrics;
use recmesh_wire::{Endpoint, RemoteStage};
use tokio::sync::watch;

/// A stage whose workers are elsewhere.
pub(crate) trait Workers: Stage {
    /// Why no worker can be called; nothing when one can.
    fn waiting(&self) -> Option<String>;
}

impl Workers for RemoteStage {
    fn waiting(&self) -> Option<String> {
        Self::waiting(self)
    }
}

/// Makes the stage of a pool over workers that come and go.
pub(crate) type Connect = Arc<dyn Fn(Name, Affinity, watch::Receiver<Vec<Endpoint>>) -> Arc<dyn Workers> + Send + Sync>;

/// Stages over the network.
pub(crate) fn remote(metrics: &WireMetrics) -> Connect {
    let metrics = metrics.clone();
    Arc::new(move |pool, affinity, endpoints| -> Arc<dyn Workers> {
        RemoteStage::recorded(pool, affinity, endpoints, &metrics)
    })
}

/// A stage and the list of its workers.
pub(crate) struct Pool {
    workers: Arc<dyn Workers>,
    endpoints: watch::Sender<Vec<Endpoint>>,
}

impl Pool {
    pub(crate) fn waiting(&self) -> Option<String> {
        self.workers.waiting()
    }
}

impl Stage for Pool {
    fn call(&self, call: Call) -> Reply {
        self.workers.call(call)
    }

    fn ready(&self) -> bool {
        self.workers.ready()
    }
}

/// Which pool: its namespace, its name, its Service, and whether it goes by users.
type Key = (String, Name, Name, bool);

/// Every pool that a route names.
pub(crate) struct Pools {
    connect: Connect,
    pools: HashMap<Key, Arc<Pool>>,
}

impl Pools {
    pub(crate) fn new(connect: Connect) -> Self {
        Self { connect, pools: HashMap::new() }
    }

    /// Begins to list the pools that are named: what is not asked of [`Naming::pool`] is let go at the end.
    pub(crate) fn naming(&mut self) -> Naming<'_> {
        let before = std::mem::take(&mut self.pools);
        Naming { pools: self, before }
    }

    /// Tells every pool its workers; those of a Service in a namespace.
    pub(crate) fn tell(&self, workers: impl Fn(&str, &str) -> Vec<Endpoint>) {
        for ((namespace, _, service, _), pool) in &self.pools {
            let now = workers(namespace, service.as_str());
            pool.endpoints.send_if_modified(|endpoints| {
                let changed = *endpoints != now;
                *endpoints = now;
                changed
            });
        }
    }
}

/// A listing of the pools that are named.
pub(crate) struct Naming<'a> {
    pools: &'a mut Pools,
    before: HashMap<Key, Arc<Pool>>,
}

impl Naming<'_> {
    /// The stages of these pools, kept or made.
    pub(crate) fn pools(&mut self, namespace: &str, places: &BTreeMap<Name, PoolPlace>) -> BTreeMap<Name, Arc<Pool>> {
        places.iter().map(|(name, place)| (name.clone(), self.pool(namespace, name, place))).collect()
    }

    fn pool(&mut self, namespace: &str, name: &Name, place: &PoolPlace) -> Arc<Pool> {
        let user = place.affinity == Affinity::User;
        let key = (namespace.to_owned(), name.clone(), place.service.clone(), user);
        let (connect, before) = (&self.pools.connect, &mut self.before);
        let make = || {
            let (endpoints, told) = watch::channel(Vec::new());
            Arc::new(Pool { workers: connect(name.clone(), place.affinity, told), endpoints })
        };
        let pool = self.pools.pools.entry(key).or_insert_with_key(|key| before.remove(key).unwrap_or_else(make));
        Arc::clone(pool)
    }
}
