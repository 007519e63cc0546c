//! Asks a model every case and keeps the ranks of the targets.
//!
//! In: cases, cut-off, masking, seed. Out: a rank a case, each item's best rank, how many semantic IDs were illegal.
//! Questions go in fixed batches to one fork of the model a thread. Answers that break the model's contract are
//! refused: a duplicate or an excluded item would quietly raise recall.

use recmesh_contract::config::Masking;
use recmesh_contract::{Candidate, ItemIndex, Query, Recommend, Ties};

use crate::EvaluationError;
use crate::cases::{Case, mix};
use crate::threads::map;

/// Questions in one call. Fixed: sums inside a model may depend on it in the last bit.
pub(crate) const BATCH: usize = 64;

/// How to ask.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Items to answer.
    pub k: usize,
    /// Whether the history is removed from the answer.
    pub masking: Masking,
    /// Seed of ties.
    pub seed: u64,
    /// Threads to use.
    pub threads: usize,
    /// Told how many cases are done.
    pub progress: &'a (dyn Fn(usize) + Sync),
}

/// What the answers came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranks {
    /// Rank of each case's target, from 0; [`MISS`] when it was not answered.
    pub target: Vec<u32>,
    /// The same of each case's control.
    pub control: Vec<u32>,
    /// Best rank of each item over all answers; `u32::MAX` when it never was in one.
    pub best: Vec<u32>,
    /// Candidates answered.
    pub answered: u64,
    /// Semantic IDs decoded that named no item.
    pub illegal: u64,
}

/// The rank of an item that was not answered.
pub(crate) const MISS: u32 = u32::MAX;

/// One thread's model and memory.
struct Worker {
    model: Box<dyn Recommend>,
    /// What the model had counted as illegal when it was forked.
    illegal_before: u64,
    best: Vec<u32>,
    answered: u64,
}

/// Asks all cases over `items` items.
pub(crate) fn ask(
    model: &dyn Recommend,
    cases: &[Case<'_>],
    items: usize,
    how: Asking<'_>,
) -> Result<Ranks, EvaluationError> {
    let batches = cases.len().div_ceil(BATCH);
    let worker = || {
        let model = model.fork();
        Worker { illegal_before: model.illegal(), model, best: vec![MISS; items], answered: 0 }
    };
    let workers: Vec<_> = (0..how.threads.clamp(1, batches.max(1))).map(|_| worker()).collect();
    let progress = |done: usize| (how.progress)((done * BATCH).min(cases.len()));
    let (results, workers) = map(workers, batches, &progress, |worker, batch| {
        let first = batch * BATCH;
        worker.ask(&cases[first..(first + BATCH).min(cases.len())], first, how)
    });

    let mut ranks = Ranks { target: vec![], control: vec![], best: vec![MISS; items], answered: 0, illegal: 0 };
    for result in results {
        for (target, control) in result? {
            ranks.target.push(target);
            ranks.control.push(control);
        }
    }
    for worker in workers {
        ranks.answered += worker.answered;
        ranks.illegal += worker.model.illegal().saturating_sub(worker.illegal_before);
        for (best, rank) in ranks.best.iter_mut().zip(worker.best) {
            *best = rank.min(*best);
        }
    }
    Ok(ranks)
}

impl Worker {
    /// Target and control rank of each case; `first` is the row of the first one.
    fn ask(&mut self, cases: &[Case<'_>], first: usize, how: Asking<'_>) -> Result<Vec<(u32, u32)>, EvaluationError> {
        let ties = |row| Ties::Random(mix(how.seed, row as u64));
        let question = Question { k: how.k, masking: how.masking, ties: &ties, items: self.best.len() };
        let answers = question.put(&mut *self.model, cases, first)?;
        let mut ranks = Vec::with_capacity(cases.len());
        for (case, answer) in cases.iter().zip(&answers) {
            self.answered += answer.len() as u64;
            for (rank, candidate) in answer.iter().enumerate() {
                let best = &mut self.best[candidate.item as usize];
                *best = (rank as u32).min(*best);
            }
            let rank = |item| answer.iter().position(|c| c.item == item).map_or(MISS, |rank| rank as u32);
            ranks.push((rank(case.target), rank(case.control)));
        }
        Ok(ranks)
    }
}

/// What is asked of a model about every case.
pub(crate) struct Question<'a> {
    /// Items to answer.
    pub k: usize,
    /// Whether the history is removed from the answer.
    pub masking: Masking,
    /// How equal scores of a row are ordered.
    pub ties: &'a (dyn Fn(usize) -> Ties + Sync),
    /// Items there are.
    pub items: usize,
}

impl Question<'_> {
    /// An answer a case, each within the contract of [`Recommend`]; `first` is the row of the first case.
    pub(crate) fn put(
        &self,
        model: &mut dyn Recommend,
        cases: &[Case<'_>],
        first: usize,
    ) -> Result<Vec<Vec<Candidate>>, EvaluationError> {
        let excluded: Vec<Vec<ItemIndex>> = cases.iter().map(|case| excluded(case, self.masking)).collect();
        let queries: Vec<Query<'_>> = (first..)
            .zip(cases.iter().zip(&excluded))
            .map(|(row, (case, exclude))| Query {
                history: case.history,
                exclude,
                allowed: None,
                k: self.k,
                ties: (self.ties)(row),
            })
            .collect();
        let last = first + cases.len() - 1;
        let answers = model.recommend(&queries).map_err(|source| EvaluationError::Model { first, last, source })?;
        let (found, wanted) = (answers.len(), cases.len());
        if found != wanted {
            return Err(EvaluationError::Length { what: "the model's answer", found, wanted });
        }
        for (row, (answer, query)) in (first..).zip(answers.iter().zip(&queries)) {
            check(answer, query, self.items, row)?;
        }
        Ok(answers)
    }
}

/// The history's items, ascending without duplicates, when they are to be removed. The target stays: somebody who came
/// back to an item is asked for it.
fn excluded(case: &Case<'_>, masking: Masking) -> Vec<ItemIndex> {
    match masking {
        Masking::Raw => Vec::new(),
        Masking::Masked => {
            let mut items: Vec<ItemIndex> = case.history.iter().copied().filter(|&item| item != case.target).collect();
            items.sort_unstable();
            items.dedup();
            items
        }
    }
}

/// Refuses answers that break the contract of [`Recommend`].
fn check(answer: &[Candidate], query: &Query<'_>, items: usize, row: usize) -> Result<(), EvaluationError> {
    let refuse = |what: String| Err(EvaluationError::Answer { row, what });
    if answer.len() > query.k {
        return refuse(format!("has {} items, {} were asked for", answer.len(), query.k));
    }
    if answer.iter().any(|candidate| candidate.score.is_nan()) {
        return Err(EvaluationError::NotANumber { what: "score", row });
    }
    let mut sorted: Vec<ItemIndex> = answer.iter().map(|candidate| candidate.item).collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return refuse(format!("has item {} twice", pair[0]));
    }
    if let Some(&item) = sorted.last().filter(|&&item| item as usize >= items) {
        return refuse(format!("has item {item} of only {items}"));
    }
    if let Some(item) = sorted.iter().find(|item| query.exclude.binary_search(item).is_ok()) {
        return refuse(format!("has the excluded item {item}"));
    }
    Ok(())
}
