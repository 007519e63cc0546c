//! A pool of workers elsewhere, as a stage: choose a worker, send the time that is left, once more elsewhere if it is
//! gone.
//!
//! In: a list of endpoints that may change at any time, and calls. Out: answers. A worker that leaves the list gets no
//! further call; calls under way finish. Nothing waits for a worker: where there is none the call fails at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use recmesh_contract::{Call, Class, Done, Failure, Name, Reply, Stage, Work, config::Affinity, reason};
use recmesh_telemetry::{TraceParent, WireMetrics, WireRecorder};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
    time::timeout_at,
};
use tonic::{Request, metadata::MetadataValue};

use crate::{
    Endpoint, codec,
    connection::{self, Client},
    endpoint::{Landing, Peer},
    pick, proto,
    status::{self, Ended},
};

/// A pool of workers elsewhere, as a stage.
pub struct RemoteStage {
    shared: Arc<Shared>,
    follower: AbortHandle,
}

/// What calls and connections share; calls under way outlive the stage.
struct Shared {
    pool: Arc<str>,
    affinity: Affinity,
    peers: RwLock<Arc<[Arc<Peer>]>>,
    /// Why no worker can be called.
    waiting: watch::Sender<Option<String>>,
    /// How many workers can be called.
    changes: watch::Sender<usize>,
    /// Held while the above are worked out, so that an older finding never replaces a newer one.
    telling: Mutex<()>,
    draws: AtomicU64,
    recorder: WireRecorder,
}

impl RemoteStage {
    /// Connects to every endpoint there is and will be, on the tokio runtime that this is called on; ends when dropped.
    /// An endpoint is named once in the list.
    #[must_use]
    pub fn new(pool: Name, affinity: Affinity, endpoints: watch::Receiver<Vec<Endpoint>>) -> Arc<Self> {
        Self::recorded(pool, affinity, endpoints, &WireMetrics::default())
    }

    /// The same, with metrics.
    #[must_use]
    pub fn recorded(
        pool: Name,
        affinity: Affinity,
        endpoints: watch::Receiver<Vec<Endpoint>>,
        metrics: &WireMetrics,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            pool: pool.as_str().into(),
            affinity,
            peers: RwLock::new(Arc::new([])),
            waiting: watch::channel(Some(NONE_KNOWN.to_owned())).0,
            changes: watch::Sender::new(0),
            telling: Mutex::new(()),
            draws: AtomicU64::new(pick::key(pool.as_str().as_bytes())),
            recorder: metrics.of(pool.as_str()),
        });
        let follower = tokio::spawn(follow(Arc::clone(&shared), endpoints)).abort_handle();
        Arc::new(Self { shared, follower })
    }

    /// Why no worker can be called; `None` when one has said that it runs the pool and is warm.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        self.shared.waiting.borrow().clone()
    }

    /// The same, to await a change: `stage.state().wait_for(Option::is_none)`.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Option<String>> {
        self.shared.waiting.subscribe()
    }
}

impl Drop for RemoteStage {
    fn drop(&mut self) {
        self.follower.abort();
        self.shared.recorder.workers.set(0);
    }
}

impl Stage for RemoteStage {
    fn call(&self, call: Call) -> Reply {
        let parent = TraceParent::of(&tracing::Span::current());
        Box::pin(Arc::clone(&self.shared).answer(call, parent))
    }

    fn ready(&self) -> bool {
        self.shared.waiting.borrow().is_none()
    }
}

const NONE_KNOWN: &str = "no worker of this pool is known";

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a connection to every endpoint of the list.
async fn follow(shared: Arc<Shared>, mut endpoints: watch::Receiver<Vec<Endpoint>>) {
    let mut tasks: HashMap<Endpoint, (Arc<Peer>, Task)> = HashMap::new();
    loop {
        let listed = endpoints.borrow_and_update().clone();
        tasks.retain(|endpoint, _| listed.contains(endpoint));
        for endpoint in &listed {
            tasks.entry(endpoint.clone()).or_insert_with(|| {
                let peer = Peer::new(endpoint.clone());
                let (pool, told) = (Arc::clone(&shared.pool), Arc::clone(&shared));
                let task = tokio::spawn(connection::keep(Arc::clone(&peer), pool, move || told.tell()));
                (peer, Task(task))
            });
        }
        let peers =
            listed.iter().filter_map(|endpoint| tasks.get(endpoint)).map(|(peer, _)| Arc::clone(peer)).collect();
        *shared.peers.write().unwrap_or_else(PoisonError::into_inner) = peers;
        shared.tell();
        if endpoints.changed().await.is_err() {
            // Nobody can change the list any more; what is connected stays so.
            std::future::pending::<()>().await;
        }
    }
}

