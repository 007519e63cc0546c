//! Failures as gRPC statuses and back.
//!
//! The class is the status code, the reason stands in the metadata, the diagnostic is the message. A status without a
//! registered reason is not from our server: either the way to it broke, or it speaks something else.

use std::error::Error;

use recmesh_contract::{Class, Failure, reason};
use tonic::{Code, Status, metadata::MetadataValue};

/// The metadata key of the reason.
const REASON: &str = "recmesh-reason";

/// Bytes of a diagnostic that are sent; headers are bounded.
const LONGEST: usize = 1024;

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The worker answered with a failure.
    Failed(Failure),
    /// The worker was gone before it answered, or had not begun: another can do the same work.
    Gone(Failure),
}

impl Ended {
    /// What the caller is told when nobody else is asked.
    pub fn failure(self) -> Failure {
        let (Self::Failed(failure) | Self::Gone(failure)) = self;
        failure
    }
}

/// A failure as a status.
pub(crate) fn write(failure: &Failure) -> Status {
    let code = match failure.class {
        Class::Invalid => Code::InvalidArgument,
        Class::NotFound => Code::NotFound,
        Class::Overloaded => Code::ResourceExhausted,
        Class::DeadlineExceeded => Code::DeadlineExceeded,
        Class::Cancelled => Code::Cancelled,
        Class::Unavailable => Code::Unavailable,
        Class::Internal => Code::Internal,
    };
    let end = failure.diagnostic.floor_char_boundary(LONGEST);
    let mut status = Status::new(code, &failure.diagnostic[..end]);
    status.metadata_mut().insert(REASON, MetadataValue::from_static(failure.reason));
    status
}

/// Why a call ended with this status.
pub(crate) fn read(status: &Status) -> Ended {
    let told = status.metadata().get(REASON).map(|value| value.to_str().unwrap_or_default());
    let Some(told) = told else {
        return if status.source().is_some() {
            Ended::Gone(Failure::new(Class::Unavailable, reason::WORKER_GONE, chain(status)))
        } else {
            let text = format!("a worker answered {:?} without a reason: {}", status.code(), status.message());
            Ended::Failed(Failure::new(Class::Internal, reason::WRONG_REPLY, text))
        };
    };
    let (Some(class), Some(reason)) = (class(status.code()), reason::parse(told)) else {
        let text =
            format!("a worker answered {:?} with the unknown reason {told:?}: {}", status.code(), status.message());
        return Ended::Failed(Failure::new(Class::Internal, reason::WRONG_REPLY, text));
    };
    let failure = Failure::new(class, reason, status.message());
    // These refuse before anything is computed.
    let refused = [reason::STARTING, reason::STOPPING, reason::NO_SUCH_POOL];
    if class == Class::Unavailable && refused.contains(&reason) { Ended::Gone(failure) } else { Ended::Failed(failure) }
}

fn class(code: Code) -> Option<Class> {
    Some(match code {
        Code::InvalidArgument => Class::Invalid,
        Code::NotFound => Class::NotFound,
        Code::ResourceExhausted => Class::Overloaded,
        Code::DeadlineExceeded => Class::DeadlineExceeded,
        Code::Cancelled => Class::Cancelled,
        Code::Unavailable => Class::Unavailable,
        Code::Internal => Class::Internal,
        _ => return None,
    })
}

/// An error and everything behind it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_and_reason_comes_back() {
        let classes = [
            Class::Invalid,
            Class::NotFound,
            Class::Overloaded,
            Class::DeadlineExceeded,
            Class::Cancelled,
            Class::Unavailable,
            Class::Internal,
        ];
        for class in classes {
            for reason in reason::ALL {
                let (Ended::Failed(back) | Ended::Gone(back)) = read(&write(&Failure::new(class, reason, "ünder 5 %")));
                assert_eq!((back.class, back.reason, back.diagnostic.as_str()), (class, reason, "ünder 5 %"));
            }
        }
    }

    #[test]
    fn only_what_was_never_computed_may_be_asked_elsewhere() {
        let gone = |class, reason| matches!(read(&write(&Failure::new(class, reason, ""))), Ended::Gone(_));
        assert!(gone(Class::Unavailable, reason::STOPPING));
        assert!(gone(Class::Unavailable, reason::NO_SUCH_POOL));
        assert!(!gone(Class::Overloaded, reason::QUEUE_FULL));
        assert!(!gone(Class::DeadlineExceeded, reason::DEADLINE));
        assert!(!gone(Class::Internal, reason::PANIC));
    }

    #[test]
    fn strangers_are_a_wrong_reply() {
        let mut odd = Status::unavailable("x");
        odd.metadata_mut().insert(REASON, MetadataValue::from_static("newReason"));
        for status in [odd, Status::unimplemented("no such service")] {
            let Ended::Failed(failure) = read(&status) else { panic!("{status:?} cannot be asked elsewhere") };
            assert_eq!((failure.class, failure.reason), (Class::Internal, reason::WRONG_REPLY));
        }
    }

    #[test]
    fn long_diagnostics_are_cut_between_characters() {
        let status = write(&Failure::new(Class::Invalid, reason::BAD_FIELD, "ü".repeat(2000)));
        assert_eq!(status.message().chars().count(), 512);
    }
}
