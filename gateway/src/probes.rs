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
    app::{Inner, Path},
    edge::RequestId,
    reply,
    serve::Stopping,
    wire::Liveness,
};

/// `GET /livez`: the process answers.
pub(crate) async fn live() -> Response {
    reply::probe(true, &Liveness { live: true })
}

/// `GET /readyz`: whether requests can be sent; never while the process is asked to stop. See [`crate::ready`].
pub(crate) async fn ready(State(gateway): State<Arc<Inner>>, stopping: Option<Extension<Stopping>>) -> Response {
    let stopping = stopping.is_some_and(|Extension(stopping)| stopping.is_said());
    let readiness = gateway.gate.look(&gateway.routes.now(), stopping);
    reply::probe(readiness.ready, &readiness)
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
pub(crate) async fn no_route(
    paths: &'static [Path],
    Extension(RequestId(id)): Extension<RequestId>,
    request: Request,
) -> Response {
    let there: Vec<String> = paths.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let text = format!("there is no path {}; there are: {}", request.uri().path(), there.join(", "));
    reply::problem(Failure::new(Class::NotFound, reason::NO_SUCH_ROUTE, text), &id)
}

/// A path asked with a method it does not take.
pub(crate) async fn no_method(
    paths: &'static [Path],
    Extension(RequestId(id)): Extension<RequestId>,
    request: Request,
) -> Response {
    let path = request.uri().path();
    let takes = paths.iter().find(|(_, route)| *route == path).map_or("another method", |(method, _)| method);
    let text = format!("{path} takes {takes}, not {}", request.method());
    reply::problem(Failure::new(Class::Invalid, reason::METHOD_NOT_ALLOWED, text), &id)
}
