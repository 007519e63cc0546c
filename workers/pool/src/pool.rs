//! A pool's life: start threads, warm up, serve, drain.
//!
//! ## Starting => (Ready, Draining)
//! Threads run and take calls; the pool is not ready until every engine has answered a request of its own.
//! ## Ready => (Draining)
//! ## Draining => (Stopped)
//! New calls are refused, admitted ones are finished.
//! ## Stopped
//! Threads are joined.
//!
//! One system thread a pool and one arbiter, which is one OS thread, an engine. Only addresses cross to other threads. An
//! engine of several threads starts and ends its others itself. Those of a pool that asks for it are bound to cores, all or
//! none: where others have the cores, the pool starts without and [`Pool::pin`] tries again.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use actix::{Actor, Addr, Arbiter, System};
use recmesh_contract::{
    Call, Failure, Name, Quantized, Stage, Threads, Work,
    config::{PoolConfig, PoolParams},
};
use recmesh_kernels::Lease;
use recmesh_models::retrieval::ServesFrom;
use recmesh_store::Store;
use recmesh_telemetry::{PoolMetrics, PoolRecorder};

use crate::{
    batcher::Batcher,
    engine::Engine,
    error::PoolError,
    gate::Gate,
    handle::{Handle, Line},
    load::{Loaded, load},
    worker::{Bind, Worker},
};

/// Time for one engine's warm-up request.
const WARM_UP: Duration = Duration::from_secs(60);

/// Engine threads over one model.
pub struct Pool {
    handle: Arc<Handle>,
    warm_up: Work,
    /// What its model serves from, and why.
    from: Option<(ServesFrom, String)>,
    system: System,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    /// Threads of each engine, at most.
    threads: usize,
    pinned: bool,
    /// Cores of the engines' threads, which the system's thread holds until they have ended.
    cores: Arc<Mutex<Lease>>,
}

impl Pool {
    /// Loads what the pool serves and starts its threads. Not ready before [`Pool::warm_up`].
    ///
    /// # Errors
    /// When an artifact is missing or refused, or a thread cannot be started.
    pub fn start(config: &PoolConfig, store: &Store, metrics: &PoolMetrics) -> Result<Self, PoolError> {
        let params = &config.params;
        let loaded = load(&config.name, &config.serves, params.device, store)?;
        if let Some(Quantized { precision, message, served_bytes, .. }) = &loaded.quantized {
            tracing::info!(pool = %config.name, precision = precision.as_str(), "quantization: {message}");
            metrics.of(config.name.as_str()).serves(precision.as_str(), *served_bytes);
        }
        if let Some((from, why)) = &loaded.from {
            tracing::info!(pool = %config.name, device = from.as_str(), why, "the model serves from here");
            metrics.of(config.name.as_str()).serves_from(from.as_str(), params.engines.max(1));
        }
        // What is more would take turns. Where it cannot be told, as many as were asked for.
        let processors = thread::available_parallelism().map_or(usize::MAX, usize::from);
        Self::over(config.name.clone(), params, loaded, processors, metrics)
    }

    /// A pool over what was loaded, on so many processors.
    pub(crate) fn over(
        name: Name,
        params: &PoolParams,
        loaded: Loaded,
        processors: usize,
        metrics: &PoolMetrics,
    ) -> Result<Self, PoolError> {
        let Loaded { engine, warm_up, quantized: _, from } = loaded;
        let recorder = metrics.of(name.as_str());
        let engines = params.engines.max(1) as usize;
        let asked = params.threads.max(1) as usize;
        let threads = asked.min((processors / engines).max(1));
        let wanted = engines * asked;
        // Fewer threads than asked for are not bound: there are too few cores for all.
        let pinned = params.pinned && threads == asked;
        let cores = Arc::new(Mutex::new(if pinned { Lease::take(wanted) } else { Lease::default() }));
        if params.pinned && held(&cores).cores().is_empty() {
            tracing::warn!(pool = %name, wanted, "pinned, but fewer cores are left for the process: no thread is bound");
        }
        let parts = shares(&held(&cores), engines, threads);
        let workers = parts.into_iter().map(|threads| (engine.fork(), threads, recorder.clone())).collect();
        let (system, thread, addresses) = start_threads(&name, params, workers, Arc::clone(&cores))
            .map_err(|source| PoolError::Thread { pool: name.clone(), source })?;
        let gate = || Gate::new(params.queue.max(1) as usize, recorder.clone());
        let lines = addresses.into_iter().map(|address| Line { address, gate: gate() }).collect();
        let handle =
            Handle { name, lines, warm: AtomicBool::new(false), next: AtomicUsize::new(0), recorder: recorder.clone() };
        Ok(Self {
            handle: Arc::new(handle),
            warm_up,
            from,
            system,
            thread: Mutex::new(Some(thread)),
            threads,
            pinned,
            cores,
        })
    }

    /// The stage that callers hold; it outlives the pool and then refuses.
    #[must_use]
    pub fn stage(&self) -> Arc<dyn Stage> {
        Arc::clone(&self.handle) as Arc<dyn Stage>
    }

    /// What its model serves from, and why; `None` without a model.
    #[must_use]
    pub fn serves_from(&self) -> Option<(ServesFrom, &str)> {
        self.from.as_ref().map(|(from, why)| (*from, why.as_str()))
    }

