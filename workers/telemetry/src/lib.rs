//! What the process tells about itself: metrics, logs and traces.
//!
//! ```text
//! Telemetry ─► PoolMetrics, GatewayMetrics, WireMetrics, OperatorMetrics (typed, handed to rooms) ─► encode ─► /metrics
//! traceparent header ─► TraceParent ─► span ─► logs, and OTLP behind the feature `otlp`
//! ```
//!
//! Rooms never register a metric themselves and never name one: every name stands in [`names`].

pub mod logging;
mod metrics;
pub mod names;
mod operator;
#[cfg(feature = "otlp")]
pub mod otlp;
mod trace;

pub use metrics::{
    CONTENT_TYPE, GatewayMetrics, PipelineMetrics, PoolMetrics, PoolRecorder, Telemetry, WireMetrics, WireRecorder,
};
pub use operator::OperatorMetrics;
pub use trace::{TraceParent, TraceParentError, adopt};
