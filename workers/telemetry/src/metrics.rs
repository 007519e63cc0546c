//! The metrics as types: who records cannot mistype a name or invent a label.
//!
//! [`Telemetry`] owns the one registry of the process. Recording takes a short lock and, for a label set seen before,
//! allocates nothing beyond a shared name's count.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};

use crate::{names, operator::OperatorMetrics};

/// The content type of [`Telemetry::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label whose value the process was told at its start.
pub(crate) type Named = [(&'static str, Arc<str>); 1];
/// A label whose value stands in a closed list.
pub(crate) type Listed = [(&'static str, &'static str); 1];

pub(crate) type Counters<L> = Family<L, Counter<u64, AtomicU64>>;
pub(crate) type Histograms<L> = Family<L, Histogram, Buckets>;

/// What a family's histograms look like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Buckets {
    /// 50 µs to 13 s, doubling, in seconds.
    Seconds,
    /// 1 to 4,096, doubling.
    Requests,
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        match self {
            Self::Seconds => Histogram::new(exponential_buckets(50e-6, 2.0, 19)),
            Self::Requests => Histogram::new(exponential_buckets(1.0, 2.0, 13)),
        }
    }
}

fn named(key: &'static str, value: &Arc<str>) -> Named {
    [(key, Arc::clone(value))]
}

pub(crate) fn register(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    // The registry appends the suffix of counters itself.
    registry.register(name.strip_suffix("_total").unwrap_or(name), help, metric);
}

/// The metrics of a process.
#[derive(Clone, Debug)]
pub struct Telemetry {
    registry: Arc<Registry>,
    pool: PoolMetrics,
    gateway: GatewayMetrics,
    wire: WireMetrics,
    operator: OperatorMetrics,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let pool = PoolMetrics::new(&mut registry);
        let gateway = GatewayMetrics::new(&mut registry);
        let wire = WireMetrics::new(&mut registry);
        let operator = OperatorMetrics::new(&mut registry);
        Self { registry: Arc::new(registry), pool, gateway, wire, operator }
    }

    /// What pools record.
    #[must_use]
    pub fn pool(&self) -> &PoolMetrics {
        &self.pool
    }

    /// What a gateway records.
    #[must_use]
    pub fn gateway(&self) -> &GatewayMetrics {
        &self.gateway
    }

    /// What callers of remote pools record.
    #[must_use]
    pub fn wire(&self) -> &WireMetrics {
        &self.wire
    }

    /// What the operator records.
    #[must_use]
    pub fn operator(&self) -> &OperatorMetrics {
        &self.operator
    }

    /// Every metric that has a value, as OpenMetrics text, which Prometheus reads; see [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When a label cannot be written; no metric here has such a label.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What pools record, by pool.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    queued: Family<Named, Gauge>,
    batch: Histograms<Named>,
    compute: Histograms<Named>,
    wait: Histograms<Named>,
    refused: Counters<(Named, Listed)>,
    expired: Counters<Named>,
    cancelled: Counters<Named>,
    panics: Counters<Named>,
    restarts: Counters<Named>,
    illegal: Counters<Named>,
    weights: Family<(Named, Listed), Gauge>,
    engines: Family<(Named, Listed), Gauge>,
    graphs: Counters<Named>,
    eager: Counters<Named>,
    declined: Counters<Named>,
}

