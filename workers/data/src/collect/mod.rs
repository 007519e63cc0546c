//! Cells to compact columns: one sink for each kind of data.
//!
//! In: rows of cells from `read`. Out: columns of numbers and interned ids, in the order of the file. Ordering and
//! splitting come after; nothing here looks at another row.

mod entities;
mod examples;
mod interactions;
mod interner;

pub(crate) use entities::{Described, EntityColumns};
pub(crate) use examples::ExampleColumns;
pub(crate) use interactions::{InteractionColumnsRead, LooseRows};
pub(crate) use interner::Interner;
