//! The words of the data plane: what rooms hand to each other, and nothing that does work.
//!
//! ```text
//! manifests ─► config (algorithm parameters, jobs, pools, routes)
//! HTTP ─► request ─► stage (Work → Done) ─► reply
//! models ─► recommend (Query → Candidates, rows → task scores)
//! jobs ─► report        everything ─► failure
//! ```
//!
//! Nothing here reads a file, spawns a thread or knows a protocol.

pub mod config;
mod duration;
mod failure;
mod names;
mod place;
mod recommend;
mod release;
mod report;
mod request;
pub mod schema;
mod stage;

pub use duration::{Millis, ParseDurationError};
pub use failure::{Class, Failure, reason};
pub use names::{ArtifactId, ArtifactKind, ItemIndex, Name, NameError, Version};
pub use place::stays_below;
pub use recommend::{Candidate, DeviceWork, Mask, Query, Rank, RankQuery, Recommend, Threads, Ties};
pub use release::Release;
pub use report::{
    JobProgress, JobReport, JobState, Metric, Precision, Progress, Quantized, Reporter, Resources, Silent,
};
pub use request::{Context, Request};
pub use stage::{Call, Done, Finish, Item, Reply, Stage, Work};