impl PoolMetrics {
    fn new(registry: &mut Registry) -> Self {
        let own = Self {
            queued: Family::default(),
            batch: Family::new_with_constructor(Buckets::Requests),
            compute: Family::new_with_constructor(Buckets::Seconds),
            wait: Family::new_with_constructor(Buckets::Seconds),
            refused: Family::default(),
            expired: Family::default(),
            cancelled: Family::default(),
            panics: Family::default(),
            restarts: Family::default(),
            illegal: Family::default(),
            weights: Family::default(),
            engines: Family::default(),
            graphs: Family::default(),
            eager: Family::default(),
            declined: Family::default(),
        };
        register(registry, names::POOL_QUEUED, "Requests waiting for an engine", own.queued.clone());
        register(registry, names::POOL_BATCH, "Requests computed together", own.batch.clone());
        register(registry, names::POOL_COMPUTE, "Time to compute one batch", own.compute.clone());
        register(registry, names::POOL_WAIT, "Time a request waited before its batch began", own.wait.clone());
        register(registry, names::POOL_REFUSED, "Requests refused at once", own.refused.clone());
        register(registry, names::POOL_EXPIRED, "Requests whose deadline passed while waiting", own.expired.clone());
        register(registry, names::POOL_CANCELLED, "Requests given up by their caller", own.cancelled.clone());
        register(registry, names::POOL_PANICS, "Batches that a panic ended", own.panics.clone());
        register(registry, names::POOL_RESTARTS, "Engines replaced after a panic", own.restarts.clone());
        register(registry, names::POOL_ILLEGAL, "Decoded semantic IDs that name no item", own.illegal.clone());
        register(registry, names::POOL_WEIGHTS, "Bytes of a model's weights as they are kept", own.weights.clone());
        register(registry, names::POOL_ENGINES, "Engines by what their model serves from", own.engines.clone());
        register(registry, names::DEVICE_GRAPHS, "Searches a device did as one graph", own.graphs.clone());
        register(registry, names::DEVICE_EAGER, "Searches launched kernel by kernel", own.eager.clone());
        register(registry, names::DEVICE_DECLINED, "Queries the CPU answered for a device", own.declined.clone());
        own
    }

    /// The recorder of one pool; look it up once and keep it.
    #[must_use]
    pub fn of(&self, pool: &str) -> PoolRecorder {
        let name: Arc<str> = pool.into();
        let label = named(names::LABEL_POOL, &name);
        PoolRecorder {
            queued: self.queued.get_or_create_owned(&label),
            batch: self.batch.get_or_create_owned(&label),
            compute: self.compute.get_or_create_owned(&label),
            wait: self.wait.get_or_create_owned(&label),
            expired: self.expired.get_or_create_owned(&label),
            cancelled: self.cancelled.get_or_create_owned(&label),
            panics: self.panics.get_or_create_owned(&label),
            restarts: self.restarts.get_or_create_owned(&label),
            illegal: self.illegal.get_or_create_owned(&label),
            refused: self.refused.clone(),
            weights: self.weights.clone(),
            engines: self.engines.clone(),
            graphs: self.graphs.get_or_create_owned(&label),
            eager: self.eager.get_or_create_owned(&label),
            declined: self.declined.get_or_create_owned(&label),
            label,
        }
    }
}

/// The metrics of one pool.
#[derive(Clone, Debug)]
pub struct PoolRecorder {
    /// Requests waiting; goes up when admitted, down when begun or dropped.
    pub queued: Gauge,
    /// Requests computed together.
    pub batch: Histogram,
    /// Seconds to compute one batch.
    pub compute: Histogram,
    /// Seconds a request waited before its batch began.
    pub wait: Histogram,
    /// Requests whose deadline passed while they waited.
    pub expired: Counter,
    /// Requests whose caller went away while they waited.
    pub cancelled: Counter,
    /// Batches that a panic ended.
    pub panics: Counter,
    /// Engines replaced after a panic.
    pub restarts: Counter,
    /// Decoded semantic IDs that name no item.
    pub illegal: Counter,
    /// Searches that a device did as one graph.
    pub graphs: Counter,
    /// Searches that were launched on a device kernel by kernel.
    pub eager: Counter,
    /// Queries that the CPU answered in a device's place.
    pub declined: Counter,
    refused: Counters<(Named, Listed)>,
    weights: Family<(Named, Listed), Gauge>,
    engines: Family<(Named, Listed), Gauge>,
    label: Named,
}

impl PoolRecorder {
    /// Counts a request refused at once.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&(self.label.clone(), [(names::LABEL_REASON, reason)])).inc();
    }

    /// Tells in which precision a model serves, and how many bytes its weights take.
    pub fn serves(&self, precision: &'static str, bytes: u64) {
        let gauge = self.weights.get_or_create(&(self.label.clone(), [(names::LABEL_PRECISION, precision)]));
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Tells from what a model's engines serve.
    pub fn serves_from(&self, device: &'static str, engines: u32) {
        let gauge = self.engines.get_or_create(&(self.label.clone(), [(names::LABEL_DEVICE, device)]));
        gauge.set(i64::from(engines));
    }
}

