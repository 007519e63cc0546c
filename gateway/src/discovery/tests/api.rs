//! An API server in this process: lists by watch, bookmarks, versions, and every fault a test asks for.
//!
//! It speaks the protocol of Kubernetes' watches for the two kinds that discovery reads, label selectors included, and
//! remembers every request. It has no socket: a client calls it directly.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
};
use futures_util::stream;
use recmesh_contract::config::RouteFile;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

type Line = Result<Bytes, std::io::Error>;

/// The server.
#[derive(Clone, Default)]
pub(super) struct Api(Arc<Mutex<State>>);

struct State {
    version: u64,
    /// The oldest version that a watch can go on from.
    oldest: u64,
    objects: BTreeMap<(&'static str, String, String), Value>,
    /// Every event since `oldest`: version, kind, event.
    log: Vec<(u64, &'static str, Value)>,
    watches: Vec<Watch>,
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    down: bool,
    /// Whether lists are given by request only.
    old: bool,
    /// Ends of what was asked, to be awaited.
    asked: watch::Sender<Vec<String>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: 1,
            oldest: 0,
            objects: BTreeMap::new(),
            log: Vec::new(),
            watches: Vec::new(),
            faults: BTreeMap::new(),
            down: false,
            old: false,
            asked: watch::channel(Vec::new()).0,
        }
    }
}

struct Watch {
    kind: &'static str,
    namespace: Option<String>,
    selector: String,
    lines: mpsc::UnboundedSender<Line>,
}

/// What a request meets instead of an answer.
#[derive(Clone)]
pub(super) enum Fault {
    /// This status.
    Status(u16),
    /// A list that breaks off before it is whole.
    BreaksOff,
}

impl Api {
    pub(super) fn client(&self) -> kube::Client {
        let own = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let uri = request.uri().to_string();
            let answer = own.is_there(&uri).then(|| own.answer(&uri));
            async move { answer.ok_or(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)) }
        });
        kube::Client::new(service, "none")
    }

    /// Writes a pipeline's route.
    pub(super) fn route(&self, namespace: &str, file: &RouteFile) {
        self.route_text(namespace, file.pipeline.as_str(), &serde_json::to_string(file).unwrap());
    }

    pub(super) fn route_text(&self, namespace: &str, pipeline: &str, text: &str) {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "namespace": namespace, "name": format!("{pipeline}-route"),
                "labels": {"recmesh.dev/route": pipeline},
            },
            "data": {"route.json": text},
        });
        self.set("configmaps", map);
    }

    pub(super) fn remove_route(&self, namespace: &str, pipeline: &str) {
        self.remove("configmaps", namespace, &format!("{pipeline}-route"));
    }

    /// Writes the workers of a Service: name, address and conditions `(ready, serving, terminating)`.
    pub(super) fn workers(&self, namespace: &str, service: &str, workers: &[(&str, &str, (bool, bool, bool))]) {
        let endpoint = |(name, address, (ready, serving, terminating)): &(&str, &str, (bool, bool, bool))| {
            json!({
                "addresses": [address], "targetRef": {"kind": "Pod", "name": name},
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            })
        };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": namespace, "name": format!("{service}-abcde"),
                "labels": {"kubernetes.io/service-name": service, "app.kubernetes.io/component": "worker"},
            },
            "ports": [{"name": "admin", "port": 8081}, {"name": "grpc", "port": 9000}],
            "endpoints": workers.iter().map(endpoint).collect::<Vec<_>>(),
        });
        self.set("endpointslices", slice);
    }

    /// Writes one worker that is ready at this address, in a slice of its own.
    pub(super) fn worker(&self, namespace: &str, service: &str, worker: &str, address: SocketAddr) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "namespace": namespace, "name": format!("{service}-{worker}"),
                "labels": {"kubernetes.io/service-name": service, "app.kubernetes.io/component": "worker"},
            },
            "ports": [{"name": "grpc", "port": address.port()}],
            "endpoints": [{"addresses": [address.ip().to_string()], "targetRef": {"kind": "Pod", "name": worker}}],
        });
        self.set("endpointslices", slice);
    }

    pub(super) fn set(&self, kind: &'static str, mut object: Value) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let before = state.objects.insert(key(kind, &object), object.clone());
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        state.happens(kind, json!({"type": event, "object": object}));
    }

    pub(super) fn remove(&self, kind: &'static str, namespace: &str, name: &str) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let mut object = state.objects.remove(&(kind, namespace.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.happens(kind, json!({"type": "DELETED", "object": object}));
    }

    /// Changes nothing that a watch that is on would tell.
    pub(super) fn unseen(&self, change: impl FnOnce(&Self)) {
        let watches = std::mem::take(&mut self.0.lock().unwrap().watches);
        change(self);
        self.0.lock().unwrap().watches = watches;
    }

    /// The next requests for each kind meet these faults, one each.
    pub(super) fn fails<const N: usize>(&self, faults: [Fault; N]) {
        for kind in ["configmaps", "endpointslices"] {
            self.0.lock().unwrap().faults.entry(kind).or_default().extend(faults.clone());
        }
    }

    /// Nobody answers, and every connection breaks; or the server is there again.
    pub(super) fn down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
        if down {
            self.cut();
        }
    }

    /// The server lists by request only, as older ones do.
    pub(super) fn grows_old(&self) {
        self.0.lock().unwrap().old = true;
    }

    /// Every connection breaks.
    pub(super) fn cut(&self) {
        for watch in self.0.lock().unwrap().watches.drain(..) {
            let _ = watch.lines.send(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
    }

    /// Forgets the past: no watch can go on from before now. Connections end.
    pub(super) fn forget(&self) {
        let mut state = self.0.lock().unwrap();
        state.oldest = state.version + 1;
        state.version += 2;
        state.log.clear();
        state.watches.clear();
    }

    /// Everything that was asked, as it is asked.
    pub(super) fn asked(&self) -> watch::Receiver<Vec<String>> {
        self.0.lock().unwrap().asked.subscribe()
    }

    /// Notes what is asked; says whether anybody answers.
    fn is_there(&self, uri: &str) -> bool {
        let state = self.0.lock().unwrap();
        state.asked.send_modify(|asked| asked.push(uri.to_owned()));
        !state.down
    }

    fn answer(&self, uri: &str) -> Response<Body> {
        let mut state = self.0.lock().unwrap();
        let (path, query) = uri.split_once('?').unwrap();
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let kind = if path.ends_with("/configmaps") { "configmaps" } else { "endpointslices" };
        let mut breaks_off = false;
        match state.faults.get_mut(kind).and_then(VecDeque::pop_front) {
            Some(Fault::Status(code)) => return status(code),
            Some(Fault::BreaksOff) => breaks_off = true,
            None => {}
        }
        let namespace = path.split_once("/namespaces/").map(|(_, rest)| rest.split('/').next().unwrap().to_owned());
        let selector = query["labelSelector"].replace("%2F", "/").replace("%3D", "=");
        let (lines, told) = mpsc::unbounded_channel();
        let watch = Watch { kind, namespace, selector, lines };
        if !query.contains_key("watch") {
            assert!(state.old, "discovery lists by watch where it can");
            let objects = state.objects.iter().filter(|((of, ..), object)| *of == kind && watch.wants(object));
            let items: Vec<&Value> = objects.map(|(_, object)| object).collect();
            let metadata = json!({"resourceVersion": state.version.to_string()});
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items});
            return Response::new(Body::from(list.to_string()));
        }
        if state.old && query.contains_key("sendInitialEvents") {
            return status(422);
        }
        if query.get("sendInitialEvents") == Some(&"true") {
            for ((of, ..), object) in &state.objects {
                if *of == kind {
                    watch.tell(&json!({"type": "ADDED", "object": object}));
                    if breaks_off {
                        let _ = watch.lines.send(Err(std::io::ErrorKind::ConnectionReset.into()));
                        return streamed(told);
                    }
                }
            }
            watch.bookmark(state.version, true);
        } else {
            let from: u64 = query["resourceVersion"].parse().unwrap();
            if from < state.oldest {
                let gone = json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
                    "message": format!("too old resource version: {from}")});
                watch.line(&json!({"type": "ERROR", "object": gone}));
                return streamed(told);
            }
            for (version, of, event) in &state.log {
                if *of == kind && *version > from {
                    watch.tell(event);
                }
            }
            watch.bookmark(state.version, false);
        }
        state.watches.push(watch);
        streamed(told)
    }
}

