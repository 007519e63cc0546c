//! Faults by name: which requests fail, how, and how often.

use std::time::Duration;

use serde_json::Value;

use super::{request::Asked, status};

/// How a request fails.
#[derive(Clone, Debug)]
pub enum What {
    /// With this answer.
    Status(u16, Value),
    /// With 429 and a `Retry-After` of so many seconds.
    Throttle(u64),
    /// The connection is lost before it is served.
    Lost,
    /// The connection is lost after it has been served.
    LostAfter,
    /// It is never answered.
    Hang,
    /// It is answered after a while.
    Slow(Duration),
}

/// Requests that fail.
#[derive(Clone, Debug)]
pub struct Fault {
    /// `GET`, `PATCH`, …; `WATCH` and `LIST` for reads of many.
    pub method: &'static str,
    /// Part of the path.
    pub path: String,
    /// How.
    pub what: What,
    /// How often.
    pub times: usize,
    /// Whose; everybody's without it.
    pub by: Option<&'static str>,
}

impl Fault {
    /// Some request fails somehow so often.
    pub fn new(method: &'static str, path: &str, times: usize, what: What) -> Self {
        Self { method, path: path.to_owned(), what, times, by: None }
    }

    /// Only this client's requests fail.
    pub fn of(self, by: &'static str) -> Self {
        Self { by: Some(by), ..self }
    }

    /// Another hand was faster.
    pub fn conflict(path: &str, times: usize) -> Self {
        Self::new("PATCH", path, times, What::Status(409, status(409, "Conflict", "the object has been modified")))
    }

    /// The API server is in trouble.
    pub fn internal(path: &str, times: usize) -> Self {
        Self::new("PATCH", path, times, What::Status(500, status(500, "InternalError", "etcdserver: leader changed")))
    }

    /// The endpoint of a kind whose definition has just been established.
    pub fn not_yet(method: &'static str, path: &str, times: usize) -> Self {
        let message = "there can be a delay";
        Self::new(method, path, times, What::Status(503, status(503, "ServiceUnavailable", message)))
    }

    /// A quota, a policy.
    pub fn refused(path: &str, times: usize) -> Self {
        let message = "exceeded quota: pods=10";
        Self::new("PATCH", path, times, What::Status(403, status(403, "Forbidden", message)))
    }
}

/// The fault that a request meets, counted down.
pub(super) fn next(faults: &mut [Fault], by: &str, asked: &Asked) -> Option<What> {
    let fault = faults.iter_mut().find(|fault| {
        fault.times > 0
            && fault.method == asked.verb()
            && asked.path.contains(&fault.path)
            && fault.by.is_none_or(|whose| whose == by)
    })?;
    fault.times -= 1;
    Some(fault.what.clone())
}