/// What a gateway records, by pipeline.
#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    requests: Counters<(Named, Listed)>,
    latency: Histograms<Named>,
    stage: Histograms<(Named, Listed)>,
    fallbacks: Counters<(Named, (Listed, Listed))>,
    in_flight: Family<Named, Gauge>,
    discovery: Counters<Listed>,
}

impl GatewayMetrics {
    fn new(registry: &mut Registry) -> Self {
        let own = Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(Buckets::Seconds),
            stage: Family::new_with_constructor(Buckets::Seconds),
            fallbacks: Family::default(),
            in_flight: Family::default(),
            discovery: Family::default(),
        };
        register(registry, names::GATEWAY_REQUESTS, "Requests answered, by outcome", own.requests.clone());
        register(registry, names::GATEWAY_LATENCY, "Time from the request's head to its reply", own.latency.clone());
        register(registry, names::GATEWAY_STAGE, "Time of one stage's call, waiting included", own.stage.clone());
        register(registry, names::GATEWAY_FALLBACKS, "Answers that a fallback gave or filled", own.fallbacks.clone());
        register(registry, names::GATEWAY_IN_FLIGHT, "Requests being worked on", own.in_flight.clone());
        register(registry, names::GATEWAY_DISCOVERY, "What could not be learnt", own.discovery.clone());
        own
    }

    /// Counts something that the API server did not tell or that could not be read: `route` or `watch`.
    pub fn undiscovered(&self, what: &'static str) {
        self.discovery.get_or_create(&[(names::LABEL_WHAT, what)]).inc();
    }

    /// The recorder of one pipeline; look it up once and keep it.
    #[must_use]
    pub fn of(&self, pipeline: &str) -> PipelineMetrics {
        let name: Arc<str> = pipeline.into();
        let label = named(names::LABEL_PIPELINE, &name);
        PipelineMetrics {
            latency: self.latency.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            families: self.clone(),
            label,
        }
    }
}

/// The metrics of one pipeline.
#[derive(Clone, Debug)]
pub struct PipelineMetrics {
    /// Seconds from the request's head to its reply.
    pub latency: Histogram,
    /// Requests being worked on.
    pub in_flight: Gauge,
    families: GatewayMetrics,
    label: Named,
}

impl PipelineMetrics {
    /// Counts an answered request: `ok`, `fallback` or the reason of the failure.
    pub fn answered(&self, outcome: &'static str) {
        self.families.requests.get_or_create(&(self.label.clone(), [(names::LABEL_OUTCOME, outcome)])).inc();
    }

    /// Records one stage's call.
    pub fn stage(&self, stage: &'static str, time: Duration) {
        let labels = (self.label.clone(), [(names::LABEL_STAGE, stage)]);
        self.families.stage.get_or_create(&labels).observe(time.as_secs_f64());
    }

    /// Counts an answer that a fallback gave or filled.
    pub fn fallback(&self, stage: &'static str, reason: &'static str) {
        let labels = (self.label.clone(), ([(names::LABEL_STAGE, stage)], [(names::LABEL_REASON, reason)]));
        self.families.fallbacks.get_or_create(&labels).inc();
    }
}

/// What callers of remote pools record, by pool. The default is of no registry and shows nowhere.
#[derive(Clone, Debug, Default)]
pub struct WireMetrics {
    calls: Counters<(Named, Listed)>,
    retries: Counters<Named>,
    ejections: Counters<Named>,
    workers: Family<Named, Gauge>,
}

impl WireMetrics {
    fn new(registry: &mut Registry) -> Self {
        let own = Self::default();
        register(registry, names::WIRE_CALLS, "Calls to a pool's workers, by outcome", own.calls.clone());
        register(registry, names::WIRE_RETRIES, "Calls asked again elsewhere", own.retries.clone());
        register(registry, names::WIRE_EJECTIONS, "Times that a worker was left out", own.ejections.clone());
        register(registry, names::WIRE_WORKERS, "Workers that can be called", own.workers.clone());
        own
    }

