//! The actor on an engine thread: mailbox → batcher → engine → replies.
//!
//! ## Idle => (Collecting)
//! The mailbox is empty; the thread sleeps.
//! ## Collecting => (Computing)
//! Requests go from the mailbox to the batcher until the batch is full or its oldest has waited long enough.
//! ## Computing => (Idle, Collecting)
//! The thread computes and takes no message. Who arrives waits in the mailbox and makes the next batch. A panic fails
//! this batch; the engine is replaced by a fork of one that has never run, with threads of its own like the first.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, fut};
use recmesh_contract::{Class, DeviceWork, Done, Failure, Threads, Work, reason};
use recmesh_telemetry::PoolRecorder;

use crate::{
    batcher::{Batcher, Job},
    engine::Engine,
};

/// Cores that an engine's threads are bound to from now on, one each.
pub(crate) struct Bind(pub(crate) Vec<usize>);

impl actix::Message for Bind {
    type Result = ();
}

/// One engine and its batch.
pub(crate) struct Worker {
    /// Never runs, so that no panic can have left it half changed; forked for every start.
    pristine: Box<dyn Engine>,
    /// `None` after a panic, until the next batch.
    engine: Option<Box<dyn Engine>>,
    threads: Threads,
    /// Threads that the pool asks for; there may be fewer processors.
    asked: usize,
    batcher: Batcher,
    alarm: Option<SpawnHandle>,
    illegal: u64,
    device: DeviceWork,
    recorder: PoolRecorder,
}

impl Worker {
    /// To be called on the engine's thread.
    pub(crate) fn new(
        pristine: Box<dyn Engine>,
        threads: Threads,
        asked: usize,
        batcher: Batcher,
        recorder: PoolRecorder,
    ) -> Self {
        let engine = Some(fresh(&*pristine, &threads, asked));
        let (alarm, illegal, device) = (None, 0, DeviceWork::default());
        Self { pristine, engine, threads, asked, batcher, alarm, illegal, device, recorder }
    }

    /// Sees to it that the batch that is open now closes.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(due) = self.batcher.due() else { return };
        if self.alarm.is_some() {
            return;
        }
        let left = due.saturating_duration_since(Instant::now());
        self.alarm = Some(if left.is_zero() {
            // Polled after the mailbox is empty, so that everybody who is already there joins the batch.
            ctx.spawn(fut::ready(()).map(|(), worker: &mut Self, ctx: &mut Context<Self>| worker.ring(ctx)))
        } else {
            ctx.run_later(left, Self::ring)
        });
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm = None;
        let now = Instant::now();
        if self.batcher.due().is_some_and(|due| due <= now) {
            self.compute(now);
        }
        self.arm(ctx);
    }

    /// Computes one batch and answers it.
    fn compute(&mut self, now: Instant) {
        let batch = self.batcher.take(now);
        self.recorder.cancelled.inc_by(batch.cancelled.len() as u64);
        self.recorder.expired.inc_by(batch.expired.len() as u64);
        drop(batch.cancelled);
        for job in batch.expired {
            let late = Failure::new(Class::DeadlineExceeded, reason::DEADLINE, "the deadline passed in the queue");
            answer(job, Err(late));
        }
        let mut jobs = batch.live;
        if jobs.is_empty() {
            return;
        }
        let requests = jobs.len();
        self.recorder.batch.observe(requests as f64);
        let work = jobs
            .iter_mut()
            .map(|job| {
                job.ticket.begin();
                let wait = now.saturating_duration_since(job.arrived).as_secs_f64();
                self.recorder.wait.observe(wait);
                // A batch belongs to many traces, so each of them gets a span of it.
                if !job.span.is_disabled() {
                    job.span = tracing::info_span!(parent: &job.span, "batch", requests, wait_ms = wait * 1000.0);
                }
                job.call.work.clone()
            })
            .collect();
        let answers = self.run(work);
        self.recorder.compute.observe(now.elapsed().as_secs_f64());
        match answers {
            Ok(answers) if answers.len() == jobs.len() => {
                jobs.into_iter().zip(answers).for_each(|(job, result)| answer(job, result));
            }
            Ok(answers) => {
                let text = format!("the engine gave {} answers to {} requests", answers.len(), jobs.len());
                let failure = Failure::new(Class::Internal, reason::WRONG_REPLY, text);
                jobs.into_iter().for_each(|job| answer(job, Err(failure.clone())));
            }
            Err(failure) => jobs.into_iter().for_each(|job| answer(job, Err(failure.clone()))),
        }
    }

    /// Runs the engine; a panic is caught, counted and answered by a fresh engine next time.
    fn run(&mut self, work: Vec<Work>) -> Result<Vec<Result<Done, Failure>>, Failure> {
        let Self { pristine, engine, threads, asked, recorder, illegal, device, .. } = self;
        // Nothing a panic leaves behind is looked at again: the engine is dropped.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut running = engine.take().unwrap_or_else(|| {
                recorder.restarts.inc();
                (*illegal, *device) = (0, DeviceWork::default());
                fresh(&**pristine, threads, *asked)
            });
            let answers = running.run(work);
            let seen = running.illegal();
            recorder.illegal.inc_by(seen.saturating_sub(*illegal));
            *illegal = seen;
            told(recorder, device, running.device());
            *engine = Some(running);
            answers
        }));
        ran.map_err(|payload| {
            recorder.panics.inc();
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(panic = text, "an engine panicked; its batch fails and the engine is replaced");
            Failure::new(Class::Internal, reason::PANIC, text)
        })
    }
}

