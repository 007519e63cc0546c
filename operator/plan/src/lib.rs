//! From resources to work: which jobs to run in which order, what each is told, what serves afterwards.
//!
//! ```text
//! Vec<Located> ─► validate ─► Valid ─► plan ─► Plan { jobs in dependency order }
//!                              │  made: JobKey → ArtifactId
//!                              ├─► job_config ─► JobConfig
//!                              └─► serving ─► PoolConfigs, RouteTable
//! ```
//!
//! Pure: no file, no clock, no client. The same steps for `recmesh up` and for a cluster.

mod order;
mod serving;
mod tell;
mod valid;
mod validate;

pub use order::{JobKey, Plan, PlannedJob, plan};
pub use serving::serving;
pub use tell::{PlanError, job_config};
pub use valid::{Evaluation, Model, Pipeline, Ranking, Retrieval, Tokenizer, Training, Valid};
pub use validate::validate;

#[cfg(test)]
mod tests;
