//! What a model answers: items for a history, or task scores for candidates.
//!
//! Models implement these traits; evaluation and pools call them. Nothing here computes.

use std::sync::Arc;

use crate::{Failure, ItemIndex};

/// A set of items as a bit per item; items beyond its length are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
}

impl Mask {
    /// No item out of `items`.
    #[must_use]
    pub fn none(items: usize) -> Self {
        Self { words: vec![0; items.div_ceil(64)] }
    }

    /// Takes all items out; afterwards the mask is one of `items`, in the memory it has.
    pub fn clear(&mut self, items: usize) {
        self.words.clear();
        self.words.resize(items.div_ceil(64), 0);
    }

    /// A mask of ready words, 64 items each, lowest bit first.
    #[must_use]
    pub fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    /// The words, 64 items each, lowest bit first.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds an item; items beyond the mask's length are ignored.
    pub fn insert(&mut self, item: ItemIndex) {
        if let Some(word) = self.words.get_mut(item as usize / 64) {
            *word |= 1 << (item % 64);
        }
    }

    /// Whether an item is in the set.
    #[must_use]
    pub fn contains(&self, item: ItemIndex) -> bool {
        self.words.get(item as usize / 64).is_some_and(|word| word >> (item % 64) & 1 == 1)
    }

    /// How many items are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// How equal scores are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// Lower item index first: what serving does, so that the same request gets the same answer.
    ByIndex,
    /// By a hash of this seed and the item: what evaluation does, so that ties favour nobody.
    Random(u64),
}

/// One question to a retrieval model.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The user's items, oldest first. May be empty.
    pub history: &'a [ItemIndex],
    /// Items that must not be answered; ascending, without duplicates.
    pub exclude: &'a [ItemIndex],
    /// When given, only these items may be answered.
    pub allowed: Option<&'a Mask>,
    /// How many items to answer; fewer come back when fewer are left.
    pub k: usize,
    /// How equal scores are ordered.
    pub ties: Ties,
}

/// An item with its score; higher is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which item.
    pub item: ItemIndex,
    /// The retrieval model's score, comparable only within one answer.
    pub score: f32,
    /// The ranking model's task scores in the order of its tasks; empty before ranking.
    pub tasks: Vec<f32>,
}

/// What a device has done for a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceWork {
    /// Searches that were launched as one graph.
    pub graphs: u64,
    /// Searches that were launched kernel by kernel, because no graph of them was captured.
    pub eager: u64,
    /// Queries that the CPU answered in the device's place.
    pub declined: u64,
    /// Why the device is no longer used, or no graph is, if that is so.
    pub trouble: Option<String>,
}

/// Threads that one engine's model may compute on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// How many, the engine's own included; at least 1.
    pub count: usize,
    /// The core that each is bound to, the engine's own first; empty where none is.
    pub cores: Vec<usize>,
}

/// A retrieval model, ready to answer. One engine thread owns one; [`Recommend::fork`] makes another over the same
/// weights with its own scratch memory.
pub trait Recommend: Send {
    /// Answers every query: at most `k` candidates each, best first, no duplicates, none excluded.
    ///
    /// # Errors
    /// [`crate::reason::NOT_A_NUMBER`] when a score is not a number.
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure>;

    /// Another instance over the same weights, on one thread.
    fn fork(&self) -> Box<dyn Recommend>;

    /// From now on shares the work of a batch among so many threads, the calling one included, and binds them to the cores
    /// that are named; to be called on the thread that will ask. Gives how many it has: fewer where they cannot be started,
    /// 1 for a model that shares nothing and binds nothing. Answers do not change, in no bit.
    fn set_threads(&mut self, threads: &Threads) -> usize {
        let _ = threads;
        1
    }

    /// What a device has done so far; nothing where the CPU serves.
    fn device(&self) -> DeviceWork {
        DeviceWork::default()
    }

    /// How many decoded semantic IDs named no item so far. Zero by construction for constrained decoding.
    fn illegal(&self) -> u64 {
        0
    }
}

/// One question to a ranking model over interactions.
#[derive(Clone, Debug)]
pub struct RankQuery<'a> {
    /// The user's items, oldest first. May be empty.
    pub history: &'a [ItemIndex],
    /// Row of the user in the data set's user table; `None` for an unknown user.
    pub user: Option<u32>,
    /// What to score.
    pub candidates: &'a [ItemIndex],
}

/// A multi-task ranking model over interactions, ready to answer.
pub trait Rank: Send {
    /// The tasks' names, in the order of the scores.
    fn tasks(&self) -> Arc<[String]>;

    /// Probabilities per query: row-major `candidates × tasks`, each in `0..=1`.
    ///
    /// # Errors
    /// [`crate::reason::NOT_A_NUMBER`] when a score is not a number.
    fn rank(&mut self, queries: &[RankQuery<'_>]) -> Result<Vec<Vec<f32>>, Failure>;

    /// Another instance over the same weights, on one thread.
    fn fork(&self) -> Box<dyn Rank>;

    /// As [`Recommend::set_threads`].
    fn set_threads(&mut self, threads: &Threads) -> usize {
        let _ = threads;
        1
    }
}
