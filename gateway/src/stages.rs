//! The request's way through the stages, under one deadline.
//!
//! ```text
//! tokenize ─► no history? ───────────────────────────────► fallback, or nothing where there is none (coldStart)
//!     └─► retrieve ─► failed or late? ───────────────────► fallback (its reason)
//!             └─► rank ─► failed or late? ─► finish: the retrieval order stands (its reason)
//!                   └─► fewer than k? ─► filled up from the fallback (tooFew)
//! ```
//!
//! Each stage sees the time that is left. Where something can stand in for a stage, a share of the time is kept back
//! for it. A stage that fails for the caller's fault is never replaced.

use std::{collections::HashSet, sync::Arc, time::Duration};

use recmesh_contract::{Call, Candidate, Class, Context, Done, Failure, Finish, Item, Request, Work, reason};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, field::Empty};

use crate::{
    answer::Answer,
    route::{Pooled, Served, Step},
    wire::{FallbackBody, StageBody},
};

/// At most this much time is kept back for a stand-in; otherwise a tenth of the whole.
const MOST_RESERVE: Duration = Duration::from_millis(50);

/// Answers a request until `deadline`.
pub(crate) async fn drive(
    route: &Served,
    request: Request,
    deadline: Instant,
    request_id: Arc<str>,
) -> Result<Answer, Failure> {
    let k = request.k;
    let reserve = (deadline.saturating_duration_since(Instant::now()) / 10).min(MOST_RESERVE);
    let mut way = Way { route, deadline, reserve, request_id, stages: Vec::with_capacity(4), fallback: None };

    let context = way.tokenize(request).await?;
    if context.history.is_empty() {
        // No model knows what somebody new would like: without a fallback there is nothing to answer.
        let items = match &route.fallback {
            Some(fallback) => way.stand_in(fallback, &context, k).await?,
            None => Vec::new(),
        };
        way.note(Step::Retrieve, reason::COLD_START, "fallback");
        return Ok(way.answer(items));
    }
    let items = match (way.retrieve(&context, k).await, &route.fallback) {
        (Ok(Found::Items(items)), _) => items,
        (Ok(Found::Candidates(candidates, rank)), _) => way.rank(rank, &context, candidates, k).await?,
        (Err(failure), Some(fallback)) if replaceable(&failure) => {
            let Ok(items) = way.stand_in(fallback, &context, k).await else { return Err(failure) };
            way.note(Step::Retrieve, failure.reason, "fallback");
            log(&failure, "retrieval failed; the fallback answers");
            return Ok(way.answer(items));
        }
        (Err(failure), _) => return Err(failure),
    };
    let items = way.fill(&context, items, k).await;
    Ok(way.answer(items))
}

/// What retrieval gave: the answer, or candidates for a rank stage.
enum Found<'a> {
    Items(Vec<Item>),
    Candidates(Vec<Candidate>, &'a Pooled),
}

/// One request on its way.
struct Way<'a> {
    route: &'a Served,
    deadline: Instant,
    reserve: Duration,
    request_id: Arc<str>,
    stages: Vec<StageBody>,
    fallback: Option<FallbackBody>,
}

impl<'a> Way<'a> {
    async fn tokenize(&mut self, request: Request) -> Result<Arc<Context>, Failure> {
        let work = Work::Tokenize(Arc::new(request));
        match self.call(Step::Tokenize, &self.route.tokenize, work, self.deadline).await? {
            Done::Context(context) => Ok(context),
            _ => Err(wrong_reply(Step::Tokenize)),
        }
    }

