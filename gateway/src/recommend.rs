//! The route that recommends: lists its steps.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt;
use recmesh_contract::{Class, Failure, reason};
use tokio::time::Instant;

use crate::{admit::admit, app::Inner, body, decode::decode, edge::RequestId, parse::parse, reply, stages};

/// `POST /v1/recommend`.
pub(crate) async fn recommend(
    State(gateway): State<Arc<Inner>>,
    Extension(RequestId(id)): Extension<RequestId>,
    request: Request,
) -> Response {
    // A defect here costs this request an error with its id, not the connection.
    let steps = AssertUnwindSafe(steps(&gateway, Arc::clone(&id), request)).catch_unwind().await;
    let panicked = |_| Err(Failure::new(Class::Internal, reason::PANIC, "the gateway panicked on this request"));
    steps.unwrap_or_else(panicked).unwrap_or_else(|failure| reply::problem(failure, &id))
}

async fn steps(gateway: &Inner, id: Arc<str>, request: Request) -> Result<Response, Failure> {
    let since = Instant::now();
    let (head, body) = request.into_parts();
    let parsed = async {
        let bytes = body::read(&head.headers, body, gateway.limits.body_bytes).await?;
        let body = decode(bytes, &gateway.large).await?;
        // One look at the table: what this request is answered by does not change any more.
        parse(body, &head.headers, &gateway.routes.now())
    };
    // Before a pipeline is known the failure is nobody's.
    let parsed = parsed.await.inspect_err(|failure| gateway.unrouted.answered(failure.reason))?;
    tracing::Span::current().record("pipeline", parsed.route.name.as_str());
    let place = admit(&parsed.route, since)?;
    let answer = stages::drive(&parsed.route, parsed.request, since + parsed.time, id).await;
    match answer {
        Ok(answer) => {
            place.answered(if answer.fallback.is_some() { "fallback" } else { "ok" });
            Ok(reply::answer(answer, &parsed.route.release))
        }
        Err(failure) => {
            place.answered(failure.reason);
            Err(failure)
        }
    }
}
