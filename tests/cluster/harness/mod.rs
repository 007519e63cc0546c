//! What the suites stand on: the cluster, a namespace for each test, our processes, kubectl, stand-ins, the audit log.
//!
//! In: `KUBECONFIG`, `CLUSTER_DIR` and `CLUSTER_HOME` as `tests/cluster/settings.sh` has them. Everything that a test
//! starts or makes ends with it, also when it fails.

mod account;
mod audit;
mod cluster;
mod gateway;
mod kubectl;
mod process;
mod release;
mod space;
mod wait;

pub use self::{
    account::Account,
    audit::{Audit, Entry, rights},
    cluster::{Cluster, OURS, Object, PLURALS, await_kinds, condition},
    gateway::Gateway,
    kubectl::Kubectl,
    process::{Process, Usage},
    release::{RELEASE, Release, helm},
    space::{Space, USER, documents, is},
    wait::Held,
};
pub use crate::told::Told;
