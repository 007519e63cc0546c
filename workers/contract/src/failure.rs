//! What can go wrong on the request path: a closed class, a registered reason, a private diagnostic.
//!
//! A failure says *what failed*. Which status code, whether to retry and whether to fall back is decided by whoever
//! handles it: `gateway/reply.rs` alone knows status codes.

use std::fmt;

/// The kind of a failure; closed, so that every handler covers every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The caller asked for something that can never work; the diagnostic may be shown to the caller.
    Invalid,
    /// The caller named something that does not exist; the diagnostic may be shown to the caller.
    NotFound,
    /// A queue or a limit is full; trying again later can work.
    Overloaded,
    /// The request's time ran out.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// A part is starting, stopping or broken; trying elsewhere can work.
    Unavailable,
    /// A defect of ours.
    Internal,
}

/// A failure on the request path.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// Why, from the closed list in [`reason`]: the only text that may label a metric.
    pub reason: &'static str,
    /// Facts for operators. Leaves the process only for [`Class::Invalid`] and [`Class::NotFound`].
    pub diagnostic: String,
}

impl Failure {
    /// Puts a failure together.
    #[must_use]
    pub fn new(class: Class, reason: &'static str, diagnostic: impl Into<String>) -> Self {
        Self { class, reason, diagnostic: diagnostic.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.diagnostic)
    }
}

impl std::error::Error for Failure {}

/// Every reason there is. Each one is also a metric label, so the list is closed and short.
pub mod reason {
    /// A request field has a value that is out of its range or of the wrong type.
    pub const BAD_FIELD: &str = "badField";
    /// The body is not the JSON that the route reads.
    pub const BAD_BODY: &str = "badBody";
    /// The body is larger than the route takes.
    pub const BODY_TOO_LARGE: &str = "bodyTooLarge";
    /// The named pipeline does not exist.
    pub const NO_SUCH_PIPELINE: &str = "noSuchPipeline";
    /// The body is of a media type that can never be read.
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "unsupportedMediaType";
    /// No route has this path.
    pub const NO_SUCH_ROUTE: &str = "noSuchRoute";
    /// The path takes another method.
    pub const METHOD_NOT_ALLOWED: &str = "methodNotAllowed";
    /// A pool's mailbox is full.
    pub const QUEUE_FULL: &str = "queueFull";
    /// The gateway already works on as many requests as it may.
    pub const TOO_MANY_REQUESTS: &str = "tooManyRequests";
    /// The request's deadline passed.
    pub const DEADLINE: &str = "deadline";
    /// The caller closed the connection.
    pub const CLIENT_GONE: &str = "clientGone";
    /// A pool or the gateway is starting.
    pub const STARTING: &str = "starting";
    /// A pool or the gateway is stopping.
    pub const STOPPING: &str = "stopping";
    /// A model panicked while it computed this batch.
    pub const PANIC: &str = "panic";
    /// A model produced a score that is not a number.
    pub const NOT_A_NUMBER: &str = "notANumber";
    /// Nothing is known about the user, and no history came with the request.
    pub const COLD_START: &str = "coldStart";
    /// A stage gave fewer items than were asked for.
    pub const TOO_FEW: &str = "tooFew";
    /// A stage answered with something that its kind of work cannot have.
    pub const WRONG_REPLY: &str = "wrongReply";
    /// A worker was gone before it answered.
    pub const WORKER_GONE: &str = "workerGone";
    /// No worker of a pool is known.
    pub const NO_WORKER: &str = "noWorker";
    /// A worker does not run the pool that it was asked for.
    pub const NO_SUCH_POOL: &str = "noSuchPool";

    /// Every reason.
    pub const ALL: [&str; 21] = [
        BAD_FIELD,
        BAD_BODY,
        BODY_TOO_LARGE,
        NO_SUCH_PIPELINE,
        UNSUPPORTED_MEDIA_TYPE,
        NO_SUCH_ROUTE,
        METHOD_NOT_ALLOWED,
        QUEUE_FULL,
        TOO_MANY_REQUESTS,
        DEADLINE,
        CLIENT_GONE,
        STARTING,
        STOPPING,
        PANIC,
        NOT_A_NUMBER,
        COLD_START,
        TOO_FEW,
        WRONG_REPLY,
        WORKER_GONE,
        NO_WORKER,
        NO_SUCH_POOL,
    ];

    /// The registered reason of this text, for one that came over the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<&'static str> {
        ALL.into_iter().find(|reason| *reason == text)
    }
}
