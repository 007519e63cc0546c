//! Puts the routers together: one for local mode, with everything looked up once, and a pair for a cluster, over a
//! table that discovery replaces.
//!
//! In: pipelines and their stages, or discovery's table. Out: routers for [`crate::serve`]. Nothing here handles a
//! request.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router, middleware,
    routing::{MethodRouter, get, post},
};
use recmesh_contract::{Name, Stage, config::RouteTable};
use recmesh_telemetry::{PipelineMetrics, Telemetry};
use tokio::time::Instant;

use crate::{
    decode::Large,
    edge::{Ids, around},
    openapi::document,
    probes,
    ready::Gate,
    recommend::recommend,
    report,
    route::{Lane, NoPool, Served},
    table::{Pipeline, Routes, Table},
};

/// A method and a path.
pub(crate) type Path = (&'static str, &'static str);

/// Every path of the one port in local mode.
pub(crate) const ROUTES: [Path; 5] =
    [("POST", "/v1/recommend"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/openapi.json"), ("GET", "/metrics")];
/// What a gateway in a cluster serves to callers; the rest of [`ROUTES`] lies on the admin port.
const HTTP: [Path; 4] = [ROUTES[0], ROUTES[1], ROUTES[2], ROUTES[3]];
/// What it serves to the cluster.
const ADMIN: [Path; 4] = [ROUTES[1], ROUTES[2], ROUTES[4], ("GET", "/routes")];

/// What a gateway in local mode serves.
pub struct Gateway {
    /// The pipelines.
    pub routes: RouteTable,
    /// A stage for every pool that a route names.
    pub stages: HashMap<Name, Arc<dyn Stage>>,
    /// Where it records, and what `/metrics` shows.
    pub telemetry: Telemetry,
    /// What a request may be.
    pub limits: Limits,
}

/// What a gateway in a cluster serves.
pub struct Cluster {
    /// The pipelines, from [`crate::discovery::start`].
    pub routes: Routes,
    /// Where it records, and what `/metrics` shows.
    pub telemetry: Telemetry,
    /// What a request may be.
    pub limits: Limits,
}

/// The two ports of a gateway in a cluster.
pub struct Ports {
    /// For callers: `/v1/recommend`, `/openapi.json` and probes.
    pub http: Router,
    /// For the cluster: probes, `/metrics` and `/routes`.
    pub admin: Router,
}

/// What a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body in bytes; 1 MiB holds a history of 10,000 items.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 1 << 20 }
    }
}

/// Why a gateway cannot be put together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GatewayError {
    /// A route names a pool that is not there.
    #[error("pipeline {pipeline} needs pool {pool} for its {stage} stage, and no such pool runs")]
    NoPool {
        /// The pipeline.
        pipeline: String,
        /// The stage.
        stage: &'static str,
        /// The pool.
        pool: Name,
    },
}

/// What handlers share.
pub(crate) struct Inner {
    pub(crate) routes: Routes,
    pub(crate) gate: Gate,
    pub(crate) telemetry: Telemetry,
    pub(crate) limits: Limits,
    pub(crate) large: Large,
    /// Records requests that name no pipeline there is.
    pub(crate) unrouted: PipelineMetrics,
    pub(crate) openapi: String,
}

impl Inner {
    fn new(routes: Routes, gate: Gate, telemetry: Telemetry, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            routes,
            gate,
            limits,
            large: Large::new(),
            unrouted: telemetry.gateway().of("none"),
            openapi: document().to_string(),
            telemetry,
        })
    }
}

/// The HTTP service of local mode, ready for [`crate::serve`].
///
/// # Errors
/// When a route names a pool that is not among the stages.
pub fn app(gateway: Gateway) -> Result<Router, GatewayError> {
    let Gateway { routes, stages, telemetry, limits } = gateway;
    let metrics = telemetry.gateway();
    let serve = |(name, route): (String, recmesh_contract::config::Route)| {
        let lane = Lane::new(&name, route.params.max_concurrency, metrics);
        let served = Served::new(name.clone(), route, &stages, lane);
        let missing = |NoPool { step, pool }| GatewayError::NoPool { pipeline: name.clone(), stage: step.name(), pool };
        Ok((name.clone(), Pipeline { current: Some(Arc::new(served.map_err(missing)?)), known: None }))
    };
    let pipelines = routes.routes.into_iter().map(serve).collect::<Result<_, _>>()?;
    let table = Table { pipelines, default_namespace: None, complete: Some(Instant::now()) };
    let inner = Inner::new(Routes::fixed(table), Gate::always(), telemetry, limits);
    Ok(router(&ROUTES, inner))
}

/// The services of a gateway in a cluster, ready for [`crate::serve_beside`].
#[must_use]
pub fn ports(cluster: Cluster) -> Ports {
    let Cluster { routes, telemetry, limits } = cluster;
    let inner = Inner::new(routes, Gate::once(), telemetry, limits);
    Ports { http: router(&HTTP, Arc::clone(&inner)), admin: router(&ADMIN, inner) }
}

fn router(paths: &'static [Path], inner: Arc<Inner>) -> Router {
    let mut router = Router::new();
    for (_, path) in paths {
        router = router.route(path, handler(path));
    }
    router
        .fallback(move |id, request| probes::no_route(paths, id, request))
        .method_not_allowed_fallback(move |id, request| probes::no_method(paths, id, request))
        .layer(middleware::from_fn_with_state(Ids::new(), around))
        .with_state(inner)
}

fn handler(path: &str) -> MethodRouter<Arc<Inner>> {
    match path {
        "/v1/recommend" => post(recommend),
        "/readyz" => get(probes::ready),
        "/metrics" => get(probes::metrics),
        "/openapi.json" => get(probes::openapi),
        "/routes" => get(report::routes),
        _ => get(probes::live),
    }
}
