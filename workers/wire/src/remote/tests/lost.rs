//! Workers that die, leave, refuse or speak nonsense, under load too.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use futures_util::future::join_all;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use recmesh_contract::{Class, Failure, Stage, config::Affinity, reason};
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};

use super::fakes::{Answers, FakeWorker, Remote, ask, echo, soon, tokenize};
use crate::Endpoint;

#[tokio::test]
async fn a_call_whose_worker_dies_is_answered_by_another() {
    let mut dying = FakeWorker::start("p", Answers::Never).await;
    let other = FakeWorker::start("p", Answers::Name).await;
    let remote = Remote::to(&[&dying]).await;
    let reply = tokio::spawn(remote.stage.call(tokenize("u")));
    dying.heard().await;
    // The other one joins while the call is under way; it is found when it is needed.
    remote.list(&[&dying, &other]);
    remote.connected(2).await;
    dying.kill().await;
    assert_eq!(echo(soon(reply).await.unwrap()), Ok(other.name.clone()));
}

#[tokio::test]
async fn a_call_whose_only_worker_dies_fails_and_says_so() {
    let mut dying = FakeWorker::start("p", Answers::Never).await;
    let remote = Remote::to(&[&dying]).await;
    let reply = tokio::spawn(remote.stage.call(tokenize("u")));
    dying.heard().await;
    dying.kill().await;
    let failure = soon(reply).await.unwrap().unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Unavailable, reason::WORKER_GONE));
    remote.until(|waiting| waiting.contains("cannot connect")).await;
}

#[tokio::test]
async fn asks_again_once_and_no_more() {
    let gone = Answers::Fails(Failure::new(Class::Unavailable, reason::STOPPING, ""));
    let mut workers = vec![];
    for _ in 0..3 {
        workers.push(FakeWorker::start("p", gone.clone()).await);
    }
    let remote = Remote::to(&workers.iter().collect::<Vec<_>>()).await;
    assert_eq!(ask(&remote, "u").await, Err(reason::STOPPING));
    let mut heard = 0;
    for worker in &mut workers {
        worker.stop().await;
        while worker.heard_already() {
            heard += 1;
        }
    }
    assert_eq!(heard, 2);
}

#[tokio::test]
async fn overload_is_passed_on_and_not_asked_again() {
    let full = Answers::Fails(Failure::new(Class::Overloaded, reason::QUEUE_FULL, "full"));
    let mut workers = [FakeWorker::start("p", full.clone()).await, FakeWorker::start("p", full).await];
    let remote = Remote::to(&[&workers[0], &workers[1]]).await;
    let failure = remote.stage.call(tokenize("u")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Overloaded, reason::QUEUE_FULL));
    let heard = workers.iter_mut().filter_map(|worker| worker.heard_already().then_some(())).count();
    assert_eq!(heard, 1);
}

