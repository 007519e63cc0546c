//! What watches the process: probes, metrics, the API's own description, and answers to paths there are not.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use recmesh_contract::{Class, Failure, reason};
use recmesh_telemetry::CONTENT_TYPE;

use crate::{
    app::{Inner, ROUTES},
    edge::RequestId,
    reply,
    serve::Stopping,
    wire::{Liveness, NotReady, Readiness},
};

/// `GET /livez`: the process answers.
pub(crate) async fn live() -> Response {
    reply::probe(true, &Liveness { live: true })
}

/// `GET /readyz`: 200 only when every stage of every pipeline has answered a request of its own and nobody has asked
/// this process to stop.
pub(crate) async fn ready(State(gateway): State<Arc<Inner>>, stopping: Option<Extension<Stopping>>) -> Response {
    let mut not_ready = Vec::new();
    for route in gateway.routes.values() {
        for (step, pooled) in route.steps().filter(|(_, pooled)| !pooled.stage.ready()) {
            let (pipeline, pool) = (route.name.clone(), pooled.pool.to_string());
            not_ready.push(NotReady { pipeline, stage: step.name(), pool });
        }
    }
    let stopping = stopping.is_some_and(|Extension(stopping)| stopping.is_said());
    let ready = not_ready.is_empty() && !stopping;
    reply::probe(ready, &Readiness { ready, stopping, not_ready })
}

/// `GET /metrics`.
pub(crate) async fn metrics(
    State(gateway): State<Arc<Inner>>,
    Extension(RequestId(id)): Extension<RequestId>,
) -> Response {
    match gateway.telemetry.encode() {
        Ok(text) => reply::text(CONTENT_TYPE, text),
        Err(error) => reply::problem(Failure::new(Class::Internal, reason::WRONG_REPLY, error.to_string()), &id),
    }
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(State(gateway): State<Arc<Inner>>) -> Response {
    reply::text("application/json", gateway.openapi.clone())
}

/// Any path there is not.
pub(crate) async fn no_route(Extension(RequestId(id)): Extension<RequestId>, request: Request) -> Response {
    let routes: Vec<String> = ROUTES.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let text = format!("there is no path {}; there are: {}", request.uri().path(), routes.join(", "));
    reply::problem(Failure::new(Class::NotFound, reason::NO_SUCH_ROUTE, text), &id)
}

/// A path asked with a method it does not take.
pub(crate) async fn no_method(Extension(RequestId(id)): Extension<RequestId>, request: Request) -> Response {
    let path = request.uri().path();
    let takes = ROUTES.iter().find(|(_, route)| *route == path).map_or("another method", |(method, _)| method);
    let text = format!("{path} takes {takes}, not {}", request.method());
    reply::problem(Failure::new(Class::Invalid, reason::METHOD_NOT_ALLOWED, text), &id)
}
