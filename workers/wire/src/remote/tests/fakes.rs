//! Workers for tests: real servers on real connections over stages that answer as told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use recmesh_contract::{Call, Context, Done, Failure, Item, Name, Reply, Request, Stage, Work, config::Affinity};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{Endpoint, PoolState, Pools, RemoteStage, serve};

/// How a fake stage answers.
#[derive(Clone)]
pub(super) enum Answers {
    /// What the test gives.
    Given,
    /// An item named after the user.
    Echo,
    /// An item named after the worker.
    Name,
    /// Nothing.
    Never,
    /// This failure.
    Fails(Failure),
}

/// A worker that serves on a port of its own.
pub(super) struct FakeWorker {
    pub(super) name: String,
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    calls: mpsc::UnboundedReceiver<Call>,
    drops: mpsc::UnboundedReceiver<()>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// How a pool answers, and whether it is ready or why not.
type Told = (Answers, Result<(), &'static str>);

struct Shared {
    name: String,
    pools: Mutex<BTreeMap<String, Told>>,
    given: Mutex<Option<Result<Done, Failure>>>,
    heard: mpsc::UnboundedSender<Call>,
    dropped: mpsc::UnboundedSender<()>,
}

impl FakeWorker {
    pub(super) async fn start(pool: &str, answers: Answers) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), pool, answers).await
    }

    pub(super) async fn at(address: std::net::SocketAddr, pool: &str, answers: Answers) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, calls) = mpsc::unbounded_channel();
        let (dropped, drops) = mpsc::unbounded_channel();
        let name = format!("worker-{}", address.port());
        let pools = Mutex::new(BTreeMap::from([(pool.to_owned(), (answers, Ok(())))]));
        let shared = Arc::new(Shared { name: name.clone(), pools, given: Mutex::default(), heard, dropped });
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::new(FakePools(Arc::clone(&shared)));
        let server = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            serve(listener, served, stop).await.unwrap();
        });
        Self { name, address, shared, calls, drops, stop: Some(stop), server }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint { name: self.name.clone(), address: self.address }
    }

    /// The next call that reached it.
    pub(super) async fn heard(&mut self) -> Call {
        soon(self.calls.recv()).await.unwrap()
    }

    /// Takes out a call that has reached it, if there is one.
    pub(super) fn heard_already(&mut self) -> bool {
        self.calls.try_recv().is_ok()
    }

    /// Returns when the work of another call was dropped unanswered.
    pub(super) async fn dropped(&mut self) {
        soon(self.drops.recv()).await.unwrap();
    }

    pub(super) fn give(&self, answer: Result<Done, Failure>) {
        *self.shared.given.lock().unwrap() = Some(answer);
    }

    pub(super) fn add(&self, pool: &str, answers: Answers, ready: Result<(), &'static str>) {
        self.shared.pools.lock().unwrap().insert(pool.to_owned(), (answers, ready));
    }

    pub(super) fn remove(&self, pool: &str) {
        self.shared.pools.lock().unwrap().remove(pool);
    }

    /// Ends at once, connections and all, as a killed process does.
    pub(super) async fn kill(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Takes no further call, finishes those it has, and ends.
    pub(super) async fn stop(&mut self) {
        drop(self.stop.take());
        soon(&mut self.server).await.unwrap();
    }
}

struct FakePools(Arc<Shared>);

impl Pools for FakePools {
    fn stage(&self, pool: &str) -> Option<Arc<dyn Stage>> {
        let (answers, _) = self.0.pools.lock().unwrap().get(pool)?.clone();
        Some(Arc::new(FakeStage { shared: Arc::clone(&self.0), answers }))
    }

    fn states(&self) -> Vec<PoolState> {
        let pools = self.0.pools.lock().unwrap();
        let state = |(name, (_, ready)): (&String, &Told)| PoolState {
            name: name.clone(),
            ready: ready.is_ok(),
            detail: ready.err().unwrap_or_default().to_owned(),
        };
        pools.iter().map(state).collect()
    }
}

struct FakeStage {
    shared: Arc<Shared>,
    answers: Answers,
}

