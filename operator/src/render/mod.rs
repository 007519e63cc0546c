//! Objects as the API server takes them.
//!
//! In: decisions. Out: Jobs, workloads, Services, ConfigMaps, budgets and scalers, the same bytes for the same
//! decisions. Nothing is decided here.

pub mod job;
pub mod meta;
pub mod pod;
pub mod route;
pub mod scaler;
pub mod worker;
