//! Writes pass a fence only while it is open, and never outlast it.

use std::convert::Infallible;

use axum::body::Body;
use tokio::time::{advance, sleep};
use tower::{ServiceExt, service_fn};

use super::*;

/// A server that answers after a while.
fn server(
    after: Duration,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static> + Clone {
    service_fn(move |_| async move {
        sleep(after).await;
        Ok(Response::new(Body::empty()))
    })
}

fn request(method: Method) -> Request<Body> {
    Request::builder().method(method).uri("/").body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_shut_fence_lets_reads_pass_and_no_write() {
    let fence = Fence::shut();
    let service = fence.layer(server(Duration::ZERO));
    assert!(service.clone().oneshot(request(Method::GET)).await.is_ok());
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let error = service.clone().oneshot(request(method)).await.unwrap_err();
        assert!(error.is::<Fenced>(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_at_the_fence_although_the_fence_is_extended_meanwhile() {
    let fence = Fence::shut();
    fence.extend(Instant::now() + Duration::from_secs(10));
    let began = Instant::now();
    let write = tokio::spawn(fence.layer(server(Duration::from_secs(60))).oneshot(request(Method::PATCH)));
    tokio::task::yield_now().await;
    advance(Duration::from_secs(5)).await;
    fence.extend(Instant::now() + Duration::from_secs(10));
    let error = write.await.unwrap().unwrap_err();
    assert!(error.is::<Fenced>(), "{error}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_fence_closes_by_itself() {
    let fence = Fence::shut();
    fence.extend(Instant::now() + Duration::from_secs(10));
    let service = fence.layer(server(Duration::ZERO));
    assert!(service.clone().oneshot(request(Method::PATCH)).await.is_ok());
    advance(Duration::from_secs(10)).await;
    assert!(service.oneshot(request(Method::PATCH)).await.unwrap_err().is::<Fenced>());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let service = Fence::open().layer(server(Duration::from_secs(3600)));
    let error = service.oneshot(request(Method::PATCH)).await.unwrap_err();
    assert!(error.is::<Unanswered>(), "{error}");
}

#[tokio::test]
async fn the_wish_to_be_left_alone_is_kept() {
    let service = Fence::open().layer(service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::builder().status(429).header("retry-after", "7").body(Body::empty()).unwrap())
    }));
    let error = service.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Throttled>().unwrap().0, Duration::from_secs(7));
}
