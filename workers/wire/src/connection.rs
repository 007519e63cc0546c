//! One worker's connection: made as soon as the worker is known, kept alive by pings, made again when it breaks.
//!
//! Over it the worker is asked which pools it runs: often until it runs ours, seldom afterwards, at once when a call was
//! refused. In: a peer and the pool's name. Out: the peer's link, kept up to date until this future is dropped.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};
use tonic::{body::Body, codegen::Service};

use crate::{
    CONNECTION_WINDOW, LARGEST_MESSAGE, STREAM_WINDOW,
    endpoint::{Link, Peer},
    proto::{self, worker_client::WorkerClient},
    status,
};

/// Calls to a worker; clones share the connection.
pub(crate) type Client = WorkerClient<Channel>;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// Time for the answer which pools there are.
const DESCRIBE: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect: doubling, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Pauses between questions, while the pool is awaited and once it is there.
const AWAITED: Duration = Duration::from_millis(200);
const THERE: Duration = Duration::from_secs(5);
/// A connection on which nothing comes for this long is pinged, and given up after as long again.
const PING: Duration = Duration::from_secs(3);
/// Calls given up lately whose answers may still arrive; more would end the connection.
const GIVEN_UP: usize = 1 << 13;

/// Keeps `peer`'s link; `changed` is called after every change.
pub(crate) async fn keep(peer: Arc<Peer>, pool: Arc<str>, changed: impl Fn()) {
    let mut pause = FIRST_PAUSE;
    loop {
        match timeout(CONNECT, connect(&peer)).await.unwrap_or_else(|_| Err("no connection in time".to_owned())) {
            Ok((client, closed)) => {
                pause = FIRST_PAUSE;
                converse(&peer, &pool, client, closed, &changed).await;
                peer.set(Link::Down("the connection broke".to_owned()));
            }
            Err(why) => peer.set(Link::Down(why)),
        }
        changed();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks which pools the worker runs, over and over, until the connection is closed.
async fn converse(peer: &Peer, pool: &str, client: Client, mut closed: oneshot::Receiver<()>, changed: &impl Fn()) {
    loop {
        let described = tokio::select! {
            described = timeout(DESCRIBE, describe(client.clone(), pool)) => described,
            _ = &mut closed => return,
        };
        match described {
            Ok(Ok(())) => peer.set(Link::Up(client.clone())),
            Ok(Err(why)) => peer.set(Link::Waiting(why)),
            // A worker that is too busy to say so still runs what it ran; how its calls end tells the rest.
            Err(_) if peer.client().is_some() => {}
            Err(_) => peer.set(Link::Waiting("it does not say which pools it runs".to_owned())),
        }
        changed();
        let pause = if peer.client().is_some() { THERE } else { AWAITED };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = peer.doubt.notified() => {}
            _ = &mut closed => return,
        }
    }
}

/// Whether the worker runs the pool; why not otherwise.
async fn describe(mut client: Client, pool: &str) -> Result<(), String> {
    let reply = client.describe(proto::DescribeRequest {}).await.map_err(|status| status::chain(&status))?;
    let pools = reply.into_inner().pools;
    match pools.into_iter().find(|found| found.name == pool) {
        Some(found) if found.ready => Ok(()),
        Some(found) => Err(found.detail),
        None => Err("it does not run this pool".to_owned()),
    }
}

/// Connects; also gives what ends when the connection does.
async fn connect(peer: &Peer) -> Result<(Client, oneshot::Receiver<()>), String> {
    let address = peer.endpoint.address;
    let stream = TcpStream::connect(address).await.and_then(|stream| {
        stream.set_nodelay(true)?;
        io::Result::Ok(stream)
    });
    let stream = stream.map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .max_concurrent_reset_streams(GIVEN_UP)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake::<_, Body>(TokioIo::new(stream))
        .await;
    let (sender, connection) = handshake.map_err(|error| format!("{address} does not speak HTTP/2: {error}"))?;
    let (ended, closed) = oneshot::channel::<()>();
    // Outlives this peer as long as calls are under way.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, error = status::chain(&error), "a connection to a worker broke");
        }
        drop(ended);
    });
    let client = WorkerClient::with_origin(Channel(sender), http::Uri::from_static("http://worker"))
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    Ok((client, closed))
}

/// A connection as the generated client wants it.
#[derive(Clone)]
pub(crate) struct Channel(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        // HTTP/2 is ready until it is closed; the generated client would hide that error, the call's own shows it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
