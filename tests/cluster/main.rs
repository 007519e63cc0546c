//! Suites over a real Kubernetes. In: a cluster that `tests/cluster/run.sh` has started, named by the environment. Out:
//! what API server, controllers, kubectl and a node make of our resources and processes.
//!
//! Each group is run by its name: `crds` alone on an empty cluster, `control` with stand-in nodes, `alone` likewise but
//! one test at a time, `node` where pods really run. Waiting is by watch with a deadline; nothing sleeps or retries.

// Always true here; it tells clippy that functions beside the tests may panic too.
#[cfg(test)]
mod alone;
#[cfg(test)]
mod control;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod node;
#[cfg(test)]
#[path = "../told.rs"]
mod told;
