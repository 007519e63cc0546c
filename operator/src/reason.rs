//! Every reason that a condition or an event of ours gives.
//!
//! CamelCase, closed and stable: scripts and alerts compare them. What is wrong and what to do stands in the message.

use recmesh_crds::Kind;

/// The resource itself cannot work as it is written, or this installation cannot do what it asks.
pub const INVALID: &str = "Invalid";
/// Something that it refers to cannot work as it is written.
pub const REFERENCE_INVALID: &str = "ReferenceInvalid";
/// Something that it refers to is not there.
pub const REFERENCE_MISSING: &str = "ReferenceMissing";

/// The version is made.
pub const MADE: &str = "Made";
/// The Job is about to be made.
pub const JOB_CREATED: &str = "JobCreated";
/// The Job has no running pod yet.
pub const JOB_PENDING: &str = "JobPending";
/// The Job runs.
pub const JOB_RUNNING: &str = "JobRunning";
/// The resource asks to wait.
pub const SUSPENDED: &str = "Suspended";
/// The Job waits to be admitted by its queue.
pub const QUEUED: &str = "Queued";
/// The Job has failed for good.
pub const JOB_FAILED: &str = "JobFailed";
/// The Job is complete, and what it told is lost.
pub const REPORT_LOST: &str = "ReportLost";
/// Results are stored and every gate passed, or there is none.
pub const PASSED: &str = "Passed";
/// Results are stored and some gate did not pass.
pub const GATE_FAILED: &str = "GateFailed";

/// Every request is answered by the wanted release.
pub const SERVING: &str = "Serving";
/// Workers start, or gateways have not reached them yet.
pub const WARMING: &str = "Warming";
/// Another release answers while the wanted one warms.
pub const ROLLING_OUT: &str = "RollingOut";
/// No gateway is ready, or none is configured.
pub const NO_GATEWAY: &str = "NoGateway";
/// No worker is asked for.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";
/// No pipeline names it.
pub const NOT_SERVED: &str = "NotServed";
/// Every gate of the quantization holds, and the quantised model serves.
pub const GATES_HOLD: &str = "GatesHold";
/// Some gate of the quantization does not hold, and the model serves in high precision.
pub const QUANTIZATION_FELL_BACK: &str = "QuantizationFellBack";
/// A field is not honoured as it is written.
pub const NOT_HONOURED: &str = "NotHonoured";

/// An image cannot be pulled.
pub const IMAGE_PULL: &str = "ImagePullFailed";
/// A container cannot be made from its configuration.
pub const CONTAINER_CONFIG: &str = "ContainerConfigError";
/// A container was killed for its memory.
pub const OUT_OF_MEMORY: &str = "OutOfMemory";
/// No node takes a pod.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// A container ends again and again.
pub const CRASH_LOOP: &str = "CrashLoop";
/// A pod was sent away from its node.
pub const EVICTED: &str = "Evicted";

/// Gateways are told to warm a release.
pub const RELEASE_ANNOUNCED: &str = "ReleaseAnnounced";
/// A release answers all requests.
pub const RELEASED: &str = "Released";
/// A release that was warming is dropped.
pub const REVERTED: &str = "Reverted";
/// A generation of a pool is no longer needed.
pub const POOL_RETIRED: &str = "PoolRetired";

/// It is made from something of this kind that is not made yet.
#[must_use]
pub fn waiting_for(kind: Kind) -> &'static str {
    match kind {
        Kind::Dataset => "WaitingForDataset",
        Kind::Tokenizer => "WaitingForTokenizer",
        Kind::RetrievalModel => "WaitingForRetrievalModel",
        Kind::RankingModel => "WaitingForRankingModel",
        Kind::TrainingJob => "WaitingForTrainingJob",
        Kind::EvaluationJob => "WaitingForEvaluationJob",
        Kind::Pipeline => "WaitingForPipeline",
    }
}
