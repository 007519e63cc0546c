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

/// Every metric there is.
pub const ALL: [&str; 15] = [
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
    GATEWAY_REQUESTS,
    GATEWAY_LATENCY,
    GATEWAY_STAGE,
    GATEWAY_FALLBACKS,
    GATEWAY_IN_FLIGHT,
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
