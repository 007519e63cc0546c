//! `recmesh worker`: pools behind gRPC, called as a gateway calls them; leaving, dying and changing under load.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use recmesh_contract::{
    Call, Done, Finish, Item, Name, Request, Stage, Work,
    config::{Affinity, PoolConfig, Serves, WorkerConfig},
};
use recmesh_pool::Pool;
use recmesh_store::Store;
use recmesh_telemetry::Telemetry;
use recmesh_wire::{Endpoint, RemoteStage};
use tokio::sync::watch;

use super::{
    job,
    manifests::WHOLE,
    process::{Process, get},
    program::Desk,
};

/// A trained world and the pools that serve it; made once, only read.
struct World {
    desk: Desk,
    pools: Vec<PoolConfig>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let desk = Desk::new(WHOLE);
    let valid = job::valid(WHOLE);
    let (made, reports) = job::all(&desk, &valid);
    let catalog = reports.iter().find_map(|report| report.digest.clone()).unwrap();
    let (pools, _) = recmesh_plan::serving(&valid, &made, &|_| catalog.clone()).unwrap();
    World { desk, pools }
});

/// The pools of the world that do such work, under names of their own.
fn pools(mut wanted: impl FnMut(&Serves) -> bool) -> WorkerConfig {
    WorkerConfig { pools: WORLD.pools.iter().filter(|pool| wanted(&pool.serves)).cloned().collect() }
}

fn tokenizers() -> WorkerConfig {
    pools(|serves| matches!(serves, Serves::Tokenize { .. }))
}

