//! What is known of the cluster: routes, workers, and the releases made of them. Pure: no object is asked for here.
//!
//! In: objects as the watches tell them. Out: the table, and the workers of each pool. A route that cannot be read keeps
//! its last good state. A release whose route has not changed stays the same object, and so does a pipeline's limit,
//! so that what is in flight counts on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::{core::v1::ConfigMap, discovery::v1::EndpointSlice};
use kube::{Resource, api::ObjectMeta};
use recmesh_contract::{
    Name, Stage,
    config::{PoolPlace, Route, RouteFile},
};
use recmesh_telemetry::GatewayMetrics;
use tokio::time::Instant;

use super::{
    pools::{Connect, Pool, Pools},
    slices::{self, Slice},
    watch::Seen,
};
use crate::{
    route::{Lane, Served},
    table::{Pipeline, Table},
};

/// The key of a route's ConfigMap.
const FILE: &str = "route.json";

/// Namespace and name of an object.
type Id = (String, String);

/// What discovery knows of a pipeline beside what answers it.
pub(crate) struct Known {
    pub(crate) namespace: String,
    pub(crate) pipeline: Name,
    /// What is warmed to answer next.
    pub(crate) candidate: Option<Arc<Served>>,
    /// The pools of both releases.
    pub(crate) pools: BTreeMap<Name, Arc<Pool>>,
}

/// A release and what it was made from.
struct Made {
    route: Route,
    places: BTreeMap<Name, PoolPlace>,
    served: Arc<Served>,
}

/// What is known of the cluster.
pub(crate) struct Book {
    default_namespace: String,
    pub(crate) metrics: GatewayMetrics,
    files: BTreeMap<Id, RouteFile>,
    slices: BTreeMap<Id, Slice>,
    pools: Pools,
    /// The releases in the table, by pipeline.
    made: BTreeMap<String, Vec<Made>>,
    /// Whether the last table is not what the routes say any more.
    stale: bool,
    /// What the last table said of being complete.
    complete: Option<Instant>,
}

impl Book {
    pub(crate) fn new(default_namespace: String, metrics: GatewayMetrics, connect: Connect) -> Self {
        Self {
            default_namespace,
            metrics,
            files: BTreeMap::new(),
            slices: BTreeMap::new(),
            pools: Pools::new(connect),
            made: BTreeMap::new(),
            stale: false,
            complete: None,
        }
    }

    /// Notes what was seen of routes; says whether anything changed.
    pub(crate) fn routes(&mut self, namespace: Option<&str>, seen: Seen<ConfigMap>) -> bool {
        let changed = match seen {
            Seen::All(maps) => {
                let mut before = take_namespace(&mut self.files, namespace);
                let mut changed = false;
                for map in maps {
                    let id = id(map.meta());
                    let last = before.remove(&id);
                    let now = self.read(&id, map).or_else(|| last.clone());
                    changed |= now != last;
                    self.files.extend(now.map(|file| (id, file)));
                }
                changed || !before.is_empty()
            }
            Seen::Set(map) => {
                let id = id(map.meta());
                match self.read(&id, map) {
                    Some(file) => self.files.insert(id, file.clone()) != Some(file),
                    None => false,
                }
            }
            Seen::Gone(map) => self.files.remove(&id(map.meta())).is_some(),
            Seen::Lost(_) => false,
        };
        self.stale |= changed;
        changed
    }

    /// Notes what was seen of workers; says whether anything changed.
    pub(crate) fn slices(&mut self, namespace: Option<&str>, seen: Seen<EndpointSlice>) -> bool {
        match seen {
            Seen::All(all) => {
                let before = take_namespace(&mut self.slices, namespace);
                let ids = all.into_iter().filter_map(|slice| Some((id(slice.meta()), slices::read(slice)?)));
                let now: BTreeMap<Id, Slice> = ids.collect();
                let changed = before != now;
                self.slices.extend(now);
                changed
            }
            Seen::Set(slice) => {
                let id = id(slice.meta());
                let now = slices::read(slice);
                let changed = self.slices.get(&id) != now.as_ref();
                self.slices.remove(&id);
                self.slices.extend(now.map(|slice| (id, slice)));
                changed
            }
            Seen::Gone(slice) => self.slices.remove(&id(slice.meta())).is_some(),
            Seen::Lost(_) => false,
        }
    }

    /// A route's file; where it cannot be read, that is told and counted.
    fn read(&self, (namespace, name): &Id, map: ConfigMap) -> Option<RouteFile> {
        parse(map)
            .inspect_err(|error| {
                self.metrics.undiscovered("route");
                tracing::warn!(namespace, name, error, "a route cannot be read; the last good one stands");
            })
            .ok()
    }

