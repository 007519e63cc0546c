//! The pool as callers see it, over engines that record what they compute and block until told.

mod pinned;
#[cfg(feature = "otlp")]
mod traces;

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::join_all};
use recmesh_contract::{
    Call, Class, Context, DeviceWork, Done, Failure, Millis, Name, Reply, Request, Threads, Work, config::PoolParams,
    reason,
};
use recmesh_telemetry::Telemetry;

use crate::{engine::Engine, load::Loaded, pool::Pool};

/// The request that makes the engine panic.
const PANICS: usize = 13;
/// The request that makes the engine give no answers.
const SILENT: usize = 14;
const WARM_UP: usize = 1000;
/// Of the machine, where a test does not say.
const PROCESSORS: usize = 64;

/// What the engines of a pool share with the test.
struct Shared {
    /// The numbers of the requests of every batch.
    batches: Mutex<Vec<Vec<usize>>>,
    /// For every engine that was given threads: how many, which cores, and on which thread.
    threads: Mutex<Vec<(usize, Vec<usize>, ThreadId)>>,
    entered: tokio::sync::mpsc::UnboundedSender<()>,
    /// A message lets one batch through; once the sender is dropped all pass.
    release: Mutex<Option<Arc<Mutex<mpsc::Receiver<()>>>>>,
}

struct Fake {
    shared: Arc<Shared>,
    /// Batches that this engine has answered, as a device would.
    ran: u64,
}

impl Engine for Fake {
    fn run(&mut self, batch: Vec<Work>) -> Vec<Result<Done, Failure>> {
        let numbers: Vec<usize> = batch.iter().map(number).collect();
        self.shared.batches.lock().unwrap().push(numbers.clone());
        let _ = self.shared.entered.send(());
        let release = self.shared.release.lock().unwrap().clone();
        if let Some(release) = release {
            let _ = release.lock().unwrap().recv();
        }
        assert!(!numbers.contains(&PANICS), "the model broke");
        self.ran += 1;
        let answer = |&number: &usize| Ok(Done::Context(Arc::new(context(number))));
        if numbers.contains(&SILENT) { vec![] } else { numbers.iter().map(answer).collect() }
    }

    fn fork(&self) -> Box<dyn Engine> {
        Box::new(Self { shared: Arc::clone(&self.shared), ran: 0 })
    }

    fn set_threads(&mut self, threads: &Threads) -> usize {
        let given = (threads.count, threads.cores.clone(), thread::current().id());
        self.shared.threads.lock().unwrap().push(given);
        threads.count
    }

    fn device(&self) -> DeviceWork {
        DeviceWork { graphs: 3 * self.ran, eager: 2 * self.ran, declined: self.ran, trouble: None }
    }
}

fn context(unknown: usize) -> Context {
    Context { user: None, history: vec![], unknown, exclude: vec![], allowed: None }
}

fn work(k: usize) -> Work {
    let filters = Default::default();
    Work::Tokenize(Arc::new(Request { user: None, history: None, k, exclude: vec![], filters, allow_seen: false }))
}

fn number(work: &Work) -> usize {
    match work {
        Work::Tokenize(request) => request.k,
        _ => usize::MAX,
    }
}

struct Bench {
    pool: Pool,
    shared: Arc<Shared>,
    entered: tokio::sync::mpsc::UnboundedReceiver<()>,
    telemetry: Telemetry,
}

fn bench(engines: u32, max_batch: u32, queue: u32) -> Bench {
    let params = PoolParams { engines, max_batch, max_batch_age: Millis(0), queue, ..PoolParams::default() };
    bench_of(&params)
}

fn bench_of(params: &PoolParams) -> Bench {
    bench_on(PROCESSORS, params)
}

fn bench_on(processors: usize, params: &PoolParams) -> Bench {
    let (sender, entered) = tokio::sync::mpsc::unbounded_channel();
    let (batches, threads, release) = Default::default();
    let shared = Arc::new(Shared { batches, threads, entered: sender, release });
    let telemetry = Telemetry::new();
    let engine = Box::new(Fake { shared: Arc::clone(&shared), ran: 0 });
    let loaded = Loaded { engine, warm_up: work(WARM_UP), quantized: None, from: None };
    let pool = Pool::over(Name::new("p").unwrap(), params, loaded, processors, telemetry.pool()).unwrap();
    Bench { pool, shared, entered, telemetry }
}

impl Bench {
    /// Blocks every batch from now on.
    fn block(&self) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel();
        *self.shared.release.lock().unwrap() = Some(Arc::new(Mutex::new(receiver)));
        sender
    }

    fn ask(&self, number: usize) -> Reply {
        self.ask_until(number, Instant::now() + Duration::from_secs(600))
    }

    fn ask_until(&self, number: usize, deadline: Instant) -> Reply {
        self.pool.stage().call(Call { work: work(number), deadline, request_id: "r".into() })
    }

    /// An engine is computing request 0 and takes nothing else.
    async fn busy(&mut self) -> (mpsc::Sender<()>, Reply) {
        let release = self.block();
        let first = self.ask(0);
        self.entered.recv().await.unwrap();
        (release, first)
    }

    /// For every engine that was given threads: how many, which cores, and on which thread.
    fn given(&self) -> Vec<(usize, Vec<usize>, ThreadId)> {
        self.shared.threads.lock().unwrap().clone()
    }

    fn batches(&self) -> Vec<Vec<usize>> {
        self.shared.batches.lock().unwrap().clone()
    }

    fn shows(&self, line: &str) -> bool {
        self.telemetry.encode().unwrap().lines().any(|l| l == line)
    }
}