    async fn retrieve(&mut self, context: &Arc<Context>, k: usize) -> Result<Found<'a>, Failure> {
        let route = self.route;
        let kept = if route.fallback.is_some() || route.rank.is_some() { self.reserve } else { Duration::ZERO };
        let work = match &route.rank {
            Some(_) => {
                let candidates = (route.params.candidates as usize).max(k);
                Work::Retrieve { context: Arc::clone(context), candidates, finish: None }
            }
            None => retrieve_items(context, k),
        };
        let done = self.call(Step::Retrieve, &route.retrieve, work, self.deadline - kept).await?;
        match (done, &route.rank) {
            (Done::Candidates(candidates), Some(rank)) => Ok(Found::Candidates(candidates, rank)),
            (Done::Items(items), None) => Ok(Found::Items(items)),
            _ => Err(wrong_reply(Step::Retrieve)),
        }
    }

    /// Scores candidates; where that fails the retrieval order stands.
    async fn rank(
        &mut self,
        rank: &Pooled,
        context: &Arc<Context>,
        candidates: Vec<Candidate>,
        k: usize,
    ) -> Result<Vec<Item>, Failure> {
        if candidates.is_empty() {
            return Ok(vec![]);
        }
        let finish = Some(Finish { k, weights: Arc::clone(&self.route.weights) });
        let work = Work::Rank { context: Arc::clone(context), candidates: candidates.clone(), finish };
        let failure = match self.call(Step::Rank, rank, work, self.deadline - self.reserve).await {
            Ok(Done::Items(items)) => return Ok(items),
            Ok(_) => wrong_reply(Step::Rank),
            Err(failure) if replaceable(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        let work = Work::Describe { candidates, k };
        match self.call(Step::Finish, &self.route.tokenize, work, self.deadline).await {
            Ok(Done::Items(items)) => {
                log(&failure, "ranking failed; the retrieval order stands");
                self.note(Step::Rank, failure.reason, "retrieve");
                Ok(items)
            }
            _ => Err(failure),
        }
    }

    /// Fills up from the fallback. That it cannot is no failure: fewer items are an answer too.
    async fn fill(&mut self, context: &Arc<Context>, mut items: Vec<Item>, k: usize) -> Vec<Item> {
        let Some(fallback) = self.route.fallback.as_ref().filter(|_| items.len() < k) else { return items };
        // All items we have may be among the fallback's first.
        let Ok(more) = self.stand_in(fallback, context, k + items.len()).await else { return items };
        let have: HashSet<String> = items.iter().map(|item| item.id.clone()).collect();
        // The two models' scores do not compare; what is filled in never scores above what was found.
        let most = items.last().map_or(f32::INFINITY, |item| item.score);
        let fresh = more.into_iter().filter(|item| !have.contains(&item.id)).take(k - items.len());
        items.extend(fresh.map(|item| Item { score: item.score.min(most), ..item }));
        if items.len() > have.len() {
            self.note(Step::Retrieve, reason::TOO_FEW, "fallback");
        }
        items
    }

    /// The fallback's own items.
    async fn stand_in(&mut self, fallback: &Pooled, context: &Arc<Context>, k: usize) -> Result<Vec<Item>, Failure> {
        match self.call(Step::Fallback, fallback, retrieve_items(context, k), self.deadline).await? {
            Done::Items(items) => Ok(items),
            _ => Err(wrong_reply(Step::Fallback)),
        }
    }

    /// Calls one stage and waits for it until `deadline`.
    async fn call(&mut self, step: Step, pooled: &Pooled, work: Work, deadline: Instant) -> Result<Done, Failure> {
        let began = Instant::now();
        let late = || {
            let text = format!("the time ran out in stage {}", step.name());
            Failure::new(Class::DeadlineExceeded, reason::DEADLINE, text)
        };
        if deadline <= began {
            return Err(late());
        }
        let request_id = Arc::clone(&self.request_id);
        let call = Call { work, deadline: deadline.into_std(), request_id };
        let span =
            tracing::info_span!("stage", otel.name = step.name(), pool = %pooled.pool, ms = Empty, reason = Empty);
        // Inside the span, so that a pool's own span becomes its child.
        let reply = span.in_scope(|| pooled.stage.call(call));
        let result = timeout_at(deadline, reply).instrument(span.clone()).await.unwrap_or_else(|_| Err(late()));
        let time = began.elapsed();
        self.route.lane.metrics.stage(step.name(), time);
        // Microseconds are as fine as anybody reads.
        let ms = time.as_micros() as f64 / 1000.0;
        span.record("ms", ms);
        if let Err(failure) = &result {
            span.record("reason", failure.reason);
        }
        self.stages.push(StageBody { name: step.name(), ms });
        result
    }

    /// Records that the release's model of `role` stood in; the reply tells the first of them.
    fn note(&mut self, step: Step, reason: &'static str, role: &str) {
        let model = self.route.release.models.get(role).cloned();
        self.route.lane.metrics.fallback(step.name(), reason);
        self.fallback.get_or_insert(FallbackBody { stage: step.name(), reason, model });
    }

    fn answer(self, items: Vec<Item>) -> Answer {
        Answer { items, stages: self.stages, fallback: self.fallback }
    }
}

fn retrieve_items(context: &Arc<Context>, k: usize) -> Work {
    let finish = Some(Finish { k, weights: Arc::default() });
    Work::Retrieve { context: Arc::clone(context), candidates: k, finish }
}

/// Whether something may stand in for the stage that failed.
fn replaceable(failure: &Failure) -> bool {
    match failure.class {
        Class::Overloaded | Class::DeadlineExceeded | Class::Unavailable | Class::Internal => true,
        Class::Invalid | Class::NotFound | Class::Cancelled => false,
    }
}

/// Defects are told aloud; the rest is counted, because a line for each would make an overload worse.
fn log(failure: &Failure, what: &'static str) {
    match failure.class {
        Class::Internal => tracing::error!(%failure, what),
        _ => tracing::debug!(%failure, what),
    }
}

fn wrong_reply(step: Step) -> Failure {
    let text = format!("stage {} answered with something else than asked for", step.name());
    Failure::new(Class::Internal, reason::WRONG_REPLY, text)
}
