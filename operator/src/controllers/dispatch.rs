//! Hands out looks: one queue a kind, a bounded number of looks at once in each.
//!
//! In: wishes from anywhere; the look itself as a function. Out: looks run as tasks, each at most once at a time for a
//! resource; a look that panics counts as failed. When it is dropped, so are the looks that run.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use recmesh_crds::Kind;
use recmesh_telemetry::OperatorMetrics;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::queue::Queue;
use crate::{failure::Action, outcome::Subject};

/// The queues of all kinds. Clones share them.
#[derive(Clone)]
pub struct Queues {
    queues: Arc<Mutex<[Queue; 7]>>,
    wished: Arc<Notify>,
    metrics: OperatorMetrics,
}

impl Queues {
    /// Empty queues that allow so many looks at once each.
    #[must_use]
    pub fn new(concurrency: u16, metrics: OperatorMetrics) -> Self {
        let queues = Kind::ALL.map(|_| Queue::new(concurrency));
        Self { queues: Arc::new(Mutex::new(queues)), wished: Arc::new(Notify::new()), metrics }
    }

    /// Wishes a look.
    pub fn wish(&self, subject: Subject) {
        let now = Instant::now();
        self.with(|queues| queues[subject.kind as usize].wish(subject, now));
        self.wished.notify_one();
    }

    /// Forgets every wish.
    pub fn clear(&self) {
        self.with(|queues| queues.iter_mut().for_each(Queue::clear));
        self.measure();
    }

    /// Resources that wait or are being looked at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|queues| queues.iter().map(Queue::len).sum())
    }

    /// Whether nothing waits and nothing is being looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at what is wished, until told to stop; then ends when the looks that run have ended.
    pub async fn run<F>(&self, look: impl Fn(Subject) -> F, stop: impl Future<Output = ()>)
    where
        F: Future<Output = Action> + Send + 'static,
    {
        let mut stop = pin!(stop.fuse());
        let mut looks = JoinSet::new();
        let mut stopping = false;
        loop {
            let now = Instant::now();
            while !stopping && let Some(subject) = self.with(|queues| queues.iter_mut().find_map(|q| q.take(now))) {
                let running = AssertUnwindSafe(look(subject.clone())).catch_unwind();
                looks.spawn(async move { (subject, running.await.unwrap_or(Action::Backoff)) });
            }
            self.measure();
            if stopping && looks.is_empty() {
                return;
            }
            let next = self.with(|queues| queues.iter().filter_map(Queue::next).min());
            tokio::select! {
                () = &mut stop, if !stopping => stopping = true,
                Some(ended) = looks.join_next() => {
                    // A task that was aborted belongs to a set that is gone.
                    if let Ok((subject, action)) = ended {
                        self.with(|queues| queues[subject.kind as usize].done(subject, action, Instant::now()));
                    }
                }
                () = self.wished.notified(), if !stopping => {}
                () = sleep_until(next.unwrap_or(now)), if !stopping && next.is_some() => {}
            }
        }
    }

    fn measure(&self) {
        for kind in Kind::ALL {
            self.metrics.queued(kind.as_str(), self.with(|queues| queues[kind as usize].len()));
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut [Queue; 7]) -> T) -> T {
        what(&mut self.queues.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