fn got(result: Result<Done, Failure>) -> Result<usize, (Class, &'static str)> {
    match result {
        Ok(Done::Context(context)) => Ok(context.unknown),
        Ok(_) => Err((Class::Internal, "another answer")),
        Err(failure) => Err((failure.class, failure.reason)),
    }
}

async fn all(replies: impl IntoIterator<Item = Reply>) -> Vec<Result<usize, (Class, &'static str)>> {
    join_all(replies).await.into_iter().map(got).collect()
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_accepts_exactly_its_bound() {
    let mut bench = bench(1, 2, 4);
    let (release, first) = bench.busy().await;
    let mut waiting = vec![];
    let mut refused = vec![];
    for number in 1..=10 {
        let mut reply = bench.ask(number);
        match (&mut reply).now_or_never() {
            Some(result) => refused.push(got(result)),
            None => waiting.push(reply),
        }
    }
    assert_eq!(refused, vec![Err((Class::Overloaded, reason::QUEUE_FULL)); 6]);
    assert!(bench.shows("recmesh_pool_refused_total{pool=\"p\",reason=\"queueFull\"} 6"));
    assert!(bench.shows("recmesh_pool_queued_requests{pool=\"p\"} 4"));
    drop(release);
    assert_eq!(got(first.await), Ok(0));
    assert_eq!(all(waiting).await, [Ok(1), Ok(2), Ok(3), Ok(4)]);
    assert_eq!(bench.batches(), [vec![0], vec![1, 2], vec![3, 4]]);
    assert_eq!(got(bench.ask(5).await), Ok(5), "there is room again");
    assert!(bench.shows("recmesh_pool_queued_requests{pool=\"p\"} 0"));
}

#[tokio::test]
async fn who_arrives_while_an_engine_computes_makes_the_next_batch() {
    let mut bench = bench(1, 16, 64);
    let (release, first) = bench.busy().await;
    let waiting: Vec<Reply> = (1..=5).map(|number| bench.ask(number)).collect();
    drop(release);
    assert_eq!(got(first.await), Ok(0));
    assert_eq!(all(waiting).await, [Ok(1), Ok(2), Ok(3), Ok(4), Ok(5)]);
    assert_eq!(bench.batches(), [vec![0], vec![1, 2, 3, 4, 5]]);
}

#[tokio::test]
async fn a_request_nobody_waits_for_is_never_computed() {
    let mut bench = bench(1, 16, 64);
    let (release, first) = bench.busy().await;
    let gone = bench.ask(1);
    let stays = bench.ask(2);
    drop(gone);
    drop(release);
    assert_eq!(all([first, stays]).await, [Ok(0), Ok(2)]);
    assert_eq!(bench.batches(), [vec![0], vec![2]]);
    assert!(bench.shows("recmesh_pool_cancelled_total{pool=\"p\"} 1"));
}

#[tokio::test]
async fn a_request_past_its_deadline_is_answered_and_never_computed() {
    let mut bench = bench(1, 16, 64);
    let (release, first) = bench.busy().await;
    let late = bench.ask_until(1, Instant::now());
    let stays = bench.ask(2);
    drop(release);
    let results = all([first, late, stays]).await;
    assert_eq!(results, [Ok(0), Err((Class::DeadlineExceeded, reason::DEADLINE)), Ok(2)]);
    assert_eq!(bench.batches(), [vec![0], vec![2]]);
    assert!(bench.shows("recmesh_pool_expired_total{pool=\"p\"} 1"));
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_the_next_request_succeeds() {
    let mut bench = bench(1, 2, 64);
    let (release, first) = bench.busy().await;
    let batch = [bench.ask(1), bench.ask(PANICS)];
    let next = bench.ask(2);
    drop(release);
    assert_eq!(got(first.await), Ok(0));
    assert_eq!(all(batch).await, vec![Err((Class::Internal, reason::PANIC)); 2]);
    assert_eq!(got(next.await), Ok(2));
    assert!(bench.shows("recmesh_pool_panics_total{pool=\"p\"} 1"));
    assert!(bench.shows("recmesh_pool_restarts_total{pool=\"p\"} 1"));
    // What the engine that broke had done before stays counted, and the next one counts on.
    for (name, times) in [("graph_launches", 6), ("eager", 4), ("declined", 2)] {
        assert!(bench.shows(&format!("recmesh_device_{name}_total{{pool=\"p\"}} {times}")));
    }
}

#[tokio::test]
async fn every_engine_gets_threads_of_its_own_and_its_replacement_too() {
    let bench = bench_of(&PoolParams { engines: 2, threads: 3, ..PoolParams::default() });
    bench.pool.warm_up().await.unwrap();
    let before = bench.given();
    assert_eq!(before.len(), 2);
    assert!(before.iter().all(|(count, cores, _)| *count == 3 && cores.is_empty()), "{before:?}");
    assert!(before[0].2 != before[1].2, "each on its engine's thread");
    assert_eq!(got(bench.ask(PANICS).await), Err((Class::Internal, reason::PANIC)));
    // One of two goes to the engine that broke.
    for number in [1, 2] {
        assert_eq!(got(bench.ask(number).await), Ok(number));
    }
    let after = bench.given();
    assert_eq!(after.len(), 3);
    assert!(after[2].0 == 3 && before.contains(&after[2]), "on the thread of the one that broke, as many: {after:?}");
}

#[tokio::test]
async fn engines_get_no_more_threads_than_their_part_of_the_processors() {
    for (engines, threads, processors, count) in [(2, 64, 7, 3), (1, 64, 2, 2), (2, 2, 4, 2), (1, 2, 64, 2)] {
        let bench = bench_on(processors, &PoolParams { engines, threads, ..PoolParams::default() });
        bench.pool.warm_up().await.unwrap();
        let counts: Vec<usize> = bench.given().iter().map(|given| given.0).collect();
        assert_eq!(counts, vec![count; engines as usize], "{engines} x {threads} on {processors}");
    }
    let bench = bench_on(3, &PoolParams { engines: 4, threads: 2, ..PoolParams::default() });
    bench.pool.warm_up().await.unwrap();
    assert!(bench.given().is_empty(), "one thread each, as there are more engines than processors");
}

#[tokio::test]
async fn an_engine_of_one_thread_is_given_none() {
    let bench = bench(2, 1, 64);
    bench.pool.warm_up().await.unwrap();
    assert!(bench.given().is_empty());
}

#[tokio::test]
async fn an_engine_that_gives_too_few_answers_fails_its_batch() {
    let bench = bench(1, 2, 64);
    assert_eq!(got(bench.ask(SILENT).await), Err((Class::Internal, reason::WRONG_REPLY)));
    assert_eq!(got(bench.ask(1).await), Ok(1));
}

#[tokio::test]
async fn calls_spread_over_engines() {
    let mut bench = bench(3, 16, 64);
    let release = bench.block();
    let replies: Vec<Reply> = (0..3).map(|number| bench.ask(number)).collect();
    // All three are inside at once, so each went to an engine of its own.
    for _ in 0..3 {
        bench.entered.recv().await.unwrap();
    }
    drop(release);
    assert_eq!(all(replies).await, [Ok(0), Ok(1), Ok(2)]);
}

#[tokio::test]
async fn is_ready_only_after_every_engine_has_answered_a_request_of_its_own() {
    let bench = bench(3, 16, 64);
    assert!(!bench.pool.stage().ready());
    bench.pool.warm_up().await.unwrap();
    assert!(bench.pool.stage().ready());
    assert_eq!(bench.batches(), vec![vec![WARM_UP]; 3]);
}

#[tokio::test]
async fn draining_refuses_the_new_and_finishes_the_admitted() {
    let mut bench = bench(2, 1, 64);
    bench.pool.warm_up().await.unwrap();
    let (release, first) = bench.busy().await;
    let admitted: Vec<Reply> = (1..=6).map(|number| bench.ask(number)).collect();
    {
        let mut drained = pin!(bench.pool.drain());
        assert!(drained.as_mut().now_or_never().is_none());
        assert!(!bench.pool.stage().ready());
        assert_eq!(got(bench.ask(7).await), Err((Class::Unavailable, reason::STOPPING)));
        drop(release);
        drained.await;
    }
    assert_eq!(got(first.await), Ok(0));
    assert_eq!(all(admitted).await, (1..=6).map(Ok).collect::<Vec<_>>());
    bench.pool.drain().await;
}

#[tokio::test]
async fn dropping_a_pool_answers_everybody() {
    let mut bench = bench(1, 1, 64);
    let (release, first) = bench.busy().await;
    let waiting = bench.ask(1);
    let stage = bench.pool.stage();
    drop(bench.pool);
    drop(release);
    assert_eq!(got(first.await), Ok(0));
    // Either the engine came to it before it stopped, or it stopped; never a hang.
    let end = got(waiting.await);
    assert!(end == Ok(1) || end == Err((Class::Unavailable, reason::STOPPING)), "{end:?}");
    let call = Call { work: work(2), deadline: Instant::now(), request_id: "r".into() };
    assert_eq!(got(stage.call(call).await), Err((Class::Unavailable, reason::STOPPING)));
}

/// Replies must cross threads: callers live on another runtime.
#[test]
fn replies_are_send() {
    fn send<T: Future + Send>() {}
    send::<Reply>();
}
