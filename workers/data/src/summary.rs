//! What is told of a data set when it is prepared: counts, the range of time, and the rows that could not be read.
//!
//! In: counts from `prepare`. Out: serialisable facts and the same as metrics. Never holds a value of a row beyond the
//! reason why it is bad.

use recmesh_contract::Metric;
use serde::{Deserialize, Serialize};

use crate::Part;

/// How many bad rows are kept to be shown.
pub const SHOWN_BAD_ROWS: usize = 10;

/// What a prepared data set holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Summary {
    /// Interactions, or examples.
    pub rows: u64,
    /// Users with at least one row; 0 for examples.
    pub users: u64,
    /// Items with at least one row; 0 for examples.
    pub items: u64,
    /// Rows of train, validation and test.
    pub parts: [u64; 3],
    /// Rows that enter histories; 0 for examples.
    pub history_rows: u64,
    /// Rows that could not be read, over all files.
    pub bad_rows: u64,
    /// The first of them.
    pub first_bad: Vec<BadRow>,
    /// The earliest time, where rows have one.
    pub first_time: Option<i64>,
    /// The latest time, where rows have one.
    pub last_time: Option<i64>,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BadRow {
    /// The file.
    pub file: String,
    /// The line it starts at, from 1; the row's number in a Parquet file.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

impl Summary {
    /// The counts as metrics: `rows`, `users`, `items`, `historyRows`, `badRows`, and `rows` of each split.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let metric = |name: &str, value: u64, split: Option<Part>| Metric {
            name: name.into(),
            value: value as f64,
            interval: None,
            split: split.map(|part| part.as_str().into()),
            masking: None,
            of: None,
        };
        let mut metrics = vec![metric("rows", self.rows, None)];
        if self.users > 0 {
            metrics.push(metric("users", self.users, None));
            metrics.push(metric("items", self.items, None));
            metrics.push(metric("historyRows", self.history_rows, None));
        }
        metrics.push(metric("badRows", self.bad_rows, None));
        metrics.extend(Part::ALL.into_iter().zip(self.parts).map(|(part, rows)| metric("rows", rows, Some(part))));
        metrics
    }
}
