//! Keeps a replica from writing once it may no longer be the leader: a layer on the client, below everything that writes.
//!
//! In: requests, and from the lease the instant until which this replica surely leads. Out: the request's answer, or
//! [`Fenced`]. A write begins only before that instant and is given up at it, so the API server has the rest of the
//! lease, `duration - renew`, to end what it has already begun. Reads pass, and end after [`LONGEST`] unless they are
//! watches. It never waits for anything: whoever is fenced hears so at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

/// The longest that a request which is no watch may take.
pub const LONGEST: Duration = Duration::from_secs(30);

/// A write was refused, or given up, because this replica may no longer be the leader.
#[derive(Debug, thiserror::Error)]
#[error("this replica may no longer be the leader, so it writes nothing")]
pub struct Fenced;

/// The API server asks to be left alone for a while.
#[derive(Debug, thiserror::Error)]
#[error("the API server asks to come back in {} s", .0.as_secs())]
pub struct Throttled(pub Duration);

/// The API server did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} s", LONGEST.as_secs())]
pub struct Unanswered;

/// Until when this process may write. Clones share it.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Mutex<Reach>>);

#[derive(Clone, Copy, Debug)]
enum Reach {
    Open,
    Until(Instant),
    Shut,
}

impl Fence {
    /// A fence that lets every write pass: for a single process that agrees with nobody.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(Reach::Open)))
    }

    /// A fence that lets no write pass until [`Fence::extend`] is called.
    #[must_use]
    pub fn shut() -> Self {
        Self(Arc::new(Mutex::new(Reach::Shut)))
    }

    /// Lets writes pass until this instant.
    pub fn extend(&self, until: Instant) {
        self.set(Reach::Until(until));
    }

    /// Lets no write pass.
    pub fn close(&self) {
        self.set(Reach::Shut);
    }

    fn set(&self, reach: Reach) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reach;
    }

    /// When a write that begins now must have ended; `None` when none may begin.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Reach::Open => Some(now + LONGEST),
            Reach::Until(until) => (until > now).then(|| until.min(now + LONGEST)),
            Reach::Shut => None,
        }
    }
}

impl<S> Layer<S> for Fence {
    type Service = FencedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FencedService { fence: self.clone(), inner }
    }
}

/// A client's service behind a [`Fence`].
#[derive(Clone, Debug)]
pub struct FencedService<S> {
    fence: Fence,
    inner: S,
}

impl<S, In, Out> Service<Request<In>> for FencedService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    Out: 'static,
{
    type Response = Response<Out>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let now = Instant::now();
        let writes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let deadline = if writes {
            match self.fence.deadline(now) {
                Some(deadline) => deadline,
                None => return Box::pin(async { Err(Fenced.into()) }),
            }
        } else {
            now + LONGEST
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            // A watch answers its head at once too; its body, which lasts, is no part of this.
            match timeout_at(deadline, answer).await {
                Ok(answer) => throttled(answer.map_err(Into::into)?),
                Err(_) if writes && deadline < now + LONGEST => Err(Fenced.into()),
                Err(_) => Err(Unanswered.into()),
            }
        })
    }
}

/// The wish to be left alone, where an answer says one: it stands in a header that the client drops.
fn throttled<T>(answer: Response<T>) -> Result<Response<T>, BoxError> {
    let asks = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    match after {
        Some(seconds) if asks => Err(Throttled(Duration::from_secs(seconds)).into()),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests;
