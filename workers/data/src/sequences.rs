//! Each user's items in the order of time, and which of them are retrieval targets of which part.
//!
//! In: the rows that enter histories. Out: whole and train sequences by user, targets by part, and the history before a
//! target. A target's history may hold earlier targets: what had been seen by then is known by then.

use recmesh_contract::ItemIndex;

use crate::{Part, Rows};

/// The items of every user, oldest first. A position is absolute: an index into `items`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// Where each user's items start; one more than there are users.
    pub offsets: Vec<u64>,
    /// The items of all users.
    pub items: Vec<ItemIndex>,
    /// Where the train part of each user ends.
    pub train_end: Vec<u64>,
    /// Where the validation part of each user ends and the test part starts.
    pub validation_end: Vec<u64>,
}

/// One item to be predicted from what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose.
    pub user: u32,
    /// Where in [`Sequences::items`].
    pub position: u64,
}

impl Sequences {
    /// The sequences of the rows that enter histories.
    #[must_use]
    pub fn of_rows(rows: &Rows) -> Self {
        let mut made = Self { offsets: vec![0], ..Self::default() };
        for user in 0..rows.users() {
            let mut ends = [made.items.len() as u64; 2];
            for row in rows.of(user).filter(|&row| rows.in_history[row]) {
                made.items.push(rows.item[row]);
                // Parts never go back in time within a user, so each end is one past its last row.
                let end = made.items.len() as u64;
                match rows.part[row] {
                    Part::Train => ends = [end, end],
                    Part::Validation => ends[1] = end,
                    Part::Test => {}
                }
            }
            made.offsets.push(made.items.len() as u64);
            made.train_end.push(ends[0]);
            made.validation_end.push(ends[1]);
        }
        made
    }

    /// How many users; those without any item included.
    #[must_use]
    pub fn users(&self) -> usize {
        self.train_end.len()
    }

    /// Every item of a user.
    ///
    /// # Panics
    /// When there is no such user; so do the methods below.
    #[must_use]
    pub fn of(&self, user: usize) -> &[ItemIndex] {
        &self.items[self.offsets[user] as usize..self.offsets[user + 1] as usize]
    }

    /// The items of a user's train part.
    #[must_use]
    pub fn train(&self, user: usize) -> &[ItemIndex] {
        &self.items[self.offsets[user] as usize..self.train_end[user] as usize]
    }

    /// Every position of a part, by user, oldest first. A user's first position has an empty history.
    #[must_use]
    pub fn targets(&self, part: Part) -> Vec<Target> {
        let range = |user: usize| match part {
            Part::Train => self.offsets[user]..self.train_end[user],
            Part::Validation => self.train_end[user]..self.validation_end[user],
            Part::Test => self.validation_end[user]..self.offsets[user + 1],
        };
        (0..self.users())
            .flat_map(|user| range(user).map(move |position| Target { user: user as u32, position }))
            .collect()
    }

    /// Everything of the target's user before the target, oldest first.
    #[must_use]
    pub fn history(&self, target: &Target) -> &[ItemIndex] {
        &self.items[self.offsets[target.user as usize] as usize..target.position as usize]
    }

    /// The target's item.
    #[must_use]
    pub fn item(&self, target: &Target) -> ItemIndex {
        self.items[target.position as usize]
    }
}
