//! Puts the router together: looks every stage up once, so that a request never meets a missing one.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use recmesh_contract::{Name, Stage, config::RouteTable};
use recmesh_telemetry::{PipelineMetrics, Telemetry};

use crate::{
    decode::Large,
    edge::{Ids, around},
    openapi::document,
    parse::Routes,
    probes,
    recommend::recommend,
    route::{NoPool, Served},
};

/// Every route: method and path.
pub(crate) const ROUTES: [(&str, &str); 5] =
    [("POST", "/v1/recommend"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json")];

/// What a gateway serves.
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
    pub(crate) telemetry: Telemetry,
    pub(crate) limits: Limits,
    pub(crate) large: Large,
    /// Records requests that name no pipeline there is.
    pub(crate) unrouted: PipelineMetrics,
    pub(crate) openapi: String,
}

/// The HTTP service, ready for [`crate::serve`].
///
/// # Errors
/// When a route names a pool that is not among the stages.
pub fn app(gateway: Gateway) -> Result<Router, GatewayError> {
    let Gateway { routes, stages, telemetry, limits } = gateway;
    let metrics = telemetry.gateway();
    let serve = |(name, route): (String, _)| {
        let served = Served::new(name.clone(), route, &stages, metrics);
        let missing = |NoPool { step, pool }| GatewayError::NoPool { pipeline: name.clone(), stage: step.name(), pool };
        Ok((name.clone(), served.map_err(missing)?))
    };
    let routes = routes.routes.into_iter().map(serve).collect::<Result<Routes, _>>()?;
    let inner = Inner {
        routes,
        limits,
        large: Large::new(),
        unrouted: metrics.of("none"),
        openapi: document().to_string(),
        telemetry: telemetry.clone(),
    };
    Ok(Router::new()
        .route("/v1/recommend", post(recommend))
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/metrics", get(probes::metrics))
        .route("/openapi.json", get(probes::openapi))
        .fallback(probes::no_route)
        .method_not_allowed_fallback(probes::no_method)
        .layer(middleware::from_fn_with_state(Ids::new(), around))
        .with_state(Arc::new(inner)))
}
