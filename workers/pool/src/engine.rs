//! What an engine thread runs: a batch of work in, one answer each out.
//!
//! Engines know models and the catalog, never queues, threads or deadlines. A panic inside [`Engine::run`] costs the
//! batch it computed; the worker then puts a fresh fork in its place.

use recmesh_contract::{Class, DeviceWork, Done, Failure, Threads, Work, reason};

/// Computes batches on one thread.
pub(crate) trait Engine: Send {
    /// Answers every piece of work, in order.
    fn run(&mut self, batch: Vec<Work>) -> Vec<Result<Done, Failure>>;

    /// Another engine over the same weights, with scratch memory of its own.
    fn fork(&self) -> Box<dyn Engine>;

    /// Shares the work of a batch among threads from now on, each bound to its core where cores are named; gives how many
    /// there are. Called on the engine's thread.
    fn set_threads(&mut self, threads: &Threads) -> usize {
        let _ = threads;
        1
    }

    /// What a device has done so far.
    fn device(&self) -> DeviceWork {
        DeviceWork::default()
    }

    /// How many decoded semantic IDs named no item so far.
    fn illegal(&self) -> u64 {
        0
    }
}

/// The failure of work that this engine's kind of pool never gets: the route table names the wrong pool.
pub(crate) fn wrong_work(pool: &str, work: &Work) -> Failure {
    Failure::new(Class::Internal, reason::WRONG_REPLY, format!("a {pool} pool was given {} work", work.name()))
}
