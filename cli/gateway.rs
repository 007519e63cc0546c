//! `recmesh gateway`: serves the pipelines of a cluster over HTTP.
//!
//! In: the API server of this pod or of `KUBECONFIG`. Out: two ports, one for callers and one for the cluster. Asked to
//! stop, it says so by `/readyz`, serves on for the notice, finishes what it has and ends.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use recmesh_gateway::{
    Cluster, Limits,
    discovery::{self, Scope},
    ports, serve_beside,
};
use recmesh_telemetry::Telemetry;
use tokio::net::TcpListener;

use crate::{args::Gateway, interrupt::Interrupt};

/// Serves until asked to stop.
///
/// # Errors
/// When a port is taken or there is no configuration for an API server. That the server is away is none.
pub fn run(options: &Gateway) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options, interrupt))
}

async fn serve(options: &Gateway, interrupt: Arc<Interrupt>) -> Result<()> {
    let http = bind(options.listen, "--listen").await?;
    let admin = bind(options.admin, "--admin").await?;
    let telemetry = Telemetry::new();
    let scope = Scope {
        namespaces: options.namespaces.iter().cloned().collect(),
        default_namespace: options.default_namespace.clone(),
    };
    let (routes, watching) = discovery::start(discovery::connect().await?, scope, &telemetry);
    let watching = tokio::spawn(watching);
    let ports = ports(Cluster { routes, telemetry, limits: Limits::default() });
    let stop = async move { interrupt.raised().await };
    let notice = options.notice;
    // Not the timer itself: that would run from here on.
    let notice = async move { tokio::time::sleep(notice).await };
    let served = serve_beside((http, ports.http), (admin, ports.admin), stop, notice);
    tokio::select! {
        served = served => Ok(served?),
        // It never ends by itself: without it the gateway would serve an old table for ever.
        ended = watching => bail!("the watch over the cluster ended: {ended:?}"),
    }
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (choose another with {flag})"))
}
