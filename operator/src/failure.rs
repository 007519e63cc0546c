//! Why a write did not happen, sorted by what is to be done about it.
//!
//! In: the client's error. Out: one of a few classes, which map exhaustively to an [`Action`]. Only [`Failure::Refused`]
//! is the user's to mend, so only it becomes a condition.

use std::time::Duration;

use kube::core::Status;

use crate::fence::{Fenced, Throttled};

/// When a resource is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// When something changes.
    Await,
    /// After this time at the latest.
    After(Duration),
    /// In a moment: what was known was out of date.
    Soon,
    /// After a time that grows with every failure.
    Backoff,
}

/// How long a refused write waits for somebody to mend what is refused, when nothing is seen to change.
const REFUSED: Duration = Duration::from_secs(60);

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody else has changed the object meanwhile.
    #[error("{what}: changed by somebody else meanwhile")]
    Conflict {
        /// The object: `Job shop/rds-clicks-1a2b3c4d`.
        what: String,
    },
    /// The API server, or a policy in it, does not want the object.
    #[error("{what}: {message}")]
    Refused {
        /// The object.
        what: String,
        /// What the API server says.
        message: String,
    },
    /// The object, or its namespace, is going or gone.
    #[error("{what}: it or its namespace is being deleted")]
    Ending {
        /// The object.
        what: String,
    },
    /// The API server asks to be left alone for a while.
    #[error("{what}: the API server asks to come back in {} s", after.as_secs())]
    Throttled {
        /// The object.
        what: String,
        /// How long.
        after: Duration,
    },
    /// This replica may no longer be the leader.
    #[error("{what}: this replica may no longer be the leader")]
    Fenced {
        /// The object.
        what: String,
    },
    /// The API server, or the way to it, is in trouble.
    #[error("{what}: {source}")]
    Unavailable {
        /// The object.
        what: String,
        /// What the client says.
        #[source]
        source: kube::Error,
    },
}

impl Failure {
    /// Sorts a client's error about an object.
    #[must_use]
    pub fn new(what: String, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::told(what, *status),
            kube::Error::Service(source) if source.is::<Fenced>() => Self::Fenced { what },
            kube::Error::Service(source) => match source.downcast_ref::<Throttled>() {
                Some(&Throttled(after)) => Self::Throttled { what, after },
                None => Self::Unavailable { what, source: kube::Error::Service(source) },
            },
            source => Self::Unavailable { what, source },
        }
    }

    fn told(what: String, status: Status) -> Self {
        let details = status.details.as_ref();
        let ending = details.is_some_and(|details| {
            details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
                || (status.code == 404 && details.kind == "namespaces")
        });
        let after = details.map_or(0, |details| u64::from(details.retry_after_seconds));
        match status.code {
            _ if ending => Self::Ending { what },
            409 => Self::Conflict { what },
            // The path is unknown, not the object: the kind is not installed.
            404 if details.is_none() => {
                Self::Refused { what, message: "the API server does not know this kind: install it".to_owned() }
            }
            404 => Self::Ending { what },
            429 => Self::Throttled { what, after: Duration::from_secs(after.max(1)) },
            401 | 408 | 410 => Self::Unavailable { what, source: kube::Error::Api(status.boxed()) },
            400..=499 => Self::Refused { what, message: status.message },
            _ => Self::Unavailable { what, source: kube::Error::Api(status.boxed()) },
        }
    }

    /// When to try again.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Conflict { .. } => Action::Soon,
            Self::Refused { .. } => Action::After(REFUSED),
            Self::Ending { .. } => Action::Await,
            Self::Throttled { after, .. } => Action::After(*after),
            // A leader that comes back looks at everything anew.
            Self::Fenced { .. } => Action::Await,
            Self::Unavailable { .. } => Action::Backoff,
        }
    }

    /// How it is counted.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Refused { .. } => "refused",
            Self::Ending { .. } => "ending",
            Self::Throttled { .. } => "throttled",
            Self::Fenced { .. } => "fenced",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(status: serde_json::Value) -> Failure {
        Failure::new("Job shop/x".to_owned(), kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn statuses_are_sorted_by_what_is_to_be_done() {
        for (status, result, action) in [
            (json!({"code": 409, "reason": "Conflict"}), "conflict", Action::Soon),
            (
                json!({"code": 403, "reason": "Forbidden", "message": "exceeded quota"}),
                "refused",
                Action::After(REFUSED),
            ),
            (json!({"code": 422, "message": "spec.x: Invalid value"}), "refused", Action::After(REFUSED)),
            (
                json!({"code": 403, "details": {"causes": [{"reason": "NamespaceTerminating"}]}}),
                "ending",
                Action::Await,
            ),
            (json!({"code": 404, "details": {"kind": "namespaces", "name": "shop"}}), "ending", Action::Await),
            (json!({"code": 404, "details": {"kind": "jobs", "name": "x"}}), "ending", Action::Await),
            (json!({"code": 404, "message": "404 page not found"}), "refused", Action::After(REFUSED)),
            (
                json!({"code": 429, "details": {"retryAfterSeconds": 5}}),
                "throttled",
                Action::After(Duration::from_secs(5)),
            ),
            (json!({"code": 401, "message": "Unauthorized"}), "unavailable", Action::Backoff),
            (json!({"code": 500}), "unavailable", Action::Backoff),
            (json!({"code": 503, "message": "there can be a delay"}), "unavailable", Action::Backoff),
        ] {
            let failure = failure(status.clone());
            assert_eq!((failure.result(), failure.action()), (result, action), "{status}");
        }
    }

    #[test]
    fn what_the_layers_say_is_understood() {
        let of = |error: tower::BoxError| Failure::new("x".to_owned(), kube::Error::Service(error));
        assert_eq!(of(Fenced.into()).action(), Action::Await);
        assert_eq!(of(Throttled(Duration::from_secs(9)).into()).action(), Action::After(Duration::from_secs(9)));
        assert_eq!(of("connection reset".into()).action(), Action::Backoff);
    }
}
