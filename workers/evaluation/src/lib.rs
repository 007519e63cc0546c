//! Measures models: ranks of held-out targets, task scores against labels, intervals, controls, gates.
//!
//! ```text
//! model + data ─► cases ─► answers (threads) ─► ranks ─► metrics ─► bootstrap ─► Vec<Metric> ─► gates, table
//! scores + labels ──────────────────────────────────────────┘
//! ```
//!
//! Ranking is always over all items, ties go at random by seed, and a score that is not a number is an error. The same
//! model, data and seed give the same numbers for any number of threads. Nothing here trains or stores.

mod answers;
mod best;
mod cases;
mod error;
mod gates;
pub mod metrics;
mod ranking;
mod retrieval;
mod table;
mod threads;

pub use best::{Best, best};
pub use cases::spread;
pub use error::EvaluationError;
pub use gates::{Verdict, check, label};
pub use ranking::ranking;
pub use retrieval::{quick_ndcg, retrieval};
pub use table::table;
