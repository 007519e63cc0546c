//! The gateway: HTTP in, stages in order under one deadline, reply out.
//!
//! ```text
//! edge (request id, trace, log) ─► body ─► decode ─► parse ─► admit ─► stages (tokenize → retrieve → rank, fallbacks) ─► reply
//!                                    │                         └─ dyn Stage: a local pool or a remote worker
//! discovery (routes and workers, by watch) ─► table, replaced while requests run
//! ```
//!
//! It keeps no state between requests and knows no model. In a cluster `discovery` keeps the table of what is served. Only `reply.rs` knows status codes. The request path starts
//! no thread per request and opens no file; dropping a connection drops its stages' futures, which cancels the work.

mod admit;
mod answer;
mod app;
mod body;
mod decode;
pub mod discovery;
mod edge;
mod openapi;
mod parse;
mod probes;
mod ready;
mod recommend;
mod reply;
mod report;
mod route;
mod serve;
mod stages;
mod table;
#[cfg(test)]
mod tests;
mod wire;

pub use app::{Cluster, Gateway, GatewayError, Limits, Ports, app, ports};
pub use openapi::document;
pub use serve::{serve, serve_beside};
pub use table::Routes;
pub use wire::{FallbackBody, ItemBody, NotReady, Problem, Readiness, RecommendBody, RecommendReply, ReleaseBody};
pub use wire::{Liveness, StageBody};