/// A worker process.
struct Worker {
    process: Process,
    config: String,
    calls: SocketAddr,
    admin: SocketAddr,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Worker {
    /// Starts one and waits until it serves.
    fn start(list: &WorkerConfig, notice: &str) -> Self {
        let config = format!("worker-{}.json", COUNT.fetch_add(1, Relaxed));
        WORLD.desk.write(&config, &serde_json::to_string(list).unwrap());
        let words = ["worker", "--config", &config, "--store", "store", "--listen", "127.0.0.1:0"];
        let admin = ["--admin", "127.0.0.1:0", "--notice", notice];
        let mut process = Process::start(&WORLD.desk, &[&words[..], &admin].concat());
        let line = process.until("listening on ");
        let (calls, admin) = line.split_once(", admin on http://").unwrap();
        process.until("serving");
        Self { process, config, calls: calls.parse().unwrap(), admin: admin.parse().unwrap() }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { name: self.config.clone(), address: self.calls }
    }

    fn readyz(&self) -> (u16, serde_json::Value) {
        let answer = get(self.admin, "/readyz");
        (answer.status, answer.json())
    }
}

/// A remote pool over these workers, as soon as one is ready.
async fn remote(pool: &Name, workers: &[&Worker]) -> Arc<RemoteStage> {
    let endpoints = watch::channel(workers.iter().map(|worker| worker.endpoint()).collect()).1;
    let stage = RemoteStage::new(pool.clone(), Affinity::None, endpoints);
    until(&stage, true).await;
    stage
}

async fn until(stage: &RemoteStage, ready: bool) {
    let mut state = stage.state();
    let ready = state.wait_for(|waiting| waiting.is_none() == ready);
    tokio::time::timeout(Duration::from_secs(60), ready).await.expect("it never came").unwrap();
}

fn call(work: Work) -> Call {
    Call { work, deadline: Instant::now() + Duration::from_secs(60), request_id: "r".into() }
}

fn tokenize(user: usize) -> Work {
    let (user, filters) = (Some(format!("u{user}")), BTreeMap::new());
    Work::Tokenize(Arc::new(Request { user, history: None, k: 3, exclude: vec![], filters, allow_seen: false }))
}

/// A whole request through stages of these pools: tokenize, retrieve, rank.
async fn recommend(stage: impl Fn(&Name) -> Arc<dyn Stage>, user: usize) -> Vec<Item> {
    let of = |wanted: fn(&Serves) -> bool| stage(&WORLD.pools.iter().find(|pool| wanted(&pool.serves)).unwrap().name);
    let Ok(Done::Context(context)) = of(|s| matches!(s, Serves::Tokenize { .. })).call(call(tokenize(user))).await
    else {
        panic!("no context")
    };
    let retrieve = Work::Retrieve { context: Arc::clone(&context), candidates: 12, finish: None };
    let retriever = of(|s| matches!(s, Serves::Retrieve { model, .. } if model.name.as_str() == "retriever"));
    let Ok(Done::Candidates(candidates)) = retriever.call(call(retrieve)).await else { panic!("no candidates") };
    let weights = Arc::new(BTreeMap::from([("click".to_owned(), 1.0), ("like".to_owned(), 2.0)]));
    let rank = Work::Rank { context, candidates, finish: Some(Finish { k: 5, weights }) };
    let Ok(Done::Items(items)) = of(|s| matches!(s, Serves::Rank { .. })).call(call(rank)).await else {
        panic!("no items")
    };
    items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_answer_what_pools_in_this_process_do() {
    let one = Worker::start(&pools(|serves| matches!(serves, Serves::Tokenize { .. } | Serves::Rank { .. })), "0s");
    let other = Worker::start(&pools(|serves| matches!(serves, Serves::Retrieve { .. })), "0s");
    let store = Store::open(&WORLD.desk.path("store")).unwrap();
    let telemetry = Telemetry::new();
    let (mut local, mut far) = (BTreeMap::new(), BTreeMap::new());
    for config in &WORLD.pools {
        let pool = Pool::start(config, &store, telemetry.pool()).unwrap();
        pool.warm_up().await.unwrap();
        local.insert(config.name.clone(), pool);
        far.insert(config.name.clone(), remote(&config.name, &[&one, &other]).await);
    }
    for user in [0, 7, 33] {
        let here = recommend(|name| local[name].stage(), user).await;
        let there = recommend(|name| Arc::clone(&far[name]) as Arc<dyn Stage>, user).await;
        assert_eq!(here.len(), 5);
        assert_eq!(here, there);
    }
    let metrics = get(one.admin, "/metrics").text();
    assert!(metrics.contains("recmesh_pool_wait_seconds_count"), "{metrics}");
    assert_eq!(one.readyz().0, 200);
}

/// Clients that ask without end; none of them may ever fail.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(stage: &Arc<RemoteStage>) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |number: usize| {
            let (stage, stop, answered) = (Arc::clone(stage), Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let done = stage.call(call(tokenize(number))).await;
                    assert!(matches!(done, Ok(Done::Context(_))), "{done:?}");
                    answered.fetch_add(1, Relaxed);
                }
            })
        };
        let clients = (0..16).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Returns when so many more calls have been answered.
    async fn more(&self, calls: usize) {
        let enough = self.answered.load(Relaxed) + calls;
        while self.answered.load(Relaxed) < enough {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "a client has failed");
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_stop_under_load_loses_nothing() {
    let (leaving, stays) = (Worker::start(&tokenizers(), "300ms"), Worker::start(&tokenizers(), "0s"));
    let stage = remote(&tokenizers().pools[0].name, &[&leaving, &stays]).await;
    let load = Load::start(&stage);
    load.more(300).await;
    leaving.process.signal("TERM");
    let told = tokio::task::spawn_blocking(|| leaving.process.end()).await.unwrap();
    assert_eq!(told.code, Some(0), "{told:?}");
    load.more(300).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_under_load_loses_nothing() {
    let (dying, stays) = (Worker::start(&tokenizers(), "0s"), Worker::start(&tokenizers(), "0s"));
    let stage = remote(&tokenizers().pools[0].name, &[&dying, &stays]).await;
    let load = Load::start(&stage);
    load.more(300).await;
    dying.process.signal("KILL");
    let told = tokio::task::spawn_blocking(|| dying.process.end()).await.unwrap();
    assert_eq!(told.code, None);
    load.more(300).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_that_it_leaves_before_it_refuses() {
    let worker = Worker::start(&tokenizers(), "20s");
    let stage = remote(&tokenizers().pools[0].name, &[&worker]).await;
    worker.process.signal("TERM");
    while worker.readyz().0 == 200 {}
    assert_eq!(worker.readyz().1["stopping"], true);
    assert_eq!(get(worker.admin, "/livez").status, 200);
    assert!(stage.call(call(tokenize(1))).await.is_ok(), "whoever still comes is served");
    // A second wish ends it at once.
    worker.process.signal("TERM");
    assert_eq!(worker.process.end().code, Some(130));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_its_configuration_and_keeps_what_runs() {
    let old = tokenizers().pools[0].clone();
    let named = |name: &str| PoolConfig { name: Name::new(name).unwrap(), ..old.clone() };
    let mut broken = named("broken");
    let Serves::Tokenize { tokenizer, .. } = &mut broken.serves else { panic!() };
    tokenizer.version = recmesh_contract::Version::of([b"never made".as_slice()]);
    let worker = Worker::start(&WorkerConfig { pools: vec![old.clone()] }, "0s");
    let write = |list: &[PoolConfig]| {
        let list = WorkerConfig { pools: list.to_vec() };
        // As a mounted ConfigMap changes: another file in its place.
        WORLD.desk.write("next.json", &serde_json::to_string(&list).unwrap());
        fs::rename(WORLD.desk.path("next.json"), WORLD.desk.path(&worker.config)).unwrap();
    };
    let before = remote(&old.name, &[&worker]).await;
    let load = Load::start(&before);

    write(&[old.clone(), broken, named("new")]);
    let after = remote(&Name::new("new").unwrap(), &[&worker]).await;
    assert!(after.call(call(tokenize(1))).await.is_ok());
    let endpoints = watch::channel(vec![worker.endpoint()]).1;
    let never = RemoteStage::new(Name::new("broken").unwrap(), Affinity::None, endpoints);
    let mut state = never.state();
    let why = state.wait_for(|waiting| waiting.as_deref().is_some_and(|why| why.contains("tokenizers/ids/")));
    tokio::time::timeout(Duration::from_secs(60), why).await.expect("it never came").unwrap();
    let (status, detail) = worker.readyz();
    assert_eq!(status, 200, "what cannot start takes nothing away: {detail}");
    assert_eq!(detail["pools"]["new"], "ready");
    assert!(detail["pools"]["broken"].as_str().unwrap().contains("there is no artifact tokenizers/ids/"), "{detail}");

    fs::write(WORLD.desk.path(&worker.config), "{\"pool\": 1}").unwrap();
    while worker.readyz().1["configuration"].is_null() {}
    assert!(worker.readyz().1["configuration"].as_str().unwrap().contains("unknown field `pool`"));
    load.more(100).await;
    load.end().await;

    write(&[named("new")]);
    until(&before, false).await;
    assert!(before.waiting().unwrap().contains("does not run this pool"), "{:?}", before.waiting());
    assert!(after.call(call(tokenize(1))).await.is_ok());
    let (status, detail) = worker.readyz();
    assert_eq!((status, detail["pools"].as_object().unwrap().len()), (200, 1), "{detail}");
    assert!(detail["configuration"].is_null());
}

#[test]
fn what_cannot_be_served_at_first_ends_the_process() {
    let list = |list: &WorkerConfig| {
        WORLD.desk.write("bad.json", &serde_json::to_string(list).unwrap());
        let words = ["worker", "--config", "bad.json", "--store", "store", "--listen", "127.0.0.1:0"];
        WORLD.desk.run(&[&words[..], &["--admin", "127.0.0.1:0"]].concat())
    };
    let mut missing = tokenizers();
    let Serves::Tokenize { dataset, .. } = &mut missing.pools[0].serves else { panic!() };
    dataset.version = recmesh_contract::Version::of([b"never made".as_slice()]);
    list(&missing).refused(1, &["there is no artifact datasets/world/", "train it again or restore it"]);
    let mut twice = tokenizers();
    twice.pools.extend(tokenizers().pools);
    list(&twice).refused(2, &["is listed twice"]);
    let words = ["worker", "--config", "none.json", "--store", "store"];
    WORLD.desk.run(&words).refused(2, &["cannot read none.json"]);
    let nowhere = Desk::new("");
    nowhere.write("ok.json", "{\"pools\": []}");
    nowhere.run(&["worker", "--config", "ok.json", "--store", "store"]).refused(1, &["store: cannot open"]);
    assert!(!nowhere.path("store").exists(), "a worker makes nothing");
}

#[test]
fn writes_nothing_into_the_store() {
    let listing = || {
        let line = "find store -printf '%p %T@ %s\\n' | sort";
        Command::new("sh").args(["-c", line]).current_dir(WORLD.desk.path("")).output().unwrap().stdout
    };
    let before = listing();
    let worker = Worker::start(&pools(|_| true), "0s");
    worker.process.signal("TERM");
    assert_eq!(worker.process.end().code, Some(0));
    assert_eq!(listing(), before);
}

#[test]
fn probes_ask_once_and_tell() {
    let worker = Worker::start(&tokenizers(), "0s");
    let probe = |url: &str| WORLD.desk.run(&["probe", url]);
    let told = probe(&format!("http://{}/readyz", worker.admin)).good();
    assert!(told.out.contains("\"ready\":true"), "{told:?}");
    probe(&format!("http://{}/none", worker.admin)).refused(1, &["answered 404"]);
    // Another protocol's port: whether the answer is odd or the connection is cut is the other side's choice.
    assert_eq!(probe(&format!("http://{}/", worker.calls)).code, Some(1));
    probe("https://localhost/").refused(2, &["write http://host:port/path"]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    probe(&format!("http://{gone}/readyz")).refused(1, &["nobody answers"]);
}