impl Shared {
    fn peers(&self) -> Arc<[Arc<Peer>]> {
        Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works out anew why no worker can be called.
    fn tell(&self) {
        let _one_at_a_time = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = self.peers();
        let why: Vec<Option<(bool, String)>> = peers.iter().map(|peer| peer.waiting()).collect();
        let ready = why.iter().filter(|why| why.is_none()).count();
        self.recorder.workers.set(ready as i64);
        self.changes.send_replace(ready);
        let waiting = (ready == 0).then(|| {
            // One that is connected says more than one that is not there.
            let best = why.iter().zip(peers.iter()).filter_map(|(why, peer)| Some((why.as_ref()?, peer)));
            match best.max_by_key(|((connected, _), _)| *connected) {
                None => NONE_KNOWN.to_owned(),
                Some(((_, why), peer)) => {
                    format!("none of {} workers is ready; {}: {why}", peers.len(), peer.endpoint.name)
                }
            }
        });
        self.waiting.send_if_modified(|now| {
            let changed = *now != waiting;
            *now = waiting;
            changed
        });
    }

    /// Answers a call, before its deadline.
    async fn answer(self: Arc<Self>, call: Call, parent: Option<TraceParent>) -> Result<Done, Failure> {
        let late = || {
            let text = format!("no answer of pool {} within the deadline", self.pool);
            Failure::new(Class::DeadlineExceeded, reason::DEADLINE, text)
        };
        let answer = timeout_at(call.deadline.into(), self.ask(&call, parent)).await;
        let answer = answer.unwrap_or_else(|_| Err(late()));
        self.recorder.answered(answer.as_ref().err().map(|failure| failure.reason));
        answer
    }

    /// Asks one worker, and another when that is gone.
    async fn ask(&self, call: &Call, parent: Option<TraceParent>) -> Result<Done, Failure> {
        let user = match self.affinity {
            Affinity::None => None,
            Affinity::User => user(&call.work),
        };
        let none = || Failure::new(Class::Unavailable, reason::NO_WORKER, self.why_none());
        let first = self.choose(user, None).ok_or_else(none)?;
        let message = proto::CallRequest {
            pool: self.pool.as_ref().to_owned(),
            request_id: call.request_id.as_ref().to_owned(),
            work: Some(codec::write_work(&call.work)),
        };
        let failure = match self.send(&first, message.clone(), call, parent).await {
            Ok(done) => return Ok(done),
            Err(Ended::Failed(failure)) => return Err(failure),
            Err(Ended::Gone(failure)) => failure,
        };
        tracing::debug!(pool = %self.pool, worker = first.0.endpoint.name, %failure, "a worker is gone");
        let Some(second) = self.choose(user, Some(&first.0)) else { return Err(failure) };
        self.recorder.retries.inc();
        self.send(&second, message, call, parent).await.map_err(Ended::failure)
    }

    /// One of the workers that can be called, and not `avoid`.
    fn choose(&self, user: Option<u64>, avoid: Option<&Arc<Peer>>) -> Option<(Arc<Peer>, Client)> {
        let now = Instant::now();
        let peers = self.peers();
        let open: Vec<(&Arc<Peer>, Client)> = peers.iter().filter_map(|peer| Some((peer, peer.client()?))).collect();
        let views: Vec<pick::View<'_>> = open.iter().map(|(peer, _)| peer.view(now)).collect();
        let avoid = avoid.and_then(|avoid| open.iter().position(|(peer, _)| Arc::ptr_eq(peer, avoid)));
        let draw = self.draws.fetch_add(1, Relaxed);
        // Odd steps through all numbers, mixed: cheap, and no two calls draw the same.
        let draw = [pick::mix(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15)), pick::mix(draw ^ 0x2545_f491_4f6c_dd1d)];
        let chosen = pick::pick(&views, user, avoid, draw)?;
        Some((Arc::clone(open[chosen].0), open[chosen].1.clone()))
    }

    /// Asks one worker.
    async fn send(
        &self,
        (peer, client): &(Arc<Peer>, Client),
        message: proto::CallRequest,
        call: &Call,
        parent: Option<TraceParent>,
    ) -> Result<Done, Ended> {
        let mut request = Request::new(message);
        request.set_timeout(call.deadline.saturating_duration_since(Instant::now()));
        if let Some(value) = parent.and_then(|parent| MetadataValue::try_from(parent.to_string()).ok()) {
            request.metadata_mut().insert("traceparent", value);
        }
        let flight = peer.depart();
        match client.clone().call(request).await {
            Ok(reply) => {
                flight.land(Landing::Served);
                codec::read_done(reply.into_inner().done).map_err(|malformed| {
                    let text = format!("worker {} of pool {}: {malformed}", peer.endpoint.name, self.pool);
                    Ended::Failed(Failure::new(Class::Internal, reason::WRONG_REPLY, text))
                })
            }
            Err(status) => {
                let ended = status::read(&status);
                let ejected = match &ended {
                    Ended::Failed(_) => flight.land(Landing::Refused),
                    Ended::Gone(_) => {
                        peer.doubt.notify_one();
                        flight.land(Landing::Gone)
                    }
                };
                if ejected {
                    self.recorder.ejections.inc();
                    tracing::warn!(pool = %self.pool, worker = peer.endpoint.name, "a worker fails and gets no calls for now");
                }
                Err(ended)
            }
        }
    }

    fn why_none(&self) -> String {
        self.waiting.borrow().clone().unwrap_or_else(|| "the last worker was lost just now".to_owned())
    }
}

/// Whom a call is for, as a hash that is the same in every gateway.
fn user(work: &Work) -> Option<u64> {
    match work {
        Work::Tokenize(request) => request.user.as_ref().map(|user| pick::key(user.as_bytes())),
        Work::Retrieve { context, .. } | Work::Rank { context, .. } => {
            context.user.map(|user| pick::key(&user.to_le_bytes()))
        }
        Work::Describe { .. } => None,
    }
}

#[cfg(test)]
mod tests;
