//! The operator: declared resources in, Deployments, Jobs, Services and ConfigMaps out, and a status that tells the truth.
//!
//! ```text
//! watches ─► World ─► dereference ─► validate ─► plan ─► render ─► apply ─► status
//!            (caches)  └──────────── pure: world in, Outcome out ──┘  └─ API server
//! ```
//!
//! Validate and plan are those of local mode. Only `apply`, `status` and the watches talk to the API server.

pub mod admin;
pub mod apply;
pub mod cache;
pub mod clients;
pub mod config;
pub mod controllers;
pub mod events;
pub mod failure;
pub mod fence;
pub mod here;
pub mod install;
pub mod lease;
pub mod names;
pub mod outcome;
pub mod pollers;
pub mod reason;
pub mod references;
pub mod render;
pub mod run;
pub mod status;
pub mod steps;
pub mod terms;
pub mod watches;
pub mod world;

pub use config::OperatorConfig;
pub use install::{InstallError, Installed, install, remove};
pub use run::{Operator, Options, RunError, run};

#[cfg(test)]
mod tests;