/// Tells when it is dropped before it was answered.
struct Watched(Option<mpsc::UnboundedSender<()>>);

impl Watched {
    fn answered(&mut self) {
        self.0 = None;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(dropped) = self.0.take() {
            let _ = dropped.send(());
        }
    }
}

impl Stage for FakeStage {
    fn call(&self, call: Call) -> Reply {
        let _ = self.shared.heard.send(call.clone());
        let mut watched = Watched(Some(self.shared.dropped.clone()));
        let (shared, answers) = (Arc::clone(&self.shared), self.answers.clone());
        Box::pin(async move {
            let answer = match answers {
                Answers::Given => shared.given.lock().unwrap().clone().unwrap(),
                Answers::Echo => Ok(named(user(&call.work))),
                Answers::Name => Ok(named(shared.name.clone())),
                Answers::Never => std::future::pending().await,
                Answers::Fails(failure) => Err(failure),
            };
            watched.answered();
            answer
        })
    }

    fn ready(&self) -> bool {
        true
    }
}

fn user(work: &Work) -> String {
    match work {
        Work::Tokenize(request) => request.user.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

fn named(id: String) -> Done {
    Done::Items(vec![Item { id, title: None, score: 1.0, semantic_id: vec![], tasks: BTreeMap::new() }])
}

/// A remote stage and the list it follows.
pub(super) struct Remote {
    pub(super) stage: Arc<RemoteStage>,
    list: watch::Sender<Vec<Endpoint>>,
}

impl Remote {
    pub(super) fn of(pool: &str, affinity: Affinity, endpoints: Vec<Endpoint>) -> Self {
        let (list, listed) = watch::channel(endpoints);
        Self { stage: RemoteStage::new(Name::new(pool).unwrap(), affinity, listed), list }
    }

    /// One that is connected to all of these workers of pool `p`.
    pub(super) async fn to(workers: &[&FakeWorker]) -> Self {
        let remote = Self::of("p", Affinity::None, workers.iter().map(|worker| worker.endpoint()).collect());
        remote.connected(workers.len()).await;
        remote
    }

    pub(super) fn list(&self, workers: &[&FakeWorker]) {
        self.list.send_replace(workers.iter().map(|worker| worker.endpoint()).collect());
    }

    pub(super) async fn ready(&self) {
        soon(self.stage.state().wait_for(Option::is_none)).await.unwrap();
    }

    /// Returns when what it waits for is as expected.
    pub(super) async fn until(&self, expected: impl Fn(&str) -> bool) {
        let mut state = self.stage.state();
        soon(state.wait_for(|waiting| waiting.as_deref().is_some_and(&expected))).await.unwrap();
    }

    /// Returns when exactly so many workers can be called.
    pub(super) async fn connected(&self, workers: usize) {
        let mut changes = self.stage.shared.changes.subscribe();
        soon(changes.wait_for(|ready| *ready == workers)).await.unwrap();
    }
}

/// A test waits for events, and gives up when one never comes.
pub(super) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), event).await.expect("it never came")
}

pub(super) fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(super) fn tokenize(user: &str) -> Call {
    let (user, filters) = (Some(user.to_owned()), BTreeMap::new());
    let request = Request { user, history: None, k: 1, exclude: vec![], filters, allow_seen: false };
    Call { work: Work::Tokenize(Arc::new(request)), deadline: far(), request_id: "r".into() }
}

pub(super) fn context(user: Option<u32>) -> Context {
    Context { user, history: vec![], unknown: 0, exclude: vec![], allowed: None }
}

/// The id of the only item of an answer.
pub(super) fn echo(answer: Result<Done, Failure>) -> Result<String, &'static str> {
    match answer {
        Ok(Done::Items(items)) => Ok(items[0].id.clone()),
        Ok(_) => Err("another answer"),
        Err(failure) => Err(failure.reason),
    }
}

pub(super) async fn ask(remote: &Remote, user: &str) -> Result<String, &'static str> {
    echo(remote.stage.call(tokenize(user)).await)
}
