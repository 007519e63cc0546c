//! The server: calls from the wire to the stage that runs the named pool.
//!
//! A call that its client resets (or whose connection breaks) drops the stage's reply, which cancels the work. What
//! cannot be done is told by a status with a registered reason; nothing is retried here.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use recmesh_contract::{Call, Class, Failure, Stage, reason};
use recmesh_telemetry::{TraceParent, adopt};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::{Request, Response, Status, codegen::Service};
use tracing::Instrument;

use crate::{
    LARGEST_MESSAGE, codec,
    proto::{self, worker_server},
    status, timeout,
};

/// How long a silent connection is left unasked.
const PING_AFTER: Duration = Duration::from_secs(20);
/// Calls at once on a connection. Queues are bounded by the pools, not here.
const STREAMS: u32 = 1 << 16;
/// Calls that clients may take back before we have looked at them, on a connection; more end it as an attack.
const TAKEN_BACK: usize = 1 << 13;
/// The pause after the system refused us a connection for lack of files or memory.
const BREATH: Duration = Duration::from_millis(100);

/// One pool of a worker, as `Describe` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// The pool's name.
    pub name: String,
    /// Whether it is warm and takes calls.
    pub ready: bool,
    /// Why it is not.
    pub detail: String,
}

/// The pools of a worker.
pub trait Pools: Send + Sync + 'static {
    /// The stage of a pool; `None` when the worker does not run it.
    fn stage(&self, pool: &str) -> Option<Arc<dyn Stage>>;

    /// Every pool it runs or was told to run.
    fn states(&self) -> Vec<PoolState>;
}

/// Serves the pools until `stop` ends; then takes no new call, finishes those it has and returns.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, pools: Arc<dyn Pools>, stop: impl Future<Output = ()>) -> io::Result<()> {
    let server = worker_server::WorkerServer::new(Worker { pools })
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
            // Ended connections are let go of as they end.
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if passing(&error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
            continue;
        }
        connections.spawn(converse(stream, server.clone(), stopped.clone()));
    }
    drop(listener);
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Serves one connection to its end; once `stopped` is raised, to the end of the calls that are in it.
async fn converse(
    stream: tokio::net::TcpStream,
    server: worker_server::WorkerServer<Worker>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| server.clone().call(request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(TAKEN_BACK)
        .initial_stream_window_size(crate::STREAM_WINDOW)
        .initial_connection_window_size(crate::CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = raised(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = status::chain(&error), "a connection broke");
    }
}

async fn raised(flag: &mut watch::Receiver<bool>) {
    // Fails only when the sender is gone, which is the end as well.
    let _ = flag.wait_for(|raised| *raised).await;
}

/// Whether accepting can go on after this error: it is about one connection, or about what others use up.
fn passing(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported)
}

struct Worker {
    pools: Arc<dyn Pools>,
}

#[tonic::async_trait]
impl worker_server::Worker for Worker {
    async fn call(&self, request: Request<proto::CallRequest>) -> Result<Response<proto::CallReply>, Status> {
        let header = |key| request.metadata().get(key).and_then(|value| value.to_str().ok());
        let left = header("grpc-timeout").and_then(timeout::parse).unwrap_or(timeout::UNTOLD);
        let parent: Option<TraceParent> = header("traceparent").and_then(|text| text.parse().ok());
        let deadline = Instant::now() + left;
        let proto::CallRequest { pool, request_id, work } = request.into_inner();
        let stage = self.pools.stage(&pool).ok_or_else(|| status::write(&self.no_such(&pool)))?;
        let malformed = |error: codec::Malformed| {
            status::write(&Failure::new(Class::Internal, reason::BAD_BODY, error.to_string()))
        };
        let work = codec::read_work(work).map_err(malformed)?;
        let span = tracing::info_span!("call", otel.name = work.name(), pool, request_id);
        if let Some(parent) = parent {
            adopt(&span, &parent);
        }
        let call = Call { work, deadline, request_id: request_id.into() };
        let reply = span.in_scope(|| stage.call(call));
        let done = reply.instrument(span).await.map_err(|failure| status::write(&failure))?;
        Ok(Response::new(proto::CallReply { done: Some(codec::write_done(done)) }))
    }

    async fn describe(&self, _: Request<proto::DescribeRequest>) -> Result<Response<proto::DescribeReply>, Status> {
        let pool = |PoolState { name, ready, detail }| proto::Pool { name, ready, detail };
        Ok(Response::new(proto::DescribeReply { pools: self.pools.states().into_iter().map(pool).collect() }))
    }
}

impl Worker {
    fn no_such(&self, pool: &str) -> Failure {
        let names: Vec<String> = self.pools.states().into_iter().map(|state| state.name).collect();
        let text = format!("this worker does not run pool {pool:?}; it runs {}", names.join(", "));
        Failure::new(Class::Unavailable, reason::NO_SUCH_POOL, text)
    }
}
