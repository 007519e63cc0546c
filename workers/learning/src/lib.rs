//! Fits a model's weights to examples: order, gradients, optimizer, stopping, checkpoints.
//!
//! ```text
//! examples ─► batches ─► shards (loss, backward on threads) ─► clip ─► optimizer ─► weights
//!                 ▲                                                         │
//!                 └──────────── checkpoint ◄──── stopping ◄── validate ◄────┘
//! ```
//!
//! A step is cut into micro-batches of 32 to 256 examples on at most eight shards, whatever the threads: a batch of 128
//! keeps four threads busy, one of 256 or more eight. Each shard holds a gradient of its own, as large as the weights.
//!
//! The same examples, parameters and seed give the same weights to the bit, for any number of threads and however
//! often the run was killed and went on. Nothing here knows what a model computes.

mod batches;
mod checkpoint;
mod clip;
mod error;
mod optimizer;
mod position;
mod schedule;
mod shards;
mod stopping;
mod train;

pub use error::LearningError;
pub use optimizer::{Optimizer, StepScale};
pub use position::EpochReport;
pub use schedule::share_of_rate;
pub use train::{Outcome, Run, train};
