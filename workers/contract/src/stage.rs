//! A step of the request's way: what it is given, what it gives back.
//!
//! `Tokenize → Retrieve → Rank`; the last stage of a pipeline is told to [`Finish`] and answers described items, so that
//! a gateway needs no catalog. Where ranking fails, [`Work::Describe`] stands in: the retrieval order, described by the
//! tokenize pool, which holds the catalog and no model.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Instant};

use serde::Serialize;

use crate::{Candidate, Context, Failure, Request};

/// What a stage is asked to do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Turn a request into the model's terms.
    Tokenize(Arc<Request>),
    /// Find candidates for a context.
    Retrieve {
        /// From the tokenize stage.
        context: Arc<Context>,
        /// How many candidates to find.
        candidates: usize,
        /// Given to the last stage.
        finish: Option<Finish>,
    },
    /// Score candidates.
    Rank {
        /// From the tokenize stage.
        context: Arc<Context>,
        /// From the retrieve stage.
        candidates: Vec<Candidate>,
        /// Given to the last stage.
        finish: Option<Finish>,
    },
    /// Describe candidates as they are, for a request that nobody could rank. A tokenize pool answers it.
    Describe {
        /// From the retrieve stage, best first.
        candidates: Vec<Candidate>,
        /// How many items to answer.
        k: usize,
    },
}

impl Work {
    /// What is asked, in one word for logs and traces.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tokenize(_) => "tokenize",
            Self::Retrieve { .. } => "retrieve",
            Self::Rank { .. } => "rank",
            Self::Describe { .. } => "describe",
        }
    }
}

/// What the last stage does beside its work: mix task scores, keep `k`, describe.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// How many items to answer.
    pub k: usize,
    /// Weight of each task in the final score, by task name; empty means the retrieval score stands.
    pub weights: Arc<BTreeMap<String, f64>>,
}

/// What a stage answers.
#[derive(Clone, Debug)]
pub enum Done {
    /// The answer to [`Work::Tokenize`].
    Context(Arc<Context>),
    /// The answer of a stage that is not the last.
    Candidates(Vec<Candidate>),
    /// The answer of the last stage and to [`Work::Describe`], best first.
    Items(Vec<Item>),
}

/// A recommended item as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The item's id as the data set writes it.
    pub id: String,
    /// Its title, where the data set has one.
    pub title: Option<String>,
    /// The final score; comparable within one answer.
    pub score: f32,
    /// Its semantic ID: one code a level.
    pub semantic_id: Vec<u32>,
    /// The ranking model's probabilities by task; empty without a ranking stage.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, f32>,
}

/// One call of a stage. Dropping the reply future cancels it: work that has not begun is never computed.
#[derive(Clone, Debug)]
pub struct Call {
    /// What to do.
    pub work: Work,
    /// When the whole request's time ends.
    pub deadline: Instant,
    /// For logs and traces.
    pub request_id: Arc<str>,
}

/// What a stage's call returns.
pub type Reply = Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>>;

/// A stage of a pipeline: a local pool's handle or a remote worker.
pub trait Stage: Send + Sync {
    /// Takes a call, or refuses it at once when its queue is full. Never blocks.
    fn call(&self, call: Call) -> Reply;

    /// Whether it has answered a warm-up request of its own and still takes calls.
    fn ready(&self) -> bool;
}
