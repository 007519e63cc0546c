//! The operator's process: builds the parts, ties them, waits.
//!
//! In: settings, an address, a name, the wish to stop. Out: nothing but what the parts write. Watches run from the
//! beginning, so a replica that waits knows the cluster when its turn comes; controllers and pollers run while this
//! replica leads.
//!
//! ```text
//! watches ─► complete ─► ┌ wait for the lease ─► begin ─► controllers, pollers ─► end ┐ ─► release
//!                        └───────────────────── lease lost: drop what runs ◄──────────┘
//! ```

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use recmesh_telemetry::Telemetry;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    OperatorConfig, admin,
    apply::Applier,
    clients,
    controllers::{Steps, dispatch::Queues, look::Looks, triggers::Triggers},
    events::Notices,
    fence::Fence,
    lease::Election,
    pollers::{gateways::Gateways, reports::Polls},
    watches::{Caches, feed::Watches, unreadable::Unreadable},
};

/// How long looks that run may take to end when the process is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What the process is told on its command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where probes and metrics are answered.
    pub admin: SocketAddr,
    /// This replica's name; no other's.
    pub identity: String,
}

/// Why the operator could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No way to the API server.
    #[error("no way to the API server: {0}; give the pod a service account, or set KUBECONFIG")]
    Client(#[from] kube::Error),
    /// The admin port cannot be taken.
    #[error("cannot listen on {0}: {1}")]
    Admin(SocketAddr, #[source] std::io::Error),
}

/// Runs the operator until told to stop.
///
/// # Errors
/// When it cannot begin; once it has, it goes on.
pub async fn run(
    config: OperatorConfig,
    options: Options,
    telemetry: Telemetry,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let place = clients::place().await?;
    let elects = config.leader_election.enabled;
    let fence = if elects { Fence::shut() } else { Fence::open() };
    let client = clients::fenced(place.clone(), &fence)?;
    let lease_client = clients::fenced(place, &Fence::open())?;
    let operator = Operator::new(config, &options.identity, client, fence, &telemetry, Steps::own());
    let listener = admin::listen(options.admin).await.map_err(|error| RunError::Admin(options.admin, error))?;
    let (stopping, stopped) = watch::channel(false);
    let mut told = stopped.clone();
    let router = admin::router(operator.caches.clone(), telemetry);
    let served = tokio::spawn(admin::serve(listener, router, async move {
        let _ = told.wait_for(|stop| *stop).await;
    }));
    tracing::info!(admin = %options.admin, identity = options.identity, "the operator has begun");
    operator.run(lease_client, stop).await;
    stopping.send_replace(true);
    let _ = timeout(Duration::from_secs(1), served).await;
    Ok(())
}

/// The parts of the operator, tied.
pub struct Operator {
    config: OperatorConfig,
    identity: String,
    fence: Fence,
    pub(crate) caches: Caches,
    pub(crate) queues: Queues,
    triggers: Arc<Triggers>,
    looks: Arc<Looks>,
    watches: Watches,
    gateways: Option<Gateways>,
}

impl Operator {
    /// Ties the parts over a client whose writes pass the fence.
    #[must_use]
    pub fn new(
        config: OperatorConfig,
        identity: &str,
        client: Client,
        fence: Fence,
        telemetry: &Telemetry,
        steps: Steps,
    ) -> Self {
        let metrics = telemetry.operator().clone();
        let caches = Caches::new(&config);
        let world = caches.world(config.clone());
        let unreadable = Unreadable::default();
        let queues = Queues::new(config.concurrency, metrics.clone());
        let changed = Arc::new(Notify::new());
        let (heard, asked) = (unreadable.clone(), Arc::clone(&changed));
        let triggers = Arc::new(Triggers::new(world.clone(), steps, queues.clone(), heard, asked));
        let looks = Arc::new(Looks {
            world: world.clone(),
            caches: caches.clone(),
            unreadable: unreadable.clone(),
            steps,
            applier: Applier::new(client.clone(), caches.clone(), Arc::clone(&triggers), metrics.clone()),
            triggers: Arc::clone(&triggers),
            notices: Notices::new(client.clone(), identity, metrics.clone()),
            polls: Polls::new(world.clone()),
            metrics: metrics.clone(),
        });
        let gateways = config.gateway.is_some().then(|| Gateways {
            world: world.clone(),
            slices: caches.slices.store(),
            changed: Arc::clone(&changed),
            triggers: Arc::clone(&triggers),
        });
        let watches = Watches {
            client,
            caches: caches.clone(),
            unreadable,
            triggers: Arc::clone(&triggers),
            metrics,
            gateways: changed,
        };
        let identity = identity.to_owned();
        Self { config, identity, fence, caches, queues, triggers, looks, watches, gateways }
    }

    /// Runs until told to stop; the lease, where there is one, is released at the end.
    pub async fn run(&self, lease_client: Client, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let told = async {
            stop.await;
            stopping.send_replace(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told => {}
            () = self.run_until(lease_client, stopped) => {}
        }
    }

    async fn run_until(&self, lease_client: Client, stopped: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        self.watches.start(&self.config, &mut tasks);
        tokio::select! {
            () = until(&stopped, true) => return,
            complete = self.caches.complete() => if complete.is_err() { return },
        }
        tracing::info!("the first lists are complete");
        if !self.config.leader_election.enabled {
            self.watches.metrics.leader(true);
            return self.act(until(&stopped, true), std::future::pending()).await;
        }
        let settings = self.config.leader_election.clone();
        let metrics = self.watches.metrics.clone();
        let mut election = Election::new(lease_client, settings, self.identity.clone(), self.fence.clone(), metrics);
        let leads = election.leads();
        let acting = async {
            while !*stopped.borrow() {
                tokio::select! {
                    () = until(&stopped, true) => {}
                    () = until(&leads, true) => self.act(until(&stopped, true), until(&leads, false)).await,
                }
            }
        };
        // The lease is renewed while looks that run come to their end.
        tokio::select! {
            () = acting => {}
            () = election.run() => {}
        }
        election.release().await;
    }

    /// Acts until told to stop, then lets what runs end; or until the lease is lost, then drops what runs.
    async fn act(&self, stop: impl Future<Output = ()>, lost: impl Future<Output = ()>) {
        self.triggers.begin();
        let look = |subject| Arc::clone(&self.looks).look(subject);
        let controllers = async {
            let (stopping, mut stopped) = watch::channel(false);
            let run = self.queues.run(look, async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            });
            let stop = async {
                stop.await;
                stopping.send_replace(true);
                tokio::time::sleep(DRAIN).await;
                tracing::warn!("looks that take too long are dropped");
            };
            tokio::select! {
                () = run => {}
                () = stop => {}
            }
        };
        let gateways = async {
            match &self.gateways {
                Some(gateways) => gateways.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = controllers => {}
            () = lost => tracing::warn!("the lease is lost: looks that run are dropped"),
            () = self.looks.polls.run(&self.triggers) => {}
            () = gateways => {}
        }
        self.triggers.end();
        self.looks.polls.clear();
        self.looks.applier.forget();
    }
}

/// Ends when the value is this one, or can no longer change.
async fn until(value: &watch::Receiver<bool>, wanted: bool) {
    let _ = value.clone().wait_for(|value| *value == wanted).await;
}
