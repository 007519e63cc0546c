//! Data sets: reading them, planting them, splitting them, keeping them.
//!
//! ```text
//! files ─► read (rows of cells) ─► collect (compact columns) ─┐
//! planted world ──────────────────────────────────────────────┴─► order, split ─► Dataset ─► save ─► load
//! ```
//!
//! Rows stream through bounded buffers; what is kept is numbers and interned ids. Nothing here trains or serves.

mod collect;
mod dataset;
mod digest;
mod entities;
mod error;
mod load;
mod locate;
pub mod planted;
mod prepare;
mod read;
mod rows;
mod save;
mod sequences;
mod split;
mod strings;
mod summary;
mod threshold;

pub use dataset::{CategoricalColumn, Dataset, Examples, Interactions, NumericColumn};
pub use digest::source_digest;
pub use entities::{AttributeColumn, Entities};
pub use error::DataError;
pub use prepare::prepare;
pub use rows::{Behaviours, Part, Rows};
pub use sequences::{Sequences, Target};
pub use strings::Strings;
pub use summary::{BadRow, SHOWN_BAD_ROWS, Summary};
