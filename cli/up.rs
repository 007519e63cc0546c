//! `recmesh up`: jobs, then pools and the gateway in this process.
//!
//! The address is bound first, so that a taken port is said before anything is trained.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::TcpListener,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use recmesh_contract::{
    ArtifactId, Name, Stage,
    config::{PoolConfig, RouteTable, Serves},
};
use recmesh_gateway::{Gateway, Limits};
use recmesh_pool::{Pool, ServesFrom};
use recmesh_store::{Histories, Store, write_atomic};
use recmesh_telemetry::Telemetry;

use crate::{args::Up, console, interrupt::Interrupt, manifests, state::State, work};

/// Makes what is missing and serves until interrupted.
///
/// # Errors
/// When the manifests are wrong, the port is taken, another process holds the state folder, a job fails or a pool
/// cannot start.
pub fn run(options: &Up) -> Result<()> {
    let checked = manifests::read(&options.manifests)?;
    manifests::runnable(&checked)?;
    let folders = manifests::folders(&checked, &options.place)?;
    let listener = TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {} (choose another with --listen, port 0 takes a free one)", options.listen)
    })?;
    listener.set_nonblocking(true)?;
    let state = State::open(&options.place.state)?;
    // One that a killed process left would mislead.
    let _ = fs::remove_file(options.place.state.join(ADDRESS));
    let interrupt = Interrupt::install()?;
    let done = work::all(&checked.valid, &folders, &options.place, &state, &interrupt)?;
    console::say(&work::table(&done.reports));
    for line in done.reports.iter().filter_map(work::quantization) {
        console::say(&line);
    }
    if let Err(missed) = work::gates(&done.reports) {
        console::warn(&format!("{missed:#}"));
    }
    let reported =
        |tokenizer: &ArtifactId| done.reports.iter().find(|report| report.produced.as_ref() == Some(tokenizer));
    let digest =
        |tokenizer: &ArtifactId| reported(tokenizer).and_then(|report| report.digest.clone()).unwrap_or_default();
    let (pools, routes) = recmesh_plan::serving(&checked.valid, &done.made, &digest)?;
    if routes.routes.is_empty() {
        state.records.put_releases(&BTreeMap::new())?;
        console::say("no Pipeline in the manifests: nothing to serve");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(listener, &pools, routes, &state, &options.place.state, &interrupt));
    let _ = fs::remove_file(options.place.state.join(ADDRESS));
    served
}

/// The file in the state folder that holds the address in use.
const ADDRESS: &str = "address";

async fn serve(
    listener: TcpListener,
    configs: &[PoolConfig],
    routes: RouteTable,
    state: &State,
    folder: &Path,
    interrupt: &Arc<Interrupt>,
) -> Result<()> {
    let telemetry = Telemetry::new();
    let mut pools = Vec::new();
    let mut stages: HashMap<Name, Arc<dyn Stage>> = HashMap::new();
    for config in configs {
        let pool = Pool::start(config, &state.store, telemetry.pool())?;
        if let Some((ServesFrom::Cuda, why)) = pool.serves_from() {
            console::say(&format!("{} serves from a device: {why}", config.name));
        }
        stages.insert(config.name.clone(), pool.stage());
        pools.push(pool);
    }
    for pool in &pools {
        pool.warm_up().await?;
    }
    let releases =
        routes.routes.iter().map(|(pipeline, route)| Ok((Name::new(pipeline.as_str())?, route.release.clone())));
    state.records.put_releases(&releases.collect::<Result<_>>()?)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    write_atomic(&folder.join(ADDRESS), address.to_string().as_bytes())?;
    let lines = example_calls(&address.to_string(), configs, &routes, &state.store)?;
    let app = recmesh_gateway::app(Gateway { routes, stages, telemetry, limits: Limits::default() })?;
    console::say(&format!("\nserving on http://{address} — try:\n\n{lines}\n"));
    let wish = Arc::clone(interrupt);
    // Nothing balances over this process, so nothing needs notice of its end.
    recmesh_gateway::serve(listener, app, async move { wish.raised().await }, std::future::ready(())).await?;
    console::warn("stopping: finishing what was admitted");
    for pool in pools {
        pool.drain().await;
    }
    Ok(())
}

/// A `curl` line that works for each pipeline: a user that the data set knows.
fn example_calls(address: &str, pools: &[PoolConfig], routes: &RouteTable, store: &Store) -> Result<String> {
    let mut lines = BTreeSet::new();
    for (pipeline, route) in &routes.routes {
        let dataset = pools.iter().find_map(|pool| match &pool.serves {
            Serves::Tokenize { dataset, .. } if pool.name == route.tokenize => Some(dataset),
            _ => None,
        });
        let Some(dataset) = dataset else { continue };
        let histories = Histories::open(&store.path(dataset).join(recmesh_jobs::HISTORIES))?;
        let user = if histories.len() > 42 { histories.id(42) } else { histories.id(0) };
        let mut body = serde_json::json!({"user": user, "k": 10});
        if routes.routes.len() > 1 {
            body["pipeline"] = pipeline.as_str().into();
        }
        // A quote within a quoted word of the shell: end the word, escape a quote, go on.
        let body = body.to_string().replace('\'', r"'\''");
        lines.insert(format!("    curl -s {address}/v1/recommend -d '{body}'"));
    }
    Ok(lines.into_iter().collect::<Vec<_>>().join("\n"))
}
