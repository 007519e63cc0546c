//! Every metric's name and every label's key, as `/metrics` shows them.
//!
//! Names carry their unit (`_seconds`, `_requests`) or `_total` for counters. Labels take values from closed lists:
//! pools and pipelines that manifests declare, stages, and the registered failure reasons.

/// Requests waiting in a pool: in mailboxes and in batches that have not begun.
pub const POOL_QUEUED: &str = "recmesh_pool_queued_requests";
/// Requests computed together.
pub const POOL_BATCH: &str = "recmesh_pool_batch_requests";
/// Time to compute one batch.
pub const POOL_COMPUTE: &str = "recmesh_pool_compute_seconds";
/// Time a request waited before its batch began.
pub const POOL_WAIT: &str = "recmesh_pool_wait_seconds";
/// Requests refused at once.
pub const POOL_REFUSED: &str = "recmesh_pool_refused_total";
/// Requests whose deadline passed while they waited.
pub const POOL_EXPIRED: &str = "recmesh_pool_expired_total";
/// Requests whose caller went away while they waited.
pub const POOL_CANCELLED: &str = "recmesh_pool_cancelled_total";
/// Batches that a panic ended.
pub const POOL_PANICS: &str = "recmesh_pool_panics_total";
/// Engines replaced after a panic.
pub const POOL_RESTARTS: &str = "recmesh_pool_restarts_total";
/// Decoded semantic IDs that name no item.
pub const POOL_ILLEGAL: &str = "recmesh_pool_illegal_ids_total";
/// Bytes of a model's weights as they are kept, by precision; of models that ask for quantization.
pub const POOL_WEIGHTS: &str = "recmesh_pool_weight_bytes";
/// Engines of a pool with a model, by what they serve from.
pub const POOL_ENGINES: &str = "recmesh_pool_engines";
/// Searches that a device did as one launched graph.
pub const DEVICE_GRAPHS: &str = "recmesh_device_graph_launches_total";
/// Searches that were launched on a device kernel by kernel, because no graph of them was captured.
pub const DEVICE_EAGER: &str = "recmesh_device_eager_total";
/// Queries that the CPU answered in a device's place.
pub const DEVICE_DECLINED: &str = "recmesh_device_declined_total";

/// Requests answered, by outcome: `ok`, `fallback` or the reason of the failure.
pub const GATEWAY_REQUESTS: &str = "recmesh_gateway_requests_total";
/// Time from the request's head to the reply.
pub const GATEWAY_LATENCY: &str = "recmesh_gateway_request_seconds";
/// Time of one stage's call, waiting included.
pub const GATEWAY_STAGE: &str = "recmesh_gateway_stage_seconds";
/// Answers that are not the pipeline's own, by the stage and the reason.
pub const GATEWAY_FALLBACKS: &str = "recmesh_gateway_fallbacks_total";
/// Requests being worked on.
pub const GATEWAY_IN_FLIGHT: &str = "recmesh_gateway_in_flight_requests";

/// What a gateway could not learn from the API server, by kind.
pub const GATEWAY_DISCOVERY: &str = "recmesh_gateway_discovery_errors_total";

/// Calls to a pool's workers, by outcome: `ok` or the reason of the failure.
pub const WIRE_CALLS: &str = "recmesh_wire_calls_total";
/// Calls asked again elsewhere because the first worker was gone.
pub const WIRE_RETRIES: &str = "recmesh_wire_retries_total";
/// Times that a worker failed so often that it got no calls for a while.
pub const WIRE_EJECTIONS: &str = "recmesh_wire_ejections_total";
/// Workers of a pool that can be called.
pub const WIRE_WORKERS: &str = "recmesh_wire_ready_workers";

/// Looks at resources, by kind and by how they ended.
pub const OPERATOR_RECONCILES: &str = "recmesh_operator_reconciles_total";
/// Time of one look, writes included.
pub const OPERATOR_RECONCILE: &str = "recmesh_operator_reconcile_seconds";
/// Resources that wait to be looked at, or are being looked at.
pub const OPERATOR_QUEUED: &str = "recmesh_operator_queued_resources";
/// Objects and statuses written, by what was written.
pub const OPERATOR_WRITES: &str = "recmesh_operator_writes_total";
/// Watches that broke and objects that could not be read, by kind.
pub const OPERATOR_WATCH_ERRORS: &str = "recmesh_operator_watch_errors_total";
/// 1 in the replica that acts, 0 in the others.
pub const OPERATOR_LEADER: &str = "recmesh_operator_leader_replicas";

/// Every metric there is.
pub const ALL: [&str; 31] = [
    POOL_QUEUED,
    POOL_BATCH,
    POOL_COMPUTE,
    POOL_WAIT,
    POOL_REFUSED,
    POOL_EXPIRED,
    POOL_CANCELLED,
    POOL_PANICS,
    POOL_RESTARTS,
    POOL_ILLEGAL,
    POOL_WEIGHTS,
    POOL_ENGINES,
    DEVICE_GRAPHS,
    DEVICE_EAGER,
    DEVICE_DECLINED,
    GATEWAY_REQUESTS,
    GATEWAY_LATENCY,
    GATEWAY_STAGE,
    GATEWAY_FALLBACKS,
    GATEWAY_IN_FLIGHT,
    GATEWAY_DISCOVERY,
    WIRE_CALLS,
    WIRE_RETRIES,
    WIRE_EJECTIONS,
    WIRE_WORKERS,
    OPERATOR_RECONCILES,
    OPERATOR_RECONCILE,
    OPERATOR_QUEUED,
    OPERATOR_WRITES,
    OPERATOR_WATCH_ERRORS,
    OPERATOR_LEADER,
];

/// Label: a pool's name.
pub const LABEL_POOL: &str = "pool";
/// Label: a pipeline's name, or `none` for requests that named no pipeline there is.
pub const LABEL_PIPELINE: &str = "pipeline";
/// Label: `tokenize`, `retrieve`, `rank`, `finish` or `fallback`.
pub const LABEL_STAGE: &str = "stage";
/// Label: a registered failure reason.
pub const LABEL_REASON: &str = "reason";
/// Label: `ok`, `fallback` or a registered failure reason.
pub const LABEL_OUTCOME: &str = "outcome";
/// Label: `route` for a route that cannot be read, `watch` for a watch that ended in an error.
pub const LABEL_WHAT: &str = "what";
/// Label: how a look ended: `done`, or the class of what kept it from that.
pub const LABEL_RESULT: &str = "result";
/// Label: `e4m3`, or `f32` where the gates of a quantization did not hold.
pub const LABEL_PRECISION: &str = "precision";
/// Label: `cpu` or `cuda`.
pub const LABEL_DEVICE: &str = "device";
/// Label: a kind of resource or object.
pub const LABEL_KIND: &str = "kind";