    /// The pool's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.handle.name
    }

    /// Sends every engine a request of its own through its queue; the pool is ready when all have answered.
    ///
    /// # Errors
    /// The failure of the first engine that does not answer.
    pub async fn warm_up(&self) -> Result<(), Failure> {
        for line in &self.handle.lines {
            let ticket = line.gate.admit().map_err(|why| self.handle.refuse(why))?;
            let deadline = Instant::now() + WARM_UP;
            let call = Call { work: self.warm_up.clone(), deadline, request_id: "warm-up".into() };
            Handle::wait(self.handle.send(line, ticket, call)?).await?;
        }
        self.handle.warm.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Binds the threads of a pool that asks for it and has found too few cores so far, if there are enough now: those of
    /// a pool that was drained are free. Returns when every engine has its cores.
    pub async fn pin(&self) {
        let engines = self.handle.lines.len();
        let parts = {
            let mut cores = held(&self.cores);
            if !self.pinned || !cores.cores().is_empty() {
                return;
            }
            *cores = Lease::take(engines * self.threads);
            if cores.cores().is_empty() {
                return;
            }
            shares(&cores, engines, self.threads)
        };
        for (line, Threads { cores, .. }) in self.handle.lines.iter().zip(parts) {
            // An engine thread that has ended needs no core.
            let _ = line.address.send(Bind(cores)).await;
        }
        tracing::info!(pool = %self.handle.name, "each thread of the engines is bound to a core of its own now");
    }

    /// Refuses new calls, finishes the admitted ones and joins the threads. A second call returns when the first has.
    pub async fn drain(&self) {
        self.handle.lines.iter().for_each(|line| line.gate.close());
        for line in &self.handle.lines {
            line.gate.emptied().await;
        }
        self.system.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::warn!(pool = %self.handle.name, "a pool's system thread ended by a panic");
            }
            // Whoever waits for cores may have them, though somebody still holds this pool.
            *held(&self.cores) = Lease::default();
        }
    }
}

fn held(cores: &Mutex<Lease>) -> MutexGuard<'_, Lease> {
    cores.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What each engine gets: its threads, and as many of the cores.
fn shares(cores: &Lease, engines: usize, threads: usize) -> Vec<Threads> {
    let share = |engine: usize| {
        let own = cores.cores().get(engine * threads..(engine + 1) * threads);
        Threads { count: threads, cores: own.unwrap_or_default().to_vec() }
    };
    (0..engines).map(share).collect()
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.handle.lines.iter().for_each(|line| line.gate.close());
        self.system.stop();
    }
}

type Started = (System, Vec<Addr<Worker>>);
/// What a worker is made of.
type Ready = (Box<dyn Engine>, Threads, PoolRecorder);

/// Starts the system's thread and an arbiter for each worker. Their cores are nobody else's until all have ended, however
/// the pool ends.
fn start_threads(
    name: &Name,
    params: &PoolParams,
    workers: Vec<Ready>,
    cores: Arc<Mutex<Lease>>,
) -> io::Result<(System, thread::JoinHandle<()>, Vec<Addr<Worker>>)> {
    let (sender, started) = mpsc::channel::<io::Result<Started>>();
    let params = params.clone();
    let thread = thread::Builder::new().name(format!("pool-{name}")).spawn(move || {
        let runner = System::new();
        let system = System::current();
        let mut arbiters = Vec::new();
        let mut start = |ready| {
            let arbiter = Arbiter::try_new()?;
            let handle = arbiter.handle();
            arbiters.push(arbiter);
            io::Result::Ok(start_worker(&handle, &params, ready))
        };
        let addresses: io::Result<Vec<_>> = workers.into_iter().map(&mut start).collect();
        if addresses.is_err() {
            system.stop();
        }
        let told = sender.send(addresses.map(|addresses| (system.clone(), addresses)));
        if told.is_err() {
            system.stop();
        }
        // Returns when the system is stopped, which stops every arbiter.
        if let Err(error) = runner.run() {
            tracing::warn!(%error, "a pool's system ended early");
        }
        for arbiter in arbiters {
            if arbiter.join().is_err() {
                tracing::warn!("an engine thread ended by a panic");
            }
        }
        drop(cores);
    })?;
    let (system, addresses) =
        started.recv().unwrap_or_else(|_| Err(io::Error::other("the system's runtime could not be made")))?;
    Ok((system, thread, addresses))
}

fn start_worker(
    arbiter: &actix::ArbiterHandle,
    params: &PoolParams,
    (engine, threads, recorder): Ready,
) -> Addr<Worker> {
    let (queue, asked) = (params.queue.max(1) as usize, params.threads.max(1) as usize);
    // A batch larger than the queue could never fill up.
    let batcher = Batcher::new((params.max_batch as usize).min(queue), params.max_batch_age.duration());
    Worker::start_in_arbiter(arbiter, move |ctx| {
        // One more than the gate lets in and one for cores, so that the gate alone decides: a mailbox at its bound also
        // holds the sender back for one message after it has room again.
        ctx.set_mailbox_capacity(queue + 2);
        Worker::new(engine, threads, asked, batcher, recorder)
    })
}
