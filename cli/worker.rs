//! `recmesh worker`: serves pools to gateways over gRPC, as its configuration file lists them.
//!
//! ## Loading => (Serving)
//! Ports are open, pools are loaded and warmed. A pool that cannot start ends the process.
//! ## Serving => (Leaving)
//! The file is read again when it changes: what is new is warmed beside what runs, what is gone finishes and goes. A
//! new pool that cannot start is told and tried again; it takes nothing away from the others.
//! ## Leaving
//! Asked to stop: `/readyz` says no, calls are served on for the notice, then refused; admitted ones are finished.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use recmesh_contract::{Stage, config::WorkerConfig};
use recmesh_pool::Host;
use recmesh_store::{Place, Store};
use recmesh_telemetry::Telemetry;
use recmesh_wire::{PoolState, Pools};
use serde_json::{Map, Value, json};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    admin::{self, Readiness},
    args::Worker,
    config,
    console::{self, Wrong},
    interrupt::Interrupt,
    store,
};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two attempts to start what could not.
const AGAIN: u32 = 10;
/// Time to finish admitted calls, and then to send their answers.
const DRAIN: Duration = Duration::from_secs(15);
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves until asked to stop.
///
/// # Errors
/// When the configuration is wrong, the store is not there, a port is taken, or a pool cannot start at first.
pub fn run(options: &Worker) -> Result<()> {
    let list: WorkerConfig = config::read(&options.config)?;
    let store = match store::place(&options.artifacts.store)? {
        Place::Folder(folder) => Store::open_existing(&folder)?,
        Place::Bucket(bucket) => store::bucket(&bucket, &options.artifacts.cache)?,
    };
    let interrupt = Interrupt::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(options, list, store, &interrupt));
    // What could not be finished in time is not waited for either.
    runtime.shutdown_background();
    served
}

/// What the process tells of itself.
struct Desk {
    host: Host,
    started: AtomicBool,
    stopping: AtomicBool,
    /// What is wrong with the configuration file as it is now.
    wrong: Mutex<Option<String>>,
}

impl Desk {
    /// Ready once every pool of the first list has been warm. From then on a pool that is added takes the process out of
    /// nobody's list: which pools are ready each caller asks over the wire.
    fn readiness(&self) -> Readiness {
        let states = self.host.states();
        let serves = states.iter().any(|state| state.waiting.is_none());
        let stopping = self.stopping.load(Ordering::SeqCst);
        let ready = serves && self.started.load(Ordering::SeqCst) && !stopping;
        let from = |state: &recmesh_pool::HostedState| Some((state.name.to_string(), json!(state.from.as_ref()?)));
        let serves_from: Map<String, Value> = states.iter().filter_map(from).collect();
        let pools: Map<String, Value> = states
            .into_iter()
            .map(|state| (state.name.to_string(), state.waiting.map_or(json!("ready"), Value::from)))
            .collect();
        let mut detail = json!({ "ready": ready, "stopping": stopping, "pools": pools, "servesFrom": serves_from });
        if let Some(wrong) = &*self.wrong.lock().unwrap_or_else(PoisonError::into_inner) {
            detail["configuration"] = json!(wrong);
        }
        Readiness { ready, detail }
    }

    fn tell_wrong(&self, wrong: Option<String>) {
        if let Some(wrong) = &wrong {
            tracing::error!(wrong, "the configuration cannot be followed; what runs goes on");
        }
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }
}

impl Pools for Desk {
    fn stage(&self, pool: &str) -> Option<Arc<dyn Stage>> {
        self.host.stage(pool)
    }

    fn states(&self) -> Vec<PoolState> {
        let state = |state: recmesh_pool::HostedState| PoolState {
            name: state.name.to_string(),
            ready: state.waiting.is_none(),
            detail: state.waiting.unwrap_or_default(),
        };
        self.host.states().into_iter().map(state).collect()
    }
}

async fn serve(options: &Worker, list: WorkerConfig, store: Store, interrupt: &Interrupt) -> Result<()> {
    let calls = admin::bind(options.listen, "--listen").await?;
    let probes = admin::bind(options.admin, "--admin").await?;
    let (address, admin_address) = (calls.local_addr()?, probes.local_addr()?);
    let telemetry = Telemetry::new();
    let desk = Arc::new(Desk {
        host: Host::new(store, telemetry.pool().clone()),
        started: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        wrong: Mutex::new(None),
    });
    let (hang_up, hung_up) = oneshot::channel::<()>();
    let pools: Arc<dyn Pools> = Arc::clone(&desk) as _;
    let mut server = tokio::spawn(recmesh_wire::serve(calls, pools, async move {
        // Dropping the sender says the same.
        let _ = hung_up.await;
    }));
    let shown = Arc::clone(&desk);
    let router = admin::router(telemetry, move || shown.readiness());
    let life = async {
        tokio::select! {
            lived = live(options, list, &desk, interrupt) => lived?,
            served = &mut server => bail!("calls are served no more: {served:?}"),
        }
        drop(hang_up);
        if timeout(GOODBYE, server).await.is_err() {
            console::warn("connections did not end in time and are cut");
        }
        Ok(())
    };
    console::say(&format!("listening on {address}, admin on http://{admin_address}"));
    admin::serve_until(probes, router, life).await?
}

/// From loading to the last admitted call.
async fn live(options: &Worker, list: WorkerConfig, desk: &Desk, interrupt: &Interrupt) -> Result<()> {
    let read = fs::read(&options.config).unwrap_or_default();
    tokio::select! {
        applied = desk.host.apply(&list) => applied.map_err(|error| Wrong(error.to_string()))?,
        () = interrupt.raised() => return Ok(()),
    }
    let failed = desk.host.states().into_iter().filter_map(|state| Some(format!("{}: {}", state.name, state.waiting?)));
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    desk.started.store(true, Ordering::SeqCst);
    console::say("serving");
    tokio::select! {
        () = follow(options.config.clone(), read, list, desk) => {}
        () = interrupt.raised() => {}
    }
    desk.stopping.store(true, Ordering::SeqCst);
    // Whoever keeps the list of workers learns of it from `/readyz` meanwhile.
    tokio::time::sleep(options.notice).await;
    if timeout(DRAIN, desk.host.drain()).await.is_err() {
        console::warn("admitted calls did not end in time and are dropped");
    }
    Ok(())
}

/// Does what the file says, whenever it changes.
async fn follow(path: PathBuf, mut read: Vec<u8>, mut list: WorkerConfig, desk: &Desk) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut since = 0;
    loop {
        looks.tick().await;
        since += 1;
        // A file that is being replaced may not be there for a moment.
        let Some(now) = look(&path).await else { continue };
        if now == read {
            let failed = || desk.host.states().iter().any(|state| state.waiting.is_some());
            if since % AGAIN != 0 || !failed() {
                continue;
            }
        } else {
            read = now;
            match config::parse(&read) {
                Ok(parsed) => list = parsed,
                Err(error) => {
                    desk.tell_wrong(Some(format!("{}: {error}", path.display())));
                    continue;
                }
            }
        }
        since = 0;
        let applied = desk.host.apply(&list).await;
        desk.tell_wrong(applied.err().map(|error| format!("{}: {error}", path.display())));
    }
}

async fn look(path: &Path) -> Option<Vec<u8>> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || fs::read(path).ok()).await.ok().flatten()
}
