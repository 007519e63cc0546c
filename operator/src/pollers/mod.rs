//! Asks jobs and gateways how they are, since they have no right to write it to the API server themselves.
//!
//! In: which jobs run, where the gateways are. Out: what they told, into [`World::told`](crate::world::World), and
//! wishes to look where it has changed. Each answer is read, bounded, and believed only as far as a status shows it.

pub mod gateways;
pub mod get;
pub mod reports;
