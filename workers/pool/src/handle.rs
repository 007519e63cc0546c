//! The stage that callers hold: picks the engine with the shortest queue, or refuses at once.
//!
//! In: calls, from any thread. Out: a future that is the answer. Nothing here computes, blocks or waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use actix::{Addr, dev::SendError};
use recmesh_contract::{Call, Class, Done, Failure, Name, Reply, Stage, reason};
use recmesh_telemetry::PoolRecorder;
use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    batcher::Job,
    gate::{Gate, Refused, Ticket},
    worker::Worker,
};

type Answer = oneshot::Receiver<Result<Done, Failure>>;

/// One engine thread as callers see it.
pub(crate) struct Line {
    pub(crate) address: Addr<Worker>,
    pub(crate) gate: Arc<Gate>,
}

/// A pool as callers see it.
pub(crate) struct Handle {
    pub(crate) name: Name,
    pub(crate) lines: Vec<Line>,
    pub(crate) warm: AtomicBool,
    pub(crate) next: AtomicUsize,
    pub(crate) recorder: PoolRecorder,
}

impl Handle {
    /// Puts a call into the shortest queue.
    fn submit(&self, call: Call) -> Result<Answer, Failure> {
        let mut refused = Refused::Full;
        // Another caller may take the last place between the look and the step; then the next shortest is tried.
        for _ in 0..self.lines.len() {
            let Some(line) = self.shortest() else { break };
            match line.gate.admit() {
                Ok(ticket) => return self.send(line, ticket, call),
                Err(why) => refused = why,
            }
        }
        Err(self.refuse(refused))
    }

    /// The line with the fewest waiting, then the fewest inside; equals take turns.
    fn shortest(&self) -> Option<&Line> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let (late, early) = self.lines.split_at(turn % self.lines.len().max(1));
        early.iter().chain(late).min_by_key(|line| line.gate.load())
    }

    /// Puts a call into one engine's mailbox.
    pub(crate) fn send(&self, line: &Line, ticket: Ticket, call: Call) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        match line.address.try_send(Job { call, reply, ticket, arrived: Instant::now(), span: Span::current() }) {
            Ok(()) => Ok(answer),
            Err(SendError::Full(_)) => Err(self.refuse(Refused::Full)),
            Err(SendError::Closed(_)) => Err(self.refuse(Refused::Closed)),
        }
    }

    pub(crate) fn refuse(&self, refused: Refused) -> Failure {
        let (class, reason, text) = match refused {
            Refused::Full => (Class::Overloaded, reason::QUEUE_FULL, "is full"),
            Refused::Closed => (Class::Unavailable, reason::STOPPING, "takes no more requests"),
        };
        self.recorder.refused(reason);
        Failure::new(class, reason, format!("pool {} {text}", self.name))
    }

    /// Waits for an answer; an engine thread that ended without one is a failure, never a hang.
    pub(crate) async fn wait(answer: Answer) -> Result<Done, Failure> {
        answer.await.unwrap_or_else(|_| {
            Err(Failure::new(Class::Unavailable, reason::STOPPING, "the engine thread ended before it answered"))
        })
    }
}

impl Stage for Handle {
    fn call(&self, call: Call) -> Reply {
        match self.submit(call) {
            Ok(answer) => Box::pin(Self::wait(answer)),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }

    fn ready(&self) -> bool {
        let open = |line: &Line| line.address.connected() && !line.gate.is_closed();
        self.warm.load(Ordering::SeqCst) && self.lines.iter().all(open)
    }
}
