//! What the way costs beside the work: the gateway over stages that do nothing, and the gateway over pools that hold the
//! smallest models there are (a popularity list over 600 items). Requests in process, one after another, no socket.

use std::{
    collections::{BTreeMap, HashMap},
    hint::black_box,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request as HttpRequest, StatusCode},
};
use recmesh_contract::config::{JobConfig, JobWork, PoolConfig, PoolParams, Route, RouteParams, RouteTable, Serves};
use recmesh_contract::{
    ArtifactId, Call, Context, Done, Finish, Item, Name, Release, Reply, Request, Silent, Stage, Work,
};
use recmesh_gateway::{Gateway, Limits, app};
use recmesh_jobs::{Bench as Jobs, run as run_job};
use recmesh_pool::Pool;
use recmesh_store::Store;
use recmesh_telemetry::Telemetry;
use serde_json::json;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::random::Random;
use crate::measure::{Bench, Side};

const K: usize = 10;
const USERS: usize = 2000;

pub fn run(bench: &mut Bench) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let telemetry = Telemetry::new();
    let nothing: Arc<dyn Stage> = Arc::new(Nothing);
    let over_nothing = gateway([&nothing, &nothing], &telemetry)?;

    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    let [tokenizes, retrieves] = artifacts(&store)?;
    let pool = |name: &str, serves: Serves| -> Result<Pool> {
        let pool = Pool::start(
            &PoolConfig { name: Name::new(name)?, serves, params: PoolParams::default() },
            &store,
            telemetry.pool(),
        )?;
        runtime.block_on(pool.warm_up())?;
        Ok(pool)
    };
    let pools = [pool("tokenize", tokenizes)?, pool("retrieve", retrieves)?];
    let [tokenize, retrieve] = pools.each_ref().map(Pool::stage);
    let over_pools = gateway([&tokenize, &retrieve], &telemetry)?;

    let mut users = Random(15);
    let user = move || format!("u{}", users.below(USERS));
    let (mut first, mut second) = (user.clone(), user.clone());
    bench.compare(
        "service without work",
        "request",
        vec![
            Side::new("two stages that do nothing", || stages(&runtime, [&nothing, &nothing], first())),
            Side::new("gateway over them", || ask(&runtime, &over_nothing, &second())),
        ],
    )?;
    let (mut first, mut second) = (user.clone(), user);
    bench.compare(
        "service over pools",
        "request",
        vec![
            Side::new("two pools, smallest models", || stages(&runtime, [&tokenize, &retrieve], first())),
            Side::new("gateway over them", || ask(&runtime, &over_pools, &second())),
        ],
    )?;
    for pool in pools {
        runtime.block_on(pool.drain());
    }
    Ok(())
}

/// A stage that answers at once.
struct Nothing;

impl Stage for Nothing {
    fn call(&self, call: Call) -> Reply {
        let done = match call.work {
            Work::Tokenize(_) => {
                let (user, history) = (Some(0), vec![1, 2, 3]);
                Done::Context(Arc::new(Context { user, history, unknown: 0, exclude: Vec::new(), allowed: None }))
            }
            _ => Done::Items((0..K).map(item).collect()),
        };
        Box::pin(std::future::ready(Ok(done)))
    }

    fn ready(&self) -> bool {
        true
    }
}

fn item(index: usize) -> Item {
    let title = Some(format!("Item {index}"));
    Item { id: format!("i{index}"), title, score: 1.0, semantic_id: vec![1, 2, 3], tasks: BTreeMap::new() }
}

fn gateway([tokenize, retrieve]: [&Arc<dyn Stage>; 2], telemetry: &Telemetry) -> Result<Router> {
    let names = [Name::new("tokenize")?, Name::new("retrieve")?];
    let route = Route {
        release: Release::new("home", BTreeMap::new(), "ids".to_owned(), "sha256:00".to_owned()),
        tokenize: names[0].clone(),
        retrieve: names[1].clone(),
        rank: None,
        fallback: None,
        params: RouteParams::default(),
    };
    let routes = RouteTable { routes: [("home".to_owned(), route)].into() };
    let stages: HashMap<Name, Arc<dyn Stage>> = names.into_iter().zip([tokenize, retrieve].map(Arc::clone)).collect();
    Ok(app(Gateway { routes, stages, telemetry: telemetry.clone(), limits: Limits::default() })?)
}

/// Makes a planted world, one code an item and a popularity list; gives what the two pools serve.
fn artifacts(store: &Store) -> Result<[Serves; 2]> {
    let stop = AtomicBool::new(false);
    let jobs = Jobs { store, threads: 1, reporter: &Silent, stop: &stop };
    let make = |name: &str, work: JobWork| -> Result<ArtifactId> {
        run_job(&JobConfig { name: Name::new(name)?, work }, &jobs)?.produced.context("a job made nothing")
    };
    let params = serde_json::from_value(json!({"source": {"planted": {"users": USERS, "items": 600, "seed": 1}}}))?;
    let dataset = make("world", JobWork::Dataset { params, folder: ".".to_owned() })?;
    let (algorithm, folder) = (serde_json::from_value(json!({"atomic": {}}))?, ".".to_owned());
    let tokenizer = make("ids", JobWork::Tokenizer { algorithm, dataset: dataset.clone(), folder, vectors: None })?;
    let algorithm = serde_json::from_value(json!({"popularity": {}}))?;
    let model = make("popular", JobWork::Count { algorithm, dataset: dataset.clone() })?;
    Ok([Serves::Tokenize { tokenizer: tokenizer.clone(), dataset }, Serves::Retrieve { model, tokenizer }])
}

/// The two calls of a request without anything around them.
fn stages(runtime: &Runtime, [tokenize, retrieve]: [&Arc<dyn Stage>; 2], user: String) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let call = |work| Call { work, deadline, request_id: "bench".into() };
    let filters = BTreeMap::new();
    let request = Request { user: Some(user), history: None, k: K, exclude: Vec::new(), filters, allow_seen: false };
    runtime.block_on(async {
        let Done::Context(context) = tokenize.call(call(Work::Tokenize(Arc::new(request)))).await? else {
            bail!("no context")
        };
        let finish = Some(Finish { k: K, weights: Arc::default() });
        let Done::Items(items) = retrieve.call(call(Work::Retrieve { context, candidates: 100, finish })).await? else {
            bail!("no items")
        };
        ensure!(items.len() == K, "{} items", items.len());
        black_box(items);
        Ok(())
    })
}

/// One request through the router, its reply read.
fn ask(runtime: &Runtime, router: &Router, user: &str) -> Result<()> {
    let body = format!("{{\"user\":\"{user}\",\"k\":{K}}}");
    let request =
        HttpRequest::post("/v1/recommend").header("content-type", "application/json").body(Body::from(body))?;
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await?;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await?;
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
        black_box(body);
        Ok(())
    })
}
