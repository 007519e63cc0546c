//! Interactions as columns, grouped by user and ordered by time within a user.
//!
//! In: nothing; `split` and the readers fill them. Out: the item, time, behaviour, labels and part of each row. A row
//! that enters no history stays a row: ranking models learn from all of them.

use std::ops::Range;

use recmesh_contract::ItemIndex;
use recmesh_contract::config::Threshold;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// What a row is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// Models are fitted on it.
    Train,
    /// Choices are made on it: early stopping, hyper-parameters.
    Validation,
    /// Only measured on.
    Test,
}

impl Part {
    /// Every part, in the order of time.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// The part's name, as metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Every interaction, grouped by user (ascending), oldest first within a user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Where the rows of each user start; one more than there are users.
    pub offsets: Vec<u64>,
    /// The item of each row.
    pub item: Vec<ItemIndex>,
    /// When, in the file's unit.
    pub time: Option<Vec<i64>>,
    /// What the user did.
    pub behaviour: Option<Behaviours>,
    /// Numeric columns by name; a missing number is NaN and reaches no threshold.
    pub labels: Vec<(String, Vec<f32>)>,
    /// What each row is used for.
    pub part: Vec<Part>,
    /// Whether the row enters histories and is a retrieval target.
    pub in_history: Vec<bool>,
}

/// What users did, a number a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviours {
    /// The name of each number, in order of first appearance in the file; at most 256.
    pub names: Vec<String>,
    /// The number of each row.
    pub ids: Vec<u8>,
}

impl Rows {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.item.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.item.is_empty()
    }

    /// How many users have rows.
    #[must_use]
    pub fn users(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The rows of a user.
    ///
    /// # Panics
    /// When there is no such user.
    #[must_use]
    pub fn of(&self, user: usize) -> Range<usize> {
        self.offsets[user] as usize..self.offsets[user + 1] as usize
    }

    /// The user of every row.
    #[must_use]
    pub fn user_of_each(&self) -> Vec<u32> {
        let mut users = Vec::with_capacity(self.len());
        for user in 0..self.users() {
            users.extend(std::iter::repeat_n(user as u32, self.of(user).len()));
        }
        users
    }

    /// The label column of this name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&[f32]> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, values)| values.as_slice())
    }

    /// For every row, whether it reaches a threshold: a task's label, or which rows enter histories.
    ///
    /// # Errors
    /// When the rows have no such column, or the threshold does not fit it.
    pub fn reach(&self, threshold: &Threshold) -> Result<Vec<bool>, DataError> {
        crate::threshold::reach(threshold, self.len(), self.behaviour.as_ref(), &self.labels)
    }
}
