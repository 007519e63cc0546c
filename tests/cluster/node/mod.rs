//! Our image on a real node: containers, volumes, Services and signals as they are in a cluster.
//!
//! In: `make test-cluster`'s image on the node, the chart, the quickstart. Out: what callers get from the gateways'
//! Service while pods come and go. Every figure is printed in a line that begins with `measured:`.
//!
//! Tests share one installation where they can: each first brings it to where it has to be, whatever was there.

mod client;
mod from_nothing;
mod installation;
mod load;
mod losses;
mod pods;
mod rollouts;
mod upgrades;
