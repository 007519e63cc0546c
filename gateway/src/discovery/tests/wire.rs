//! Workers over real sockets: found by watch, called over the wire, killed while they compute.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use recmesh_contract::{Call, Context, Done, Item, Millis, Reply, Stage, Work, config::RouteFile};
use recmesh_telemetry::Telemetry;
use recmesh_wire::{PoolState, Pools, RemoteStage};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use super::{World, api::Api, pools::Fakes, serves};
use crate::discovery::pools::{Connect, Workers};

/// A worker process: pools `tok-1` and `ret-1`; retrievals wait until they are let go.
struct Worker {
    address: SocketAddr,
    serves: JoinHandle<std::io::Result<()>>,
    /// Retrievals that have begun.
    begun: watch::Receiver<usize>,
    letting_go: Arc<Semaphore>,
}

impl Worker {
    async fn start(name: &'static str, letting_go: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begin, begun) = watch::channel(0);
        let letting_go = Arc::new(Semaphore::new(letting_go));
        let stage = Arc::new(Runs { name, begin, letting_go: Arc::clone(&letting_go) });
        let serves = tokio::spawn(recmesh_wire::serve(listener, stage, std::future::pending()));
        Self { address, serves, begun, letting_go }
    }

    /// Its connections break, what it computes is lost.
    async fn kill(&mut self) {
        self.serves.abort();
        assert!((&mut self.serves).await.unwrap_err().is_cancelled());
    }
}

#[derive(Clone)]
struct Runs {
    name: &'static str,
    begin: watch::Sender<usize>,
    letting_go: Arc<Semaphore>,
}

impl Pools for Runs {
    fn stage(&self, pool: &str) -> Option<Arc<dyn Stage>> {
        ["tok-1", "ret-1"].contains(&pool).then(|| Arc::new(self.clone()) as _)
    }

    fn states(&self) -> Vec<PoolState> {
        let state = |name: &str| PoolState { name: name.to_owned(), ready: true, detail: String::new() };
        vec![state("tok-1"), state("ret-1")]
    }
}

impl Stage for Runs {
    fn call(&self, call: Call) -> Reply {
        let own = self.clone();
        Box::pin(async move {
            if let Work::Tokenize(_) = call.work {
                let context = Context { user: Some(1), history: vec![1], unknown: 0, exclude: vec![], allowed: None };
                return Ok(Done::Context(Arc::new(context)));
            }
            own.begin.send_modify(|begun| *begun += 1);
            own.letting_go.acquire().await.unwrap().forget();
            let id = own.name.to_owned();
            let item = Item { id, title: None, score: 1.0, semantic_id: vec![], tasks: BTreeMap::new() };
            Ok(Done::Items(vec![item]))
        })
    }

    fn ready(&self) -> bool {
        true
    }
}

/// What stages wait for, by stage.
type States = Arc<Mutex<Vec<watch::Receiver<Option<String>>>>>;

/// Stages over the wire, which can be awaited.
fn awaited(telemetry: &Telemetry) -> (Connect, States) {
    let states = Arc::new(Mutex::new(Vec::new()));
    let (own, metrics) = (Arc::clone(&states), telemetry.wire().clone());
    let connect: Connect = Arc::new(move |pool, affinity, endpoints| -> Arc<dyn Workers> {
        let stage = RemoteStage::recorded(pool, affinity, endpoints, &metrics);
        own.lock().unwrap().push(stage.state());
        stage
    });
    (connect, states)
}

fn patient() -> RouteFile {
    let mut file = serves("home", "1");
    file.current.as_mut().unwrap().params.deadline = Millis(60_000);
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_a_worker_that_dies_are_answered_by_another() {
    let (api, telemetry) = (Api::default(), Telemetry::new());
    let mut first = Worker::start("first", 0).await;
    let second = Worker::start("second", 0).await;
    api.route("shop", &patient());
    let join = |name: &str, worker: &Worker| {
        for service in ["tok-1", "ret-1"] {
            api.worker("shop", service, name, worker.address);
        }
    };
    join("second", &second);
    let (connect, states) = awaited(&telemetry);
    let world = Arc::new(World::over(&[], api.clone(), Fakes::default(), telemetry, connect));
    world.until_serves(&["shop/home=home@1"]).await;
    let mut stages = states.lock().unwrap().clone();
    assert_eq!(stages.len(), 2);
    for stage in &mut stages {
        stage.wait_for(Option::is_none).await.unwrap();
    }
    assert_eq!(world.admin("/readyz").await.0, 200);
    assert!(world.report().await.releases[0].warmed);

    // The first one comes too; requests are asked until it has some.
    join("first", &first);
    let ask = || {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.post(&json!({"user": "u", "k": 1})).await })
    };
    let mut asked = Vec::new();
    while *first.begun.borrow() < 4 {
        let before = (*first.begun.borrow_and_update(), *second.begun.clone().borrow_and_update());
        asked.push(ask());
        let mut elsewhere = second.begun.clone();
        tokio::select! {
            begun = first.begun.wait_for(|begun| *begun > before.0) => { begun.unwrap(); }
            begun = elsewhere.wait_for(|begun| *begun > before.1) => { begun.unwrap(); }
        }
    }
    let lost = *first.begun.borrow();
    first.kill().await;
    second.letting_go.add_permits(asked.len() + 1);
    for reply in asked {
        let (status, reply) = reply.await.unwrap();
        assert_eq!((status, &reply["items"][0]["id"]), (200, &json!("second")), "{reply}");
        assert_eq!(reply["fallback"], json!(null));
    }
    let line = format!("recmesh_wire_retries_total{{pool=\"ret-1\"}} {lost}");
    let text = world.telemetry.encode().unwrap();
    assert!(text.lines().any(|l| l == line), "{line} is missing from\n{text}");

    // Nobody is left once the API server says so.
    for (service, worker) in [("tok-1", "first"), ("ret-1", "first"), ("tok-1", "second"), ("ret-1", "second")] {
        api.remove("endpointslices", "shop", &format!("{service}-{worker}"));
    }
    for stage in &mut stages {
        stage.wait_for(Option::is_some).await.unwrap();
    }
    let (status, problem) = world.post(&json!({"user": "u", "k": 1})).await;
    assert_eq!((status, &problem["reason"]), (503, &json!("noWorker")));
    assert_eq!(world.admin("/readyz").await.0, 200, "the gateway stays");
}
