//! What the operator records: looks at resources, writes, watches, who leads.
//!
//! In: what controllers, watches and the lease do. Out: metrics whose labels are kinds and closed lists.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    metrics::{Buckets, Counters, Histograms, Listed, register},
    names,
};

/// What the operator records.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    reconciles: Counters<(Listed, Listed)>,
    reconcile: Histograms<Listed>,
    queued: Family<Listed, Gauge>,
    writes: Counters<Listed>,
    watch_errors: Counters<Listed>,
    leader: Arc<Gauge>,
}

impl OperatorMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let leader = Gauge::default();
        let own = Self {
            reconciles: Family::default(),
            reconcile: Family::new_with_constructor(Buckets::Seconds),
            queued: Family::default(),
            writes: Family::default(),
            watch_errors: Family::default(),
            leader: Arc::new(leader.clone()),
        };
        register(registry, names::OPERATOR_RECONCILES, "Looks at resources, by how they ended", own.reconciles.clone());
        register(registry, names::OPERATOR_RECONCILE, "Time of one look, writes included", own.reconcile.clone());
        register(registry, names::OPERATOR_QUEUED, "Resources that wait to be looked at", own.queued.clone());
        register(registry, names::OPERATOR_WRITES, "Objects and statuses written", own.writes.clone());
        register(registry, names::OPERATOR_WATCH_ERRORS, "Watches that broke", own.watch_errors.clone());
        register(registry, names::OPERATOR_LEADER, "Whether this replica acts", leader);
        own
    }

    /// A look at a resource has ended.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, time: Duration) {
        self.reconciles.get_or_create(&([(names::LABEL_KIND, kind)], [(names::LABEL_RESULT, result)])).inc();
        self.reconcile.get_or_create(&[(names::LABEL_KIND, kind)]).observe(time.as_secs_f64());
    }

    /// Resources of a kind that wait to be looked at, or are being looked at.
    pub fn queued(&self, kind: &'static str, resources: usize) {
        self.queued.get_or_create(&[(names::LABEL_KIND, kind)]).set(i64::try_from(resources).unwrap_or(i64::MAX));
    }

    /// An object of this kind was written or deleted; `status` for a resource's status, `event` for an event.
    pub fn written(&self, kind: &'static str) {
        self.writes.get_or_create(&[(names::LABEL_KIND, kind)]).inc();
    }

    /// A watch of this kind broke, or told what could not be read.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&[(names::LABEL_KIND, kind)]).inc();
    }

    /// Whether this replica acts.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}
