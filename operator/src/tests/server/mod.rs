//! An API server in this process: it keeps objects, counts versions, applies, lists and watches as the real one does as
//! far as the operator can tell, and fails on demand.
//!
//! In: requests of kube's client. Out: answers, watch streams, and a record of who wrote what when. Time is tokio's, so
//! tests pause it. What it does not do: admission, schemas, garbage collection, quotas.

mod faults;
mod merge;
mod request;
mod store;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
pub use faults::{Fault, What};
use futures_util::stream;
use kube::Client;
pub use request::Asked;
use request::Target;
use serde_json::{Value, json};
use store::Store;
use tokio::{sync::mpsc, time::Instant};
use tower::{BoxError, Layer, service_fn};

use crate::fence::Fence;

/// A request as it was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Which client asked.
    pub by: String,
    /// What.
    pub asked: Asked,
    /// When.
    pub at: Instant,
    /// The status code; 0 where there was no answer.
    pub code: u16,
}

/// The API server. Clones share it.
#[derive(Clone, Default)]
pub struct Server {
    store: Arc<Mutex<Store>>,
    record: Arc<Mutex<Vec<Answered>>>,
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl Server {
    /// A client of this name whose writes pass a fence.
    pub fn client(&self, by: &str, fence: &Fence) -> Client {
        let (server, by) = (self.clone(), by.to_owned());
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let (server, by) = (server.clone(), by.clone());
            async move { server.answer(by, request).await }
        });
        Client::new(fence.layer(service), "default")
    }

    /// Fails as told, in the order given, where it fits.
    pub fn fail(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
    }

    /// Whether every fault has happened as often as it was to.
    pub fn failed_all(&self) -> bool {
        self.faults.lock().unwrap().iter().all(|fault| fault.times == 0)
    }

    /// Everything that was asked and is not a read.
    pub fn writes(&self) -> Vec<Answered> {
        self.record.lock().unwrap().iter().filter(|one| one.asked.method != "GET").cloned().collect()
    }

    /// Writes whose path holds this text.
    pub fn writes_to(&self, part: &str) -> Vec<Answered> {
        self.writes().into_iter().filter(|one| one.asked.path.contains(part)).collect()
    }

    /// Everything that was asked.
    pub fn asked(&self) -> Vec<Answered> {
        self.record.lock().unwrap().clone()
    }

    /// Puts an object there, or in the place of what is there, as another hand.
    pub fn put(&self, path: &str, object: Value) {
        self.store.lock().unwrap().put(&Target::of_object(path), object);
    }

    /// Changes an object as another hand; it must be there.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).unwrap_or_else(|| panic!("{path} is not there"));
        edit(&mut object);
        self.put(path, object);
    }

    /// Deletes an object as another hand.
    pub fn delete(&self, path: &str) {
        self.store.lock().unwrap().delete(&Target::of_object(path));
    }

    /// An object.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.store.lock().unwrap().get(&Target::of_object(path)).cloned()
    }

    /// The names of all objects of a resource, such as `apis/batch/v1/jobs`.
    pub fn names(&self, resource: &str) -> Vec<String> {
        self.store.lock().unwrap().names(resource)
    }

    /// Ends every watch, as when connections are lost.
    pub fn cut_watches(&self) {
        self.store.lock().unwrap().watchers.clear();
    }

    /// Forgets its history: watches that come back must list anew.
    pub fn compact(&self) {
        self.store.lock().unwrap().compact();
    }

    /// Refuses to make anything in a namespace.
    pub fn terminate(&self, namespace: &str) {
        self.store.lock().unwrap().terminating.insert(namespace.to_owned());
    }

    async fn answer(&self, by: String, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), 1 << 22).await?;
        let asked = Asked::new(&parts, &body);
        let fault = faults::next(&mut self.faults.lock().unwrap(), &by, &asked);
        let index = {
            let mut record = self.record.lock().unwrap();
            record.push(Answered { by, asked: asked.clone(), at: Instant::now(), code: 0 });
            record.len() - 1
        };
        let (code, answer) = match fault {
            Some(What::Status(code, body)) => (code, Reply::Whole(body)),
            Some(What::Throttle(seconds)) => {
                self.record.lock().unwrap()[index].code = 429;
                let response = Response::builder().status(429).header("retry-after", seconds.to_string());
                return Ok(response.body(Body::from("too many requests"))?);
            }
            Some(What::Lost) => return Err("connection reset by peer".into()),
            Some(What::LostAfter) => {
                self.store.lock().unwrap().serve(&asked);
                return Err("connection reset by peer".into());
            }
            Some(What::Hang) => std::future::pending().await,
            Some(What::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.store.lock().unwrap().serve(&asked)
            }
            None => self.store.lock().unwrap().serve(&asked),
        };
        self.record.lock().unwrap()[index].code = code;
        let body = match answer {
            Reply::Whole(value) => Body::from(value.to_string()),
            Reply::Lines(lines) => Body::from_stream(stream::unfold(lines, |mut lines| async move {
                let line: Value = lines.recv().await?;
                Some((Ok::<_, BoxError>(format!("{line}\n")), lines))
            })),
        };
        Ok(Response::builder().status(code).header("content-type", "application/json").body(body)?)
    }
}

/// What is answered.
pub enum Reply {
    /// An object, a list, or a status.
    Whole(Value),
    /// A watch.
    Lines(mpsc::UnboundedReceiver<Value>),
}

/// A failure as the API server says it.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
        "details": {"name": "x"}})
}

/// Lets so much of the paused time pass; whatever becomes due meanwhile happens.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