/// Sixteen clients, each of whom asks until told to stop, and then waits for its last answer.
struct Load {
    clients: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(remote: &Arc<Remote>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |client: usize| {
            let (remote, stop) = (Arc::clone(remote), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut call = 0;
                while !stop.load(Relaxed) {
                    let user = format!("{client}-{call}");
                    assert_eq!(ask(&remote, &user).await.as_ref(), Ok(&user));
                    call += 1;
                }
            })
        };
        Self { clients: (0..16).map(client).collect(), stop: Arc::clone(&stop) }
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        join_all(self.clients).await.into_iter().for_each(Result::unwrap);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_leaves_under_load_loses_nothing() {
    let mut leaving = FakeWorker::start("p", Answers::Echo).await;
    let mut stays = FakeWorker::start("p", Answers::Echo).await;
    let remote = Arc::new(Remote::to(&[&leaving, &stays]).await);
    let load = Load::start(&remote);
    for _ in 0..100 {
        leaving.heard().await;
    }
    // First it refuses, as a draining pool does, then it goes.
    leaving.add("p", Answers::Fails(Failure::new(Class::Unavailable, reason::STOPPING, "")), Err("stopping"));
    remote.connected(1).await;
    leaving.stop().await;
    while stays.heard_already() {}
    for _ in 0..100 {
        stays.heard().await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_under_load_loses_nothing() {
    let mut dying = FakeWorker::start("p", Answers::Echo).await;
    let mut stays = FakeWorker::start("p", Answers::Echo).await;
    let remote = Arc::new(Remote::to(&[&dying, &stays]).await);
    let load = Load::start(&remote);
    for _ in 0..100 {
        dying.heard().await;
    }
    dying.kill().await;
    remote.connected(1).await;
    while stays.heard_already() {}
    for _ in 0..100 {
        stays.heard().await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_connections_are_closed_gently_under_load_loses_nothing() {
    let mut leaving = FakeWorker::start("p", Answers::Echo).await;
    let stays = FakeWorker::start("p", Answers::Echo).await;
    let remote = Arc::new(Remote::to(&[&leaving, &stays]).await);
    let load = Load::start(&remote);
    for _ in 0..100 {
        leaving.heard().await;
    }
    leaving.stop().await;
    remote.connected(1).await;
    load.end().await;
}

#[tokio::test]
async fn a_call_under_way_outlives_the_listing_and_the_stage() {
    let mut worker = FakeWorker::start("p", Answers::Never).await;
    let remote = Remote::to(&[&worker]).await;
    let reply = tokio::spawn(remote.stage.call(tokenize("u")));
    worker.heard().await;
    remote.list(&[]);
    remote.connected(0).await;
    drop(remote);
    assert!(!reply.is_finished());
    reply.abort();
    worker.dropped().await;
}

#[tokio::test]
async fn comes_back_to_a_worker_that_comes_back() {
    let mut worker = FakeWorker::start("p", Answers::Echo).await;
    let endpoint = worker.endpoint();
    let remote = Remote::to(&[&worker]).await;
    worker.kill().await;
    remote.until(|waiting| waiting.contains("cannot connect")).await;
    let again = FakeWorker::at(endpoint.address, "p", Answers::Echo).await;
    remote.ready().await;
    assert_eq!(ask(&remote, "u").await, Ok("u".to_owned()));
    drop(again);
}

#[tokio::test]
async fn a_stranger_on_the_port_is_no_worker() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-nothing to see here, and quite long enough\r\n").await;
        }
    });
    let remote = Remote::of("p", Affinity::None, vec![Endpoint { name: "stranger".into(), address }]);
    remote.until(|waiting| waiting.starts_with("none of 1 workers is ready; stranger:")).await;
    assert!(!remote.stage.ready());
}

/// A server that says it runs the pool and answers every call with bytes that are no answer.
#[tokio::test]
async fn wrong_bytes_are_a_wrong_reply() {
    use prost::Message;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let pool = crate::proto::Pool { name: "p".into(), ready: true, detail: String::new() };
                let message = match request.uri().path() {
                    "/recmesh.worker.v1.Worker/Describe" => {
                        crate::proto::DescribeReply { pools: vec![pool] }.encode_to_vec()
                    }
                    _ => vec![0xff; 32],
                };
                let mut frame = vec![0, 0, 0, 0, message.len() as u8];
                frame.extend(message);
                let body = tonic::body::Body::new(Framed(Some(frame)));
                let reply = http::Response::builder().header("content-type", "application/grpc").body(body);
                Ok::<_, Infallible>(reply.unwrap())
            });
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    let remote = Remote::of("p", Affinity::None, vec![Endpoint { name: "odd".into(), address }]);
    remote.ready().await;
    let failure = remote.stage.call(tokenize("u")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Internal, reason::WRONG_REPLY), "{failure}");
}

/// A gRPC body: one frame, then the trailers of success.
struct Framed(Option<Vec<u8>>);

impl hyper::body::Body for Framed {
    type Data = hyper::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        use hyper::body::Frame;

        std::task::Poll::Ready(match self.0.take() {
            Some(data) if !data.is_empty() => {
                self.0 = Some(vec![]);
                Some(Ok(Frame::data(data.into())))
            }
            Some(_) => Some(Ok(Frame::trailers(
                [("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect(),
            ))),
            None => None,
        })
    }
}
