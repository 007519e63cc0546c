//! Asks every ready gateway which releases it has warmed and serves.
//!
//! In: the gateways' addresses, by watch; whether some pipeline waits for them. Out: what each told, and wishes to look
//! where anything has changed. A gateway that does not answer counts as one that has warmed nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::Store;
use recmesh_contract::config::RoutesReport;
use recmesh_crds::{Pipeline, READY, condition};
use tokio::{sync::Notify, time::timeout};

use super::get::get;
use crate::{controllers::triggers::Triggers, names, world::World};

/// Time between two questions while a pipeline waits for the answer.
const SOON: Duration = Duration::from_secs(2);
/// Time between two questions otherwise.
const SELDOM: Duration = Duration::from_secs(30);
/// The longest answer: a thousand pipelines with two releases each.
const MOST: usize = 1 << 20;
/// Questions at once.
const AT_ONCE: usize = 16;

/// Asks gateways.
pub struct Gateways {
    /// Whom pipelines wait for.
    pub world: World,
    /// Where they are.
    pub slices: Store<EndpointSlice>,
    /// Told when that changes, or when a pipeline begins to wait.
    pub changed: Arc<Notify>,
    /// Who hears of news.
    pub triggers: Arc<Triggers>,
}

impl Gateways {
    /// Asks every gateway again and again, until dropped.
    pub async fn run(&self) {
        loop {
            self.ask().await;
            let wait = if self.awaited() { SOON } else { SELDOM };
            // Whether it was told or the time is up, it is time to ask.
            let _ = timeout(wait, self.changed.notified()).await;
        }
    }

    /// Asks every gateway once.
    pub async fn ask(&self) {
        let answers: BTreeMap<String, Option<RoutesReport>> = stream::iter(addresses(&self.slices))
            .map(|address| async move {
                let answer = get::<RoutesReport>(address, "/routes", MOST).await;
                if let Err(error) = &answer {
                    tracing::debug!(%address, %error, "a gateway does not answer");
                }
                (address.to_string(), answer.ok())
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        if self.world.told.put_gateways(answers) {
            self.triggers.gateways();
        }
    }

    fn awaited(&self) -> bool {
        self.world.pipelines.state().iter().any(|pipeline| waits(pipeline))
    }
}

/// Whether a pipeline waits for gateways.
fn waits(pipeline: &Pipeline) -> bool {
    pipeline.status.as_ref().is_none_or(|status| {
        status.candidate.is_some() || condition(&status.conditions, READY).is_none_or(|ready| ready.status != "True")
    })
}

/// The admin addresses of the gateways that are ready.
fn addresses(slices: &Store<EndpointSlice>) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for slice in slices.state() {
        let named = slice.ports.iter().flatten().find(|port| port.name.as_deref() == Some("admin"));
        let port = named.and_then(|port| port.port).unwrap_or(names::ADMIN_PORT);
        let Ok(port) = u16::try_from(port) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            // Absent means ready.
            if conditions.and_then(|conditions| conditions.ready) == Some(false) {
                continue;
            }
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            all.extend(address.map(|address| SocketAddr::new(address, port)));
        }
    }
    all.sort();
    all.dedup();
    all
}
