//! Around every request: an id, a span in the caller's trace, one log line.
//!
//! A caller's `x-request-id` is kept when it is short and printable, otherwise one is made; `traceparent` is kept when
//! it can be read. Both go back with the response. The failure a response tells of is logged here, once.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use recmesh_contract::Class;
use recmesh_telemetry::{TraceParent, adopt};
use tracing::{Instrument, Span, field::Empty};

use crate::reply::Told;

/// The header that carries the request's id.
pub(crate) const ID_HEADER: &str = "x-request-id";
/// The header that carries the caller's trace.
pub(crate) const TRACE_HEADER: &str = "traceparent";
/// Longest id that is kept.
const ID_LENGTH: usize = 128;

/// The request's id, in its extensions.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) Arc<str>);

/// Makes ids: a random start for this process and a count.
#[derive(Clone, Debug)]
pub(crate) struct Ids(Arc<(RandomState, AtomicU64)>);

impl Ids {
    pub(crate) fn new() -> Self {
        Self(Arc::new((RandomState::new(), AtomicU64::new(0))))
    }

    fn next(&self) -> Arc<str> {
        let (state, count) = &*self.0;
        let number = count.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{:016x}", state.hash_one(number), state.hash_one((number, "low"))).into()
    }
}

/// Wraps a request.
pub(crate) async fn around(State(ids): State<Ids>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = given_id(request.headers()).unwrap_or_else(|| ids.next());
    let trace = given_trace(request.headers());
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        request_id = %id,
        trace_id = Empty,
        method = %request.method(),
        path = request.uri().path(),
        pipeline = Empty,
        status = Empty,
        reason = Empty,
    );
    if let Some(trace) = trace {
        span.record("trace_id", format!("{:032x}", trace.trace));
        adopt(&span, &trace);
    }
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    async {
        let mut response = next.run(request).await;
        log(&response, began);
        let headers = response.headers_mut();
        headers.extend(
            HeaderValue::from_str(&id).ok().map(|value| (axum::http::HeaderName::from_static(ID_HEADER), value)),
        );
        let trace = trace.and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok());
        headers.extend(trace.map(|value| (axum::http::HeaderName::from_static(TRACE_HEADER), value)));
        response
    }
    .instrument(span)
    .await
}

fn given_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(ID_HEADER)?.to_str().ok()?;
    let good = !id.is_empty() && id.len() <= ID_LENGTH && id.bytes().all(|c| c.is_ascii_graphic());
    good.then(|| id.into())
}

fn given_trace(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get(TRACE_HEADER)?.to_str().ok()?.parse().ok()
}

fn log(response: &Response, began: Instant) {
    let status = response.status().as_u16();
    let span = Span::current();
    span.record("status", status);
    if let Some(Told(failure)) = response.extensions().get() {
        span.record("reason", failure.reason);
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    match response.extensions().get::<Told>().map(|told| &told.0) {
        Some(failure) if failure.class == Class::Internal => {
            tracing::error!(status, ms, reason = failure.reason, diagnostic = failure.diagnostic, "failed");
        }
        Some(failure) => {
            // Counted by reason; a line for each would make an overload worse.
            tracing::debug!(status, ms, reason = failure.reason, diagnostic = failure.diagnostic, "refused");
        }
        None => tracing::debug!(status, ms, "answered"),
    }
}
