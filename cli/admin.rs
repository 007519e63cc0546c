//! The admin port of a process in a cluster: probes, metrics, and what else its kind tells.
//!
//! In: what is to be told, asked anew each time. Out: `GET /livez`, `/readyz`, `/metrics`; others may be merged in.

use std::{future::Future, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use recmesh_telemetry::{CONTENT_TYPE, Telemetry};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Whether the process can be sent work, with what a person wants to know of it.
pub struct Readiness {
    /// `/readyz` answers 200.
    pub ready: bool,
    /// Its body.
    pub detail: Value,
}

/// The three paths that every process has. The process lives as long as it answers.
pub fn router(telemetry: Telemetry, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Router {
    let readiness = Arc::new(readiness);
    let readyz = move || {
        let Readiness { ready, detail } = readiness();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, Json(detail)))
    };
    let metrics = move || {
        std::future::ready(match telemetry.encode() {
            Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        })
    };
    Router::new()
        .route("/livez", get(async || Json(json!({ "live": true }))))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// Takes a port; `flag` says how to choose another.
///
/// # Errors
/// When it is taken.
pub async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (choose another with {flag}, port 0 takes a free one)"))
}

/// Serves to the end of the process.
pub async fn serve(listener: TcpListener, router: Router) {
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin port is served no more");
    }
}

/// Serves until `end` is over; open requests are cut then, as they are asked again anyway.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_until<T>(listener: TcpListener, router: Router, end: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        served = axum::serve(listener, router) => {
            served?;
            anyhow::bail!("the admin port is served no more")
        }
        end = end => Ok(end),
    }
}
