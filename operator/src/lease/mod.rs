//! Who acts: one of several replicas, by a Lease.
//!
//! In: the Lease, over a client of its own. Out: whether this replica leads, for whoever waits for it; and how far the
//! [`Fence`] reaches. The record is written by compare and swap: read, then replaced at the version that was read.
//!
//! ```text
//! get ─► evaluate ─► take or renew (replace) ─► fence reaches to sent + renew ─► leads
//!                └─► wait · stand down ─► fence shut ─► leads no more
//! ```
//!
//! A replica that has stood down keeps its caches and waits for its turn again: a restart would only cost a list. On
//! shutdown the lease is released, so another replica need not wait for it to end. What the API server is asked to
//! write is cut off at the fence; what it has already begun to write has the rest of the lease, `duration - renew`, to
//! end.

pub mod evaluate;

use std::time::Duration;

use evaluate::{Observed, Own, Step, evaluate};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use recmesh_telemetry::OperatorMetrics;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use crate::{config::LeaderElection, fence::Fence, names};

/// The lease as one replica takes part in it.
pub struct Election {
    api: Api<Lease>,
    settings: LeaderElection,
    own: Own,
    fence: Fence,
    leads: watch::Sender<bool>,
    metrics: OperatorMetrics,
    seen: Option<Seen>,
}

/// The record that was read last.
struct Seen {
    lease: Lease,
    observed: Observed,
}

impl Election {
    /// Takes part under this name; nobody else's.
    #[must_use]
    pub fn new(
        client: Client,
        settings: LeaderElection,
        identity: String,
        fence: Fence,
        metrics: OperatorMetrics,
    ) -> Self {
        let own = Own { identity, renewed: None, renew: settings.renew.duration() };
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, settings, own, fence, leads: watch::channel(false).0, metrics, seen: None }
    }

    /// Whether this replica leads, as it changes.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Takes part until dropped; [`Election::release`] should follow.
    pub async fn run(&mut self) {
        loop {
            let wait = self.turn().await;
            sleep(wait).await;
        }
    }

    /// One reading of the lease and what follows from it; how long to wait for the next.
    pub async fn turn(&mut self) -> Duration {
        let retry = self.settings.retry.duration();
        let now = Instant::now();
        let limit = match self.own.renewed {
            Some(renewed) => renewed + self.own.renew,
            None => now + self.own.renew,
        };
        match timeout_at(limit, self.api.get_opt(&self.settings.lease)).await {
            Ok(Ok(lease)) => self.see(lease, Instant::now()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease cannot be read");
                // What was seen last is all that is known; a leader stands down when it becomes too old.
                return self.keep_or_stand_down(retry);
            }
            Err(_) => return self.keep_or_stand_down(retry),
        }
        let observed = self.seen.as_ref().map(|seen| &seen.observed);
        match evaluate(observed, &self.own, Instant::now()) {
            Step::Take | Step::Renew => self.write(limit).await,
            Step::StandDown => self.stand_down(),
            Step::Wait(left) => return left.min(retry),
        }
        retry
    }

    /// Gives the lease up, so another may take it at once.
    pub async fn release(&mut self) {
        let held = self.own.renewed.is_some();
        self.stand_down();
        if !held {
            return;
        }
        let free = async {
            let Some(mut lease) = self.api.get_opt(&self.settings.lease).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(self.own.identity.as_str()) {
                spec.holder_identity = None;
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.settings.lease, &self.params(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout_at(Instant::now() + self.settings.retry.duration(), free).await {
            Ok(Ok(())) => tracing::info!("the lease is released"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease is not released; it ends by itself"),
            Err(_) => tracing::warn!("the lease is not released in time; it ends by itself"),
        }
    }

    fn keep_or_stand_down(&mut self, retry: Duration) -> Duration {
        let Some(renewed) = self.own.renewed else { return retry };
        let left = (renewed + self.own.renew).saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.stand_down();
        }
        left.min(retry)
    }

    /// Notes the record; it counts as unchanged only while it is the same to the letter.
    fn see(&mut self, lease: Option<Lease>, now: Instant) {
        let Some(lease) = lease else {
            self.seen = None;
            return;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let same = self.seen.as_ref().filter(|seen| seen.lease.spec == lease.spec);
        let since = same.map_or(now, |seen| seen.observed.since);
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let observed = Observed { holder, duration: Duration::from_secs(seconds), since };
        self.seen = Some(Seen { lease, observed });
    }

    /// Writes the record in our name, at the version that was read.
    async fn write(&mut self, limit: Instant) {
        let sent = Instant::now();
        let lease = self.record();
        let answer = if self.seen.is_some() {
            timeout_at(limit, self.api.replace(&self.settings.lease, &self.params(), &lease)).await
        } else {
            timeout_at(limit, self.api.create(&self.params(), &lease)).await
        };
        match answer {
            Ok(Ok(lease)) => {
                self.see(Some(lease), Instant::now());
                self.own.renewed = Some(sent);
                self.fence.extend(sent + self.own.renew);
                if !self.leads.send_replace(true) {
                    tracing::info!(identity = self.own.identity, "this replica leads");
                    self.metrics.leader(true);
                }
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                // Another was faster. Whether we still lead is told by what is read next.
                tracing::debug!("another replica has written the lease");
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be written"),
            Err(_) => {}
        }
        if let Some(renewed) = self.own.renewed
            && renewed + self.own.renew <= Instant::now()
        {
            self.stand_down();
        }
    }

    fn stand_down(&mut self) {
        self.fence.close();
        self.own.renewed = None;
        if self.leads.send_replace(false) {
            tracing::warn!(identity = self.own.identity, "this replica leads no more");
            self.metrics.leader(false);
        }
    }

    /// The record with us as the holder.
    fn record(&self) -> Lease {
        let now = MicroTime(Timestamp::now());
        let seen = self.seen.as_ref();
        let mut lease = seen.map(|seen| seen.lease.clone()).unwrap_or_default();
        if seen.is_none() {
            lease.metadata = ObjectMeta {
                name: Some(self.settings.lease.clone()),
                namespace: Some(self.settings.namespace.clone()),
                ..ObjectMeta::default()
            };
        }
        let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.own.identity.as_str()) || self.own.renewed.is_none() {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.holder_identity = Some(self.own.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.settings.duration.0.div_ceil(1000)).ok();
        spec.renew_time = Some(now);
        lease
    }

    fn params(&self) -> PostParams {
        PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() }
    }
}
