//! The pure middle: what is known of the cluster in, what is to be done out.
//!
//! ```text
//! World + Subject ─► dereference ─► validate ─► plan ─┬─► make (work, Job) ─────────┐
//!                                                     ├─► releases ─► serve (pools) ├─► render, status ─► Outcome
//!                                                     └─► releases ─► announce ─────┘
//! ```
//!
//! Nothing here waits, asks or writes.

mod affected;
mod announce;
mod dereference;
pub mod make;
pub mod plan;
mod reconcile;
pub mod releases;
mod retire;
pub mod rollout;
pub mod serve;
mod validate;
mod work;

pub use affected::affected;
pub use reconcile::reconcile;

#[cfg(test)]
mod tests;
