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
mod tests {
    use std::sync::Arc;

    use recmesh_contract::{Request, Work};
    use recmesh_telemetry::Telemetry;

    use super::*;
    use crate::gate::Gate;

    type Answer = oneshot::Receiver<Result<Done, Failure>>;

    /// A request that arrived `at` ms after `start` and has `time` ms; its number is its `k`.
    fn job(gate: &Arc<Gate>, start: Instant, k: usize, at: u64, time: u64) -> (Job, Answer) {
        let (reply, answer) = oneshot::channel();
        let arrived = start + Duration::from_millis(at);
        let request =
            Request { user: None, history: None, k, exclude: vec![], filters: Default::default(), allow_seen: false };
        let call = Call {
            work: Work::Tokenize(Arc::new(request)),
            deadline: arrived + Duration::from_millis(time),
            request_id: "r".into(),
        };
        (Job { call, reply, ticket: gate.admit().unwrap(), arrived }, answer)
    }

    fn numbers(jobs: &[Job]) -> Vec<usize> {
        let number = |job: &Job| match &job.call.work {
            Work::Tokenize(request) => request.k,
            _ => usize::MAX,
        };
        jobs.iter().map(number).collect()
    }

    fn setup(max: usize, age: u64) -> (Arc<Gate>, Instant, Batcher) {
        let gate = Gate::new(1000, Telemetry::new().pool().of("p"));
        (gate, Instant::now(), Batcher::new(max, Duration::from_millis(age)))
    }

    #[test]
    fn closes_on_size_and_on_the_age_of_the_oldest() {
        let (gate, start, mut batcher) = setup(3, 5);
        assert_eq!(batcher.due(), None);
        let mut answers = vec![];
        for (k, at) in [(0, 10), (1, 12)] {
            let (job, answer) = job(&gate, start, k, at, 1000);
            batcher.push(job);
            answers.push(answer);
        }
        assert!(!batcher.is_full());
        assert_eq!(batcher.due(), Some(start + Duration::from_millis(15)));
        let (job, _answer) = job(&gate, start, 2, 13, 1000);
        batcher.push(job);
        assert!(batcher.is_full());
    }

    #[test]
    fn takes_in_order_and_passes_over_the_gone_and_the_late() {
        let (gate, start, mut batcher) = setup(2, 0);
        let mut answers = vec![];
        for (k, time) in [(0, 1000), (1, 5), (2, 1000), (3, 1000), (4, 1000)] {
            let (job, answer) = job(&gate, start, k, 0, time);
            batcher.push(job);
            answers.push(answer);
        }
        drop(answers.remove(2));
        let batch = batcher.take(start + Duration::from_millis(5));
        assert_eq!(numbers(&batch.live), [0, 3]);
        assert_eq!(numbers(&batch.expired), [1]);
        assert_eq!(numbers(&batch.cancelled), [2]);
        assert_eq!(numbers(&batcher.take(start).live), [4]);
        assert_eq!(batcher.due(), None);
    }
}
