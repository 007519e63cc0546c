//! Memory that tapes reuse.
//!
//! In: nothing. Out: pooled buffers, and the values of the tape that runs on it. A new tape takes back what the last one
//! held, so equal shapes allocate only once. A workspace belongs to one thread at a time.

use std::sync::Arc;

use crate::Team;
use crate::buffer::{Buffer, Pool};
use crate::cpu::Level;
use crate::graph::Value;
use crate::ops::Op;

/// Memory that tapes reuse; one a thread. After warm-up no operation allocates, but larger products of maps that are not
/// packed: the `gemm` crate takes memory for each.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) level: Level,
    pub(crate) pool: Pool,
    pub(crate) values: Vec<Value>,
    pub(crate) ops: Vec<Op>,
    pub(crate) slots: Vec<Option<Buffer>>,
    pub(crate) team: Option<Arc<Team>>,
}

impl Workspace {
    /// A workspace whose tapes run at an instruction set other than the best.
    #[must_use]
    pub fn with_level(level: Level) -> Self {
        Self { level, ..Self::default() }
    }

    /// A workspace whose tapes share their larger operations among a team, where they serve. Values are the same in bits
    /// for any number of threads.
    #[must_use]
    pub fn with_team(team: Arc<Team>) -> Self {
        Self { team: Some(team), ..Self::default() }
    }

    /// How many buffers were ever made. It stands still once shapes repeat.
    #[must_use]
    pub fn buffers_made(&self) -> usize {
        self.pool.made()
    }

    /// Gives the last tape's values back to the pool.
    pub(crate) fn reset(&mut self) {
        self.ops.clear();
        for value in self.values.drain(..) {
            self.pool.give(value.data);
            value.saved.into_iter().for_each(|buffer| self.pool.give(buffer));
        }
        for slot in self.slots.drain(..) {
            self.pool.give(slot.unwrap_or_default());
        }
    }
}
