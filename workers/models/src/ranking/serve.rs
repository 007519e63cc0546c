//! Ranking models ready to answer: one instance a thread, all over the same weights.
//!
//! In: queries or rows. Out: probabilities, or a failure when a score is no number. Never orders or drops candidates. Once
//! as many were scored together, nothing is allocated but the answers.

use std::{path::Path, sync::Arc};

use recmesh_contract::{Class, Failure, ItemIndex, Rank, RankQuery, Threads, reason};
use recmesh_kernels::{Packed, Tape, Workspace};

use super::{
    interactions::{self, Asker, InteractionMmoe},
    tabular::{self, TabularMmoe, TabularRow},
};
use crate::{ModelError, team::team};

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
    Ok(TabularMmoe::load(dir)?.ranker())
}

/// A model over rows of features, ready to answer.
pub struct TabularRanker {
    model: Arc<TabularMmoe>,
    packed: Arc<Packed>,
    workspace: Workspace,
    scratch: tabular::Scratch,
}

impl TabularMmoe {
    /// The model, ready to answer.
    #[must_use]
    pub fn ranker(mut self) -> TabularRanker {
        let packed = Arc::new(self.pack());
        TabularRanker::over(Arc::new(self), packed)
    }
}

impl TabularRanker {
    fn over(model: Arc<TabularMmoe>, packed: Arc<Packed>) -> Self {
        Self { model, packed, workspace: Workspace::default(), scratch: tabular::Scratch::default() }
    }

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
        let Self { model, packed, workspace, scratch } = self;
        let scores = model.score(packed, workspace, rows, scratch);
        check(&scores)?;
        Ok(scores)
    }

    /// Another instance over the same weights.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::over(Arc::clone(&self.model), Arc::clone(&self.packed))
    }
}

impl InteractionMmoe {
    /// The model, ready to answer.
    #[must_use]
    pub fn ranker(mut self) -> Box<dyn Rank> {
        let tasks = self.tasks().map(str::to_owned).collect();
        let packed = Arc::new(self.pack());
        Box::new(InteractionRanker::over(Arc::new(self), packed, tasks))
    }
}

struct InteractionRanker {
    model: Arc<InteractionMmoe>,
    packed: Arc<Packed>,
    tasks: Arc<[String]>,
    workspace: Workspace,
    batch: Batch,
    scratch: interactions::Scratch,
}

/// Candidates scored together, in memory that the next ones use again.
#[derive(Default)]
struct Batch {
    pieces: Vec<Piece>,
    candidates: Vec<ItemIndex>,
    /// The piece of each candidate.
    owners: Vec<u32>,
}

/// Some candidates of one query.
struct Piece {
    query: usize,
    candidates: usize,
}

impl Batch {
    fn clear(&mut self) {
        let Self { pieces, candidates, owners } = self;
        pieces.clear();
        candidates.clear();
        owners.clear();
    }

    fn push(&mut self, query: usize, candidates: &[ItemIndex]) {
        self.owners.extend(std::iter::repeat_n(self.pieces.len() as u32, candidates.len()));
        self.candidates.extend_from_slice(candidates);
        self.pieces.push(Piece { query, candidates: candidates.len() });
    }
}

impl InteractionRanker {
    fn over(model: Arc<InteractionMmoe>, packed: Arc<Packed>, tasks: Arc<[String]>) -> Self {
        let (workspace, batch, scratch) = (Workspace::default(), Batch::default(), interactions::Scratch::default());
        Self { model, packed, tasks, workspace, batch, scratch }
    }

    /// Scores the batch into the answers of its queries, and empties it.
    fn score(&mut self, queries: &[RankQuery<'_>], answers: &mut [Vec<f32>]) -> Result<(), Failure> {
        let Self { model, packed, tasks, workspace, batch, scratch } = self;
        if batch.candidates.is_empty() {
            return Ok(());
        }
        let mut tape = Tape::serve_packed(model.params(), packed, workspace);
        let askers = batch.pieces.iter().map(|piece| {
            let RankQuery { history, user, .. } = queries[piece.query];
            Asker { history, user }
        });
        let found = model.score(&mut tape, askers, (&batch.candidates, &batch.owners), scratch);
        let mut rest = tape.value(found);
        check(rest)?;
        for piece in &batch.pieces {
            let (own, others) = rest.split_at(piece.candidates * tasks.len());
            answers[piece.query].extend_from_slice(own);
            rest = others;
        }
        batch.clear();
        Ok(())
    }
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
        self.batch.clear();
        for (query, q) in queries.iter().enumerate() {
            for candidates in q.candidates.chunks(BATCH) {
                if self.batch.candidates.len() + candidates.len() > BATCH {
                    self.score(queries, &mut answers)?;
                }
                self.batch.push(query, candidates);
            }
        }
        self.score(queries, &mut answers)?;
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Rank> {
        Box::new(Self::over(Arc::clone(&self.model), Arc::clone(&self.packed), Arc::clone(&self.tasks)))
    }

    fn set_threads(&mut self, threads: &Threads) -> usize {
        let (team, workspace) = team(threads);
        self.workspace = workspace;
        team.threads()
    }
}

/// That every score is a number.
fn check(scores: &[f32]) -> Result<(), Failure> {
    match scores.iter().position(|s| s.is_nan()) {
        None => Ok(()),
        Some(at) => Err(Failure::new(Class::Internal, reason::NOT_A_NUMBER, format!("score {at} of a ranking model"))),
    }
}
