//! The router as callers see it, over stages that do as they are told. Time is paused: waiting costs nothing.

mod requests;
mod service;
mod stages;
mod swaps;
#[cfg(feature = "otlp")]
mod traces;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use recmesh_contract::{
    Call, Candidate, Class, Context, Done, Failure, Item, Millis, Name, Release, Reply, Stage, Work,
    config::{Route, RouteParams, RouteTable},
};
use recmesh_telemetry::Telemetry;
use serde_json::Value;
use tower::ServiceExt;

use crate::{Gateway, Limits, app};

/// What a stage does with a call.
enum Does {
    Answer(Result<Done, Failure>),
    After(Duration, Result<Done, Failure>),
    Never,
    Panic,
}

type Behaviour = Box<dyn Fn(&Work) -> Does + Send + Sync>;

/// A stage that does as it is told and remembers what it was asked.
struct Fake {
    ready: AtomicBool,
    calls: Mutex<Vec<Call>>,
    dropped: Arc<Mutex<usize>>,
    behaviour: Mutex<Behaviour>,
}

/// Counts a reply that is dropped before it is over.
struct Open(Arc<Mutex<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

impl Fake {
    fn new(behaviour: impl Fn(&Work) -> Does + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            ready: AtomicBool::new(true),
            calls: Mutex::default(),
            dropped: Arc::default(),
            behaviour: Mutex::new(Box::new(behaviour)),
        })
    }

    fn does(&self, behaviour: impl Fn(&Work) -> Does + Send + Sync + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    fn fails(&self, class: Class, reason: &'static str) {
        self.does(move |_| Does::Answer(Err(Failure::new(class, reason, "secret diagnostic"))));
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl Stage for Fake {
    fn call(&self, call: Call) -> Reply {
        let does = (self.behaviour.lock().unwrap())(&call.work);
        self.calls.lock().unwrap().push(call);
        let open = Open(Arc::clone(&self.dropped));
        Box::pin(async move {
            let result = match does {
                Does::Answer(result) => result,
                Does::After(time, result) => {
                    tokio::time::sleep(time).await;
                    result
                }
                Does::Never => std::future::pending().await,
                Does::Panic => panic!("the stage broke"),
            };
            std::mem::forget(open);
            result
        })
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

fn item(name: &str, score: f32) -> Item {
    let title = Some(format!("The {name}"));
    Item { id: name.to_owned(), title, score, semantic_id: vec![1, 2], tasks: BTreeMap::new() }
}

/// `<prefix>0`, `<prefix>1`, …, best first.
fn items(prefix: &str, count: usize) -> Vec<Item> {
    (0..count).map(|i| item(&format!("{prefix}{i}"), 1.0 - i as f32 / 100.0)).collect()
}

fn context(history: Vec<u32>) -> Done {
    Done::Context(Arc::new(Context { user: None, history, unknown: 0, exclude: vec![], allowed: None }))
}

/// Knows every user but `new`; describes unranked candidates as `r<index>`.
fn tokenize(work: &Work) -> Does {
    Does::Answer(Ok(match work {
        Work::Tokenize(request) => {
            let unknown = request.user.as_deref() == Some("new") || request.history.as_ref().is_some_and(Vec::is_empty);
            context(if unknown { vec![] } else { vec![3, 4] })
        }
        Work::Describe { candidates, k } => {
            let described = candidates.iter().take(*k).map(|c| item(&format!("r{}", c.item), c.score));
            Done::Items(described.collect())
        }
        _ => Done::Items(vec![]),
    }))
}

/// Finds as many as asked for: items `<prefix><index>`, or candidates for a rank stage.
fn retrieve(prefix: &'static str) -> impl Fn(&Work) -> Does {
    move |work| {
        let Work::Retrieve { candidates, finish, .. } = work else { return Does::Never };
        Does::Answer(Ok(match finish {
            Some(_) => Done::Items(items(prefix, *candidates)),
            None => Done::Candidates(
                (0..*candidates as u32)
                    .map(|item| Candidate { item, score: 1.0 - item as f32 / 1000.0, tasks: vec![] })
                    .collect(),
            ),
        }))
    }
}

/// Turns the candidates' order round.
fn rank(work: &Work) -> Does {
    let Work::Rank { candidates, finish: Some(finish), .. } = work else { return Does::Never };
    let described = candidates
        .iter()
        .rev()
        .take(finish.k)
        .map(|c| Item { tasks: [("click".to_owned(), 0.5)].into(), ..item(&format!("r{}", c.item), 0.5) });
    Does::Answer(Ok(Done::Items(described.collect())))
}

/// A gateway over fakes.
struct World {
    tokenize: Arc<Fake>,
    retrieve: Arc<Fake>,
    rank: Arc<Fake>,
    fallback: Arc<Fake>,
    telemetry: Telemetry,
    app: Router,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// `shop` retrieves; `ranked` retrieves and ranks. Both fall back on `popular`.
fn route(pipeline: &str) -> Route {
    let models = [("retrieve", "sasrec@0123456789ab"), ("fallback", "popular@0123456789ab")]
        .map(|(role, model)| (role.to_owned(), model.to_owned()))
        .into();
    Route {
        release: Release::new(pipeline, models, "tok@0123456789ab".to_owned(), "sha256:00".to_owned()),
        tokenize: name("tokenize"),
        retrieve: name("retrieve"),
        rank: (pipeline == "ranked").then(|| name("rank")),
        fallback: Some(name("fallback")),
        params: RouteParams { deadline: Millis(500), max_k: 50, ..RouteParams::default() },
    }
}

impl World {
    fn of(pipelines: &[&str], change: impl Fn(&mut Route)) -> Self {
        let (tokenize, rank) = (Fake::new(tokenize), Fake::new(rank));
        let (retrieve, fallback) = (Fake::new(retrieve("i")), Fake::new(retrieve("p")));
        let routes = pipelines.iter().map(|&pipeline| {
            let mut route = route(pipeline);
            change(&mut route);
            (pipeline.to_owned(), route)
        });
        let stages: HashMap<Name, Arc<dyn Stage>> = [
            (name("tokenize"), Arc::clone(&tokenize) as Arc<dyn Stage>),
            (name("retrieve"), Arc::clone(&retrieve) as _),
            (name("rank"), Arc::clone(&rank) as _),
            (name("fallback"), Arc::clone(&fallback) as _),
        ]
        .into();
        let routes = RouteTable { routes: routes.collect() };
        let telemetry = Telemetry::new();
        let app = app(Gateway { routes, stages, telemetry: telemetry.clone(), limits: Limits::default() }).unwrap();
        Self { tokenize, retrieve, rank, fallback, telemetry, app }
    }

    fn new(pipeline: &str) -> Self {
        Self::of(&[pipeline], |_| ())
    }

    async fn send(&self, request: Request<Body>) -> Got {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Got { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::Null), text }
    }

    async fn post(&self, body: &str) -> Got {
        self.send(Request::post("/v1/recommend").body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Got {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    fn shows(&self, line: &str) -> bool {
        self.telemetry.encode().unwrap().lines().any(|l| l == line)
    }
}

/// A response, read.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
    text: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn ids(&self) -> Vec<&str> {
        self.json["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
    }

    fn stages(&self) -> Vec<&str> {
        self.json["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect()
    }

    /// Status, reason and field of a problem document; everything else of it is checked here.
    fn problem(&self) -> (u16, &str, Option<&str>) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        assert_eq!(self.json["status"], self.status.as_u16());
        assert_eq!(self.json["requestId"].as_str(), self.header("x-request-id"));
        let reason = self.json["reason"].as_str().unwrap();
        assert_eq!(self.json["type"], format!("urn:recmesh:problem:{reason}"));
        assert!(self.json["title"].as_str().is_some_and(|title| title.len() > 3));
        assert!(!self.text.contains("secret"), "{}", self.text);
        (self.status.as_u16(), reason, self.json["field"].as_str())
    }

    fn detail(&self) -> &str {
        self.json["detail"].as_str().unwrap()
    }
}