    /// The table, where it is not the last one any more. `complete` is when everything became known.
    pub(crate) fn table(&mut self, complete: Option<Instant>) -> Option<Table> {
        if !std::mem::take(&mut self.stale) && self.complete == complete {
            return None;
        }
        self.complete = complete;
        let mut made = std::mem::take(&mut self.made);
        let mut pipelines = BTreeMap::new();
        let mut naming = self.pools.naming();
        for ((namespace, map), file) in &self.files {
            let full = format!("{namespace}/{}", file.pipeline);
            if pipelines.contains_key(&full) {
                tracing::warn!(pipeline = full, map, "another ConfigMap routes this pipeline already; left out");
                continue;
            }
            let before = made.remove(&full).unwrap_or_default();
            let pools = naming.pools(namespace, &named(file));
            let mut maker =
                Maker { full: &full, file, pools: &pools, metrics: &self.metrics, before, made: Vec::new() };
            let current = file.current.as_ref().and_then(|route| maker.release(route));
            let candidate = file.candidate.as_ref().and_then(|route| maker.release(route));
            self.made.insert(full.clone(), maker.made);
            let known = Known { namespace: namespace.clone(), pipeline: file.pipeline.clone(), candidate, pools };
            pipelines.insert(full, Pipeline { current, known: Some(known) });
        }
        Some(Table { pipelines, default_namespace: Some(self.default_namespace.clone()), complete })
    }

    /// Tells every pool its workers.
    pub(crate) fn refresh(&self) {
        let mut services: HashMap<(&str, &str), Vec<&Slice>> = HashMap::new();
        for ((namespace, _), slice) in &self.slices {
            services.entry((namespace, &slice.service)).or_default().push(slice);
        }
        self.pools.tell(|namespace, service| {
            slices::usable(services.get(&(namespace, service)).into_iter().flatten().copied())
        });
    }
}

/// Makes the releases of one pipeline.
struct Maker<'a> {
    full: &'a str,
    file: &'a RouteFile,
    pools: &'a BTreeMap<Name, Arc<Pool>>,
    metrics: &'a GatewayMetrics,
    before: Vec<Made>,
    made: Vec<Made>,
}

impl Maker<'_> {
    /// The release of a route: the one there was where nothing about it changed.
    fn release(&mut self, route: &Route) -> Option<Arc<Served>> {
        let places: BTreeMap<_, _> =
            pools_of(route).filter_map(|pool| Some((pool.clone(), self.file.pools.get(pool)?.clone()))).collect();
        let same = |made: &&Made| made.route == *route && made.places == places;
        let served = match self.before.iter().chain(&self.made).find(same) {
            Some(made) => Arc::clone(&made.served),
            None => {
                let stages: HashMap<Name, Arc<dyn Stage>> =
                    self.pools.iter().map(|(name, pool)| (name.clone(), Arc::clone(pool) as _)).collect();
                let lane = self.lane(route.params.max_concurrency);
                // Which pools there are was checked when the file was read.
                Arc::new(Served::new(self.full.to_owned(), route.clone(), &stages, lane).ok()?)
            }
        };
        self.made.push(Made { route: route.clone(), places, served: Arc::clone(&served) });
        Some(served)
    }

    /// The pipeline's places, shared by releases with the same limit.
    fn lane(&self, limit: u32) -> Arc<Lane> {
        let known = self.before.iter().chain(&self.made).map(|made| &made.served.lane).find(|lane| lane.limit == limit);
        known.map_or_else(|| Lane::new(self.full, limit, self.metrics), Arc::clone)
    }
}

fn parse(mut map: ConfigMap) -> Result<RouteFile, String> {
    let text = map.data.as_mut().and_then(|data| data.remove(FILE)).ok_or_else(|| format!("it has no key {FILE}"))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    let file: RouteFile = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| format!("{FILE}: {}: {}", error.path(), error.inner()))?;
    let routes = file.current.iter().chain(&file.candidate);
    let missing = routes.flat_map(pools_of).find(|pool| !file.pools.contains_key(pool)).cloned();
    match missing {
        Some(pool) => Err(format!("{FILE}: pools: pool {pool} of a route is missing")),
        None => Ok(file),
    }
}

/// The pools that the routes of a file name.
fn named(file: &RouteFile) -> BTreeMap<Name, PoolPlace> {
    let routes = file.current.iter().chain(&file.candidate);
    let pools = routes.flat_map(pools_of);
    pools.filter_map(|pool| Some((pool.clone(), file.pools.get(pool)?.clone()))).collect()
}

fn pools_of(route: &Route) -> impl Iterator<Item = &Name> {
    [&route.tokenize, &route.retrieve].into_iter().chain(&route.rank).chain(&route.fallback)
}

fn id(meta: &ObjectMeta) -> Id {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Takes out what lies in a namespace, or everything.
fn take_namespace<T>(all: &mut BTreeMap<Id, T>, namespace: Option<&str>) -> BTreeMap<Id, T> {
    let (taken, kept) =
        std::mem::take(all).into_iter().partition(|((own, _), _)| namespace.is_none_or(|namespace| own == namespace));
    *all = kept;
    taken
}
