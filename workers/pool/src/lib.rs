//! Pools of engine threads: bounded queues, batches, deadlines, supervision. The only room that names `actix`.
//!
//! ```text
//! Stage::call ─► gate (bound) ─► mailbox ─► batcher (size, age; drops the gone and the late) ─► engine ─► reply
//!                  │ full or draining: refused at once            one arbiter = one OS thread = one engine
//! ```
//!
//! An engine computes on its own thread, with `threads` above 1 on others that it owns, too, and never on the HTTP runtime.
//! A panic costs one batch: callers get a failure with a class, the engine is replaced, the next request succeeds.

mod batcher;
mod engine;
mod engines;
mod error;
mod gate;
mod handle;
mod host;
mod load;
mod pool;
#[cfg(test)]
mod tests;
mod worker;

pub use error::PoolError;
pub use host::{Host, HostedState, ListedTwice};
pub use pool::Pool;
pub use recmesh_models::retrieval::ServesFrom;
