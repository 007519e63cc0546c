//! A stage over the network: gRPC client and server around `dyn Stage`.
//!
//! ```text
//! gateway: RemoteStage (endpoints, balancing, one retry) ─► recmesh.worker.v1 ─► serve ─► dyn Stage (a pool's handle)
//! ```
//!
//! A [`RemoteStage`] is given the pool's name and a list of endpoints that may change; it connects to all of them, asks
//! each whether it runs the pool, and spreads calls over those that do. A worker hands [`serve`] its [`Pools`]. A call
//! carries the time that is left, the request's id and the place in its trace; dropping its reply cancels it there.

mod codec;
mod connection;
mod endpoint;
mod pick;
mod proto;
mod remote;
mod service;
mod status;
mod timeout;

pub use endpoint::Endpoint;
pub use remote::RemoteStage;
pub use service::{PoolState, Pools, serve};

/// Bytes of a message: a history of 10,000 items, 8,192 candidates with many tasks, or a mask of 100 million items.
const LARGEST_MESSAGE: usize = 64 << 20;
/// Bytes that a peer may send ahead in a call, and over a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
