//! Ranking models ready to answer: one instance a thread, all over the same weights.
//!
//! In: queries or rows. Out: probabilities, or a failure when a score is no number. Never orders or drops candidates.

use std::{path::Path, sync::Arc};

use recmesh_contract::{Class, Failure, ItemIndex, Rank, RankQuery, reason};
use recmesh_kernels::Workspace;

use super::{
    interactions::{Asker, InteractionMmoe},
    tabular::{TabularMmoe, TabularRow},
};
use crate::ModelError;

/// Candidates computed together: bounds the memory of a query, and fills a matrix multiplication.
const BATCH: usize = 2048;

/// Reads a ranking model over interactions.
///
/// # Errors
/// When a file is missing, corrupt, or of a model over rows of features.
pub fn load(dir: &Path) -> Result<Box<dyn Rank>, ModelError> {
    Ok(InteractionMmoe::load(dir)?.ranker())
}

/// Reads a ranking model over rows of features.
///
/// # Errors
/// When a file is missing, corrupt, or of a model over interactions.
pub fn load_tabular(dir: &Path) -> Result<TabularRanker, ModelError> {
    Ok(TabularRanker { model: Arc::new(TabularMmoe::load(dir)?), workspace: Workspace::default() })
}

/// A model over rows of features, ready to answer.
pub struct TabularRanker {
    model: Arc<TabularMmoe>,
    workspace: Workspace,
}

impl TabularRanker {
    /// The tasks' names, in the order of the scores.
    #[must_use]
    pub fn tasks(&self) -> Vec<String> {
        self.model.tasks().map(str::to_owned).collect()
    }

    /// Probabilities, `rows × tasks` row-major.
    ///
    /// # Errors
    /// [`reason::NOT_A_NUMBER`] when a score is not a number.
    pub fn score(&mut self, rows: &[&TabularRow]) -> Result<Vec<f32>, Failure> {
        numbers(self.model.probabilities(&mut self.workspace, rows))
    }

    /// Another instance over the same weights.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { model: Arc::clone(&self.model), workspace: Workspace::default() }
    }
}

impl InteractionMmoe {
    /// The model, ready to answer.
    #[must_use]
    pub fn ranker(self) -> Box<dyn Rank> {
        let tasks = self.tasks().map(str::to_owned).collect();
        Box::new(InteractionRanker { model: Arc::new(self), tasks, workspace: Workspace::default() })
    }
}

struct InteractionRanker {
    model: Arc<InteractionMmoe>,
    tasks: Arc<[String]>,
    workspace: Workspace,
}

impl Rank for InteractionRanker {
    fn tasks(&self) -> Arc<[String]> {
        Arc::clone(&self.tasks)
    }

    fn rank(&mut self, queries: &[RankQuery<'_>]) -> Result<Vec<Vec<f32>>, Failure> {
        let items = self.model.items();
        if let Some(&item) = queries.iter().flat_map(|q| q.candidates).find(|&&item| item as usize >= items) {
            let diagnostic = format!("candidate {item} of a ranking model that knows {items} items");
            return Err(Failure::new(Class::Internal, reason::WRONG_REPLY, diagnostic));
        }
        let mut answers: Vec<Vec<f32>> =
            queries.iter().map(|q| Vec::with_capacity(q.candidates.len() * self.tasks.len())).collect();
        for batch in batches(queries) {
            let askers: Vec<Asker<'_>> = batch.iter().map(|piece| piece.asker).collect();
            let candidates: Vec<ItemIndex> = batch.iter().flat_map(|piece| piece.candidates).copied().collect();
            let owner = |(i, piece): (usize, &Piece<'_>)| std::iter::repeat_n(i as u32, piece.candidates.len());
            let owners: Vec<u32> = batch.iter().enumerate().flat_map(owner).collect();
            let scores = numbers(self.model.score(&mut self.workspace, &askers, &candidates, &owners))?;
            let mut rest = scores.as_slice();
            for piece in &batch {
                let (own, others) = rest.split_at(piece.candidates.len() * self.tasks.len());
                answers[piece.query].extend_from_slice(own);
                rest = others;
            }
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Rank> {
        let (model, tasks) = (Arc::clone(&self.model), Arc::clone(&self.tasks));
        Box::new(Self { model, tasks, workspace: Workspace::default() })
    }
}

/// Some candidates of one query.
struct Piece<'a> {
    query: usize,
    asker: Asker<'a>,
    candidates: &'a [ItemIndex],
}

/// Queries in batches of at most [`BATCH`] candidates; a longer query is cut.
fn batches<'a>(queries: &[RankQuery<'a>]) -> Vec<Vec<Piece<'a>>> {
    let (mut all, mut batch, mut size) = (Vec::new(), Vec::new(), 0);
    for (query, q) in queries.iter().enumerate() {
        let asker = Asker { history: q.history, user: q.user };
        for candidates in q.candidates.chunks(BATCH) {
            if size + candidates.len() > BATCH {
                all.push(std::mem::take(&mut batch));
                size = 0;
            }
            size += candidates.len();
            batch.push(Piece { query, asker, candidates });
        }
    }
    all.push(batch);
    all
}

/// The scores, or the failure that one is no number.
fn numbers(scores: Vec<f32>) -> Result<Vec<f32>, Failure> {
    match scores.iter().position(|s| s.is_nan()) {
        None => Ok(scores),
        Some(at) => Err(Failure::new(Class::Internal, reason::NOT_A_NUMBER, format!("score {at} of a ranking model"))),
    }
}
