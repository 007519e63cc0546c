//! The gateway: HTTP in, stages in order under one deadline, reply out.
//!
//! ```text
//! edge (request id, trace, log) ─► body ─► decode ─► parse ─► admit ─► stages (tokenize → retrieve → rank, fallbacks) ─► reply
//!                                                              └─ dyn Stage: a local pool or a remote worker
//! ```
//!
//! It keeps no state between requests and knows no model. Only `reply.rs` knows status codes. The request path starts
//! no thread per request and opens no file; dropping a connection drops its stages' futures, which cancels the work.

mod admit;
mod answer;
mod app;
mod body;
mod decode;
mod edge;
mod openapi;
mod parse;
mod probes;
mod recommend;
mod reply;
mod route;
mod serve;
mod stages;
#[cfg(test)]
mod tests;
mod wire;

pub use app::{Gateway, GatewayError, Limits, app};
pub use openapi::document;
pub use serve::serve;
pub use wire::{FallbackBody, ItemBody, NotReady, Problem, Readiness, RecommendBody, RecommendReply, ReleaseBody};
pub use wire::{Liveness, StageBody};