/// An engine that has not run, with its threads.
fn fresh(pristine: &dyn Engine, threads: &Threads, asked: usize) -> Box<dyn Engine> {
    let mut engine = pristine.fork();
    // An engine of one thread that is not bound goes wherever the system has room.
    if threads.count > 1 || !threads.cores.is_empty() {
        give(&mut *engine, threads, asked);
    } else {
        warn(1, asked);
    }
    engine
}

fn give(engine: &mut dyn Engine, threads: &Threads, asked: usize) {
    warn(engine.set_threads(threads), asked);
}

fn warn(count: usize, asked: usize) {
    if count < asked {
        tracing::warn!(asked, count, "an engine computes on fewer threads than asked for");
    }
}

/// Counts what a device did since it was asked last, and says once what is wrong with it.
fn told(recorder: &PoolRecorder, before: &mut DeviceWork, now: DeviceWork) {
    recorder.graphs.inc_by(now.graphs.saturating_sub(before.graphs));
    recorder.eager.inc_by(now.eager.saturating_sub(before.eager));
    recorder.declined.inc_by(now.declined.saturating_sub(before.declined));
    if let Some(trouble) = now.trouble.as_ref().filter(|_| now.trouble != before.trouble) {
        tracing::error!(trouble, "a device does not do what it should");
    }
    *before = now;
}

fn answer(job: Job, result: Result<Done, Failure>) {
    let Job { reply, ticket, span, .. } = job;
    drop(span);
    // The place is free before the caller knows, so that a caller who asks again at once finds it free.
    drop(ticket);
    // An error here only means that the caller has gone meanwhile.
    let _ = reply.send(result);
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<Job> for Worker {
    type Result = ();

    fn handle(&mut self, job: Job, ctx: &mut Context<Self>) {
        self.batcher.push(job);
        if self.batcher.is_full() {
            self.compute(Instant::now());
        }
        self.arm(ctx);
    }
}

impl Handler<Bind> for Worker {
    type Result = ();

    fn handle(&mut self, Bind(cores): Bind, _: &mut Context<Self>) {
        self.threads.cores = cores;
        // Where there is none, its replacement gets them.
        if let Some(engine) = &mut self.engine {
            give(&mut **engine, &self.threads, self.asked);
        }
    }
}
