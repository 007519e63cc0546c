//! Parameters: what resources embed, what jobs and pools are told. One struct each, with ranges and defaults.
//!
//! `crds` embeds these types, `operator/plan` hands them on, `workers` consume them: nothing is written twice.
//! A field exists only when something honours it.

mod cluster;
mod dataset;
mod evaluation;
mod job;
mod pool;
mod quantization;
mod ranking;
mod retrieval;
mod tokenizer;
mod training;

pub use cluster::*;
pub use dataset::*;
pub use evaluation::*;
pub use job::*;
pub use pool::*;
pub use quantization::*;
pub use ranking::*;
pub use retrieval::*;
pub use tokenizer::*;
pub use training::*;