impl State {
    fn happens(&mut self, kind: &'static str, event: Value) {
        self.log.push((self.version, kind, event.clone()));
        for watch in self.watches.iter().filter(|watch| watch.kind == kind) {
            watch.tell(&event);
        }
    }
}

impl Watch {
    /// Tells an event about an object that is watched.
    fn tell(&self, event: &Value) {
        if self.wants(&event["object"]) {
            self.line(event);
        }
    }

    fn wants(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        let here = self.namespace.as_deref().is_none_or(|namespace| meta["namespace"] == namespace);
        let chosen = match self.selector.split_once('=') {
            Some((label, value)) => meta["labels"][label] == value,
            None => meta["labels"][&self.selector].is_string(),
        };
        here && chosen
    }

    fn bookmark(&self, version: u64, end: bool) {
        let annotations = if end { json!({"k8s.io/initial-events-end": "true"}) } else { json!({}) };
        let (kind, api) = match self.kind {
            "configmaps" => ("ConfigMap", "v1"),
            _ => ("EndpointSlice", "discovery.k8s.io/v1"),
        };
        let metadata = json!({"resourceVersion": version.to_string(), "annotations": annotations});
        let object = json!({"kind": kind, "apiVersion": api, "metadata": metadata});
        self.line(&json!({"type": "BOOKMARK", "object": object}));
    }

    fn line(&self, event: &Value) {
        let _ = self.lines.send(Ok(Bytes::from(format!("{event}\n"))));
    }
}

fn key(kind: &'static str, object: &Value) -> (&'static str, String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    (kind, text("namespace"), text("name"))
}

fn streamed(told: mpsc::UnboundedReceiver<Line>) -> Response<Body> {
    let lines = stream::unfold(told, |mut told| async move { Some((told.recv().await?, told)) });
    Response::new(Body::from_stream(lines))
}

fn status(code: u16) -> Response<Body> {
    let text = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Fault",
        "message": "the test wants it", "metadata": {}});
    let mut response = Response::new(Body::from(text.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
