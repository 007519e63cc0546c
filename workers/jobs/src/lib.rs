//! One job: from its configuration to an artifact in the store and a report.
//!
//! ```text
//! JobConfig ─► version (what would it make?) ─► in the store? reuse : dataset | tokenizer | count | train | evaluate ─► report
//! ```
//!
//! The same for `recmesh up`, `recmesh train` and a Job's pod. Nothing here knows manifests, terminals or networks.

mod count;
mod dataset;
mod error;
mod evaluate;
mod live;
mod quant;
mod ranking;
mod retrieval;
mod rows;
mod run;
mod short;
mod tokenizer;
mod usage;
mod version;

pub use dataset::HISTORIES;
pub use error::{JobError, Remedy};
pub use live::Live;
pub use run::{Bench, discard, kind, run, target};
pub use short::shortened;
pub use tokenizer::CATALOG;
pub use usage::Usage;