    /// The recorder of one pool; look it up once and keep it.
    #[must_use]
    pub fn of(&self, pool: &str) -> WireRecorder {
        let name: Arc<str> = pool.into();
        let label = named(names::LABEL_POOL, &name);
        WireRecorder {
            retries: self.retries.get_or_create_owned(&label),
            ejections: self.ejections.get_or_create_owned(&label),
            workers: self.workers.get_or_create_owned(&label),
            families: self.clone(),
            label,
        }
    }
}

/// The metrics of the calls to one remote pool.
#[derive(Clone, Debug)]
pub struct WireRecorder {
    /// Calls asked again elsewhere.
    pub retries: Counter,
    /// Times that a worker was left out.
    pub ejections: Counter,
    /// Workers that can be called.
    pub workers: Gauge,
    families: WireMetrics,
    label: Named,
}

impl WireRecorder {
    /// Counts a call that has ended: `None` for one that was answered, otherwise the reason of the failure.
    pub fn answered(&self, failure: Option<&'static str>) {
        let outcome = [(names::LABEL_OUTCOME, failure.unwrap_or("ok"))];
        self.families.calls.get_or_create(&(self.label.clone(), outcome)).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A process in which everything has happened once.
    fn eventful() -> Telemetry {
        let telemetry = Telemetry::new();
        let pool = telemetry.pool().of("p");
        pool.queued.inc();
        pool.batch.observe(3.0);
        pool.compute.observe(0.01);
        pool.refused("queueFull");
        pool.serves("e4m3", 1024);
        pool.serves_from("cuda", 2);
        let pipeline = telemetry.gateway().of("shop");
        pipeline.answered("ok");
        pipeline.stage("rank", Duration::from_millis(3));
        pipeline.fallback("retrieve", "deadline");
        let operator = telemetry.operator();
        operator.reconciled("Dataset", "done", Duration::from_millis(3));
        operator.written("Job");
        operator.watch_failed("Job");
        operator.queued("Dataset", 3);
        operator.leader(true);
        telemetry.gateway().undiscovered("watch");
        telemetry.wire().of("p").answered(None);
        telemetry
    }

    #[test]
    fn every_metric_has_help_and_a_unit() {
        let text = eventful().encode().unwrap();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let help = text.lines().find_map(|l| l.strip_prefix(&format!("# HELP {name} ")));
            assert!(help.is_some_and(|help| help.len() > 10), "{name} has no help");
            let unit = if kind == "counter" {
                vec!["_total"]
            } else {
                vec!["_seconds", "_requests", "_resources", "_replicas", "_workers", "_bytes", "_engines"]
            };
            assert!(unit.iter().any(|unit| shown.ends_with(unit)), "{shown} has no unit");
            seen.insert(shown);
        }
        let all: BTreeSet<String> = names::ALL.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn values_carry_their_labels() {
        let text = eventful().encode().unwrap();
        for line in [
            "recmesh_pool_queued_requests{pool=\"p\"} 1",
            "recmesh_pool_refused_total{pool=\"p\",reason=\"queueFull\"} 1",
            "recmesh_gateway_requests_total{pipeline=\"shop\",outcome=\"ok\"} 1",
            "recmesh_gateway_stage_seconds_count{pipeline=\"shop\",stage=\"rank\"} 1",
            "recmesh_operator_reconciles_total{kind=\"Dataset\",result=\"done\"} 1",
            "recmesh_operator_leader_replicas 1",
            "recmesh_pool_weight_bytes{pool=\"p\",precision=\"e4m3\"} 1024",
            "recmesh_pool_engines{pool=\"p\",device=\"cuda\"} 2",
            "recmesh_gateway_fallbacks_total{pipeline=\"shop\",stage=\"retrieve\",reason=\"deadline\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing from\n{text}");
        }
    }
}
