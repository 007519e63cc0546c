//! `recmesh operator`: reconciles the resources of a cluster.
//!
//! In: the settings that the chart renders; the API server of this pod or of `KUBECONFIG`. Out: what the operator
//! writes, and probes and metrics on the admin port. Asked to stop, it ends what it is writing and gives its lease up.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    process,
};

use anyhow::Result;
use recmesh_operator::{OperatorConfig, Options};
use recmesh_telemetry::Telemetry;

use crate::{args::Operator, console::Wrong, interrupt::Interrupt};

/// Runs until asked to stop.
///
/// # Errors
/// When the settings are wrong, the admin port is taken or there is no configuration for an API server.
pub fn run(options: &Operator) -> Result<()> {
    let file = options.config.display();
    let text = fs::read_to_string(&options.config).map_err(|error| Wrong(format!("cannot read {file}: {error}")))?;
    let config = OperatorConfig::parse(&text).map_err(|error| Wrong(format!("{file}: {error}")))?;
    let identity = options.identity.clone().unwrap_or_else(identity);
    let interrupt = Interrupt::install()?;
    // Two threads: the work is waiting for the API server, and small.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let options = Options { admin: options.admin, identity };
    runtime.block_on(recmesh_operator::run(config, options, Telemetry::new(), async move {
        interrupt.raised().await;
    }))?;
    Ok(())
}

/// A name that no other process has: an earlier life of this one is another process too.
fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let chance = RandomState::new().hash_one(process::id());
    format!("{}-{chance:016x}", host.trim())
}
