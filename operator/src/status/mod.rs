//! What resources say of themselves.
//!
//! In: where jobs stand, workers, pods, routes, what jobs and gateways told. Out: whole statuses; a condition that does
//! not hold says what is missing or wrong and what to do. Nothing here decides what is made.

pub mod gates;
pub mod job;
pub mod makers;
pub mod owners;
pub mod pipeline;
pub mod said;
pub mod served;
pub mod trouble;
