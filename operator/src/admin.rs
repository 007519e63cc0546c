//! The admin port: `/livez`, `/readyz`, `/metrics`.
//!
//! In: whether the caches are complete, the metrics. Out: HTTP. A replica that waits for its turn is ready too: it could
//! take over at once. Nothing here is meant for users.

use std::{future::Future, net::SocketAddr};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use recmesh_telemetry::Telemetry;
use tokio::net::TcpListener;

use crate::watches::Caches;

/// The admin port's routes.
pub fn router(caches: Caches, telemetry: Telemetry) -> Router {
    let ready = move || async move {
        if caches.is_complete() {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the first lists of the cluster's objects are not complete\n")
        }
    };
    let metrics = move || async move {
        match telemetry.encode() {
            Ok(text) => ([(CONTENT_TYPE, recmesh_telemetry::CONTENT_TYPE)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    };
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// Serves the admin port until told to stop.
///
/// # Errors
/// When the address cannot be taken.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers on a listener until told to stop.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the admin port has ended");
    }
}
