//! Collects requests into a batch and says when it closes; drops what nobody waits for any more.
//!
//! A batch closes when it holds `max` requests or when its oldest has waited `age`. Pure: time comes in as a value, so
//! nothing here sleeps. Requests keep their order.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use recmesh_contract::{Call, Done, Failure};
use tokio::sync::oneshot;
use tracing::Span;

use crate::gate::Ticket;

/// One admitted request.
pub(crate) struct Job {
    /// What is asked.
    pub(crate) call: Call,
    /// Where the answer goes; closed once the caller has gone.
    pub(crate) reply: oneshot::Sender<Result<Done, Failure>>,
    /// Its place in the queue.
    pub(crate) ticket: Ticket,
    /// When it was admitted.
    pub(crate) arrived: Instant,
    /// The caller's span; the batch's while it is computed.
    pub(crate) span: Span,
}

impl actix::Message for Job {
    type Result = ();
}

/// The requests taken out of a batcher.
#[derive(Default)]
pub(crate) struct Batch {
    /// To compute.
    pub(crate) live: Vec<Job>,
    /// Their deadline has passed.
    pub(crate) expired: Vec<Job>,
    /// Their callers have gone.
    pub(crate) cancelled: Vec<Job>,
}

/// Requests that wait to be computed together.
pub(crate) struct Batcher {
    max: usize,
    age: Duration,
    jobs: VecDeque<Job>,
}

impl Batcher {
    /// Batches of at most `max` requests, the first of which waits at most `age`.
    pub(crate) fn new(max: usize, age: Duration) -> Self {
        Self { max: max.max(1), age, jobs: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Whether the batch closes by size.
    pub(crate) fn is_full(&self) -> bool {
        self.jobs.len() >= self.max
    }

    /// When the batch closes by age; `None` while it is empty.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.jobs.front().map(|job| job.arrived + self.age)
    }

    /// Takes out at most `max` requests worth computing, and everything before them that is not.
    pub(crate) fn take(&mut self, now: Instant) -> Batch {
        let mut batch = Batch::default();
        while batch.live.len() < self.max
            && let Some(job) = self.jobs.pop_front()
        {
            if job.reply.is_closed() {
                batch.cancelled.push(job);
            } else if job.call.deadline <= now {
                batch.expired.push(job);
            } else {
                batch.live.push(job);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests;
