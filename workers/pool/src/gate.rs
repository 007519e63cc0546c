//! Admission to one engine: counts who waits and who is inside, exactly.
//!
//! A mailbox alone cannot bound the queue, because the batcher takes requests out of it before they are computed. So
//! each request carries a [`Ticket`] from the moment it is admitted until it is answered or dropped, wherever it is.
//!
//! ## Waiting => (Computing, Gone)
//! Counts against the bound. [`Ticket::begin`] moves on; dropping the ticket leaves.
//! ## Computing => (Gone)
//! Counts for [`Gate::emptied`] only.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use recmesh_telemetry::PoolRecorder;
use tokio::sync::Notify;

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many wait as may.
    Full,
    /// The pool is draining.
    Closed,
}

/// The gate of one engine.
pub(crate) struct Gate {
    bound: usize,
    waiting: AtomicUsize,
    inside: AtomicUsize,
    closed: AtomicBool,
    emptied: Notify,
    recorder: PoolRecorder,
}

impl Gate {
    pub(crate) fn new(bound: usize, recorder: PoolRecorder) -> Arc<Self> {
        Arc::new(Self {
            bound,
            waiting: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            emptied: Notify::new(),
            recorder,
        })
    }

    /// Admits one request, if there is room.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Ticket, Refused> {
        let room = |waiting: usize| (waiting < self.bound).then_some(waiting + 1);
        self.waiting.fetch_update(SeqCst, SeqCst, room).map_err(|_| Refused::Full)?;
        self.inside.fetch_add(1, SeqCst);
        self.recorder.queued.inc();
        // Made before the flag is read: whoever closes the gate either is seen here or sees this request inside.
        let ticket = Ticket { gate: Arc::clone(self), waits: true };
        if self.closed.load(SeqCst) { Err(Refused::Closed) } else { Ok(ticket) }
    }

    /// How busy the engine is: first who waits, then who is inside.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.waiting.load(SeqCst), self.inside.load(SeqCst))
    }

    /// Admits nobody from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Returns when nobody is inside.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the count is read, so that no departure in between is missed.
            emptied.as_mut().enable();
            if self.inside.load(SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A place in a queue; dropping it gives the place back.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    waits: bool,
}

impl Ticket {
    /// The request is being computed and counts no longer as waiting.
    pub(crate) fn begin(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.gate.waiting.fetch_sub(1, SeqCst);
            self.gate.recorder.queued.dec();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.begin();
        if self.gate.inside.fetch_sub(1, SeqCst) == 1 {
            self.gate.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use recmesh_telemetry::Telemetry;

    use super::*;

    #[test]
    fn the_bound_counts_those_who_wait_and_nobody_else() {
        let gate = Gate::new(2, Telemetry::new().pool().of("p"));
        let mut first = gate.admit().unwrap();
        let second = gate.admit().unwrap();
        assert_eq!(gate.admit().err(), Some(Refused::Full));
        first.begin();
        let third = gate.admit().unwrap();
        assert_eq!(gate.load(), (2, 3));
        drop((second, third));
        assert_eq!(gate.load(), (0, 1));
        gate.close();
        assert_eq!(gate.admit().err(), Some(Refused::Closed));
        drop(first);
        assert_eq!(gate.load(), (0, 0));
    }
}
