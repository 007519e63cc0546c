//! Planted worlds: generated data whose structure is known, so that a test can tell what a model must find.
//!
//! ```text
//! PlantedWorld ─► world (buckets, items, tastes: the truth) ─► walk (rows) ─► outcome (behaviour, labels) ─► Dataset
//!                                                                                                      └─► files
//! ```
//!
//! In: parameters with a seed. Out: the same data set as reading the files that [`write_files`] writes, and the
//! [`Truth`]. Same parameters, same bytes. Every row is an impression; `history: {column: click, atLeast: 1}` makes
//! histories of what was clicked.

mod describe;
mod files;
mod outcome;
mod walk;
mod words;
mod world;

use recmesh_contract::ItemIndex;
use recmesh_contract::config::{DatasetParams, PlantedWorld, TieBreak};

pub use files::{FileFormat, write_files};
pub use outcome::{BEHAVIOURS, LABELS};
pub use walk::{EXPLORE, MAIN_TASTE};
pub use world::{TRANSITION_WEIGHTS, Taste, Truth};

use crate::collect::{Interner, LooseRows};
use crate::{Behaviours, DataError, Interactions, Sequences, split};

/// A generated world: what is true of it, and the rows that it gave.
#[derive(Clone, Debug)]
pub struct Planted {
    truth: Truth,
    /// The world's number of the item of each row.
    item: Vec<u32>,
    user: Vec<u32>,
    time: Vec<i64>,
    outcomes: Vec<outcome::Outcome>,
}

/// Generates a world.
///
/// # Errors
/// When a parameter is out of its range.
pub fn plant(world: &PlantedWorld) -> Result<Planted, DataError> {
    world::check(world)?;
    let truth = world::make(world);
    let rows = walk::walk(world, &truth);
    Ok(Planted { truth, item: rows.item, user: rows.user, time: rows.time, outcomes: rows.outcomes })
}

impl Planted {
    /// What is true of the world, by the world's own numbers: item `n` is called `i<n>`, user `n` is called `u<n>`.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// How many interactions.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.item.len()
    }

    /// The world as a data set, split as `params` say. Items are numbered by first appearance, as in every data set;
    /// users keep their numbers.
    ///
    /// # Errors
    /// When the split or the history threshold does not fit.
    pub fn into_interactions(self, params: &DatasetParams) -> Result<Interactions, DataError> {
        let Self { truth, item, user, time, outcomes } = self;
        let (items, item) = numbered(&item, truth.items());
        let users: Vec<u32> = (0..truth.users() as u32).collect();
        let mut names: Vec<String> = Vec::new();
        let mut ids = [None; BEHAVIOURS.len()];
        let mut behaviour = Vec::with_capacity(outcomes.len());
        for outcome in &outcomes {
            let name = usize::from(outcome.behaviour);
            behaviour.push(*ids[name].get_or_insert_with(|| {
                names.push(BEHAVIOURS[name].to_owned());
                (names.len() - 1) as u8
            }));
        }
        let label = |(at, name): (usize, &&str)| {
            ((*name).to_owned(), outcomes.iter().map(|outcome| outcome.labels[at]).collect())
        };
        let loose = LooseRows {
            users: users.len(),
            user,
            item,
            time: Some(time),
            behaviour: Some(Behaviours { names, ids: behaviour }),
            labels: LABELS.iter().enumerate().map(label).collect(),
        };
        let item_ids = interned('i', &items);
        let rows =
            split::arrange(loose, item_ids.strings(), TieBreak::FileOrder, params.history.as_ref(), &params.split)?;
        let sequences = Sequences::of_rows(&rows);
        let items = describe::items(&truth, item_ids);
        let users = describe::users(&truth, interned('u', &users));
        Ok(Interactions { users, items, rows, sequences })
    }
}

/// Numbers by first appearance: the world's number of each, and the new number of each row.
fn numbered(item: &[u32], items: usize) -> (Vec<u32>, Vec<ItemIndex>) {
    let mut order = Vec::new();
    let mut number = vec![u32::MAX; items];
    let mut new = |&item: &u32| {
        let number = &mut number[item as usize];
        if *number == u32::MAX {
            *number = order.len() as u32;
            order.push(item);
        }
        *number
    };
    let rows = item.iter().map(&mut new).collect();
    (order, rows)
}

/// Ids of the world's numbers.
fn interned(prefix: char, numbers: &[u32]) -> Interner {
    let mut interner = Interner::default();
    for number in numbers {
        interner.intern(&format!("{prefix}{number}"));
    }
    interner
}

#[cfg(test)]
mod tests;
