//! Answers and failures as HTTP responses. The only place that knows status codes.
//!
//! In: an answer or a `Failure`. Out: JSON, or an RFC 9457 problem document. A diagnostic leaves the process only for
//! the caller's own mistakes; by convention it then begins with the field it is about, as `field: text`.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use recmesh_contract::{Class, Failure, reason};
use serde::Serialize;

use crate::{
    answer::Answer,
    wire::{Problem, RecommendReply, ReleaseBody},
};

/// Seconds after which an overloaded or stopping part may be asked again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The failure that a response tells of, for the log.
#[derive(Clone, Debug)]
pub(crate) struct Told(pub(crate) Failure);

/// The status of a failure and its kind in a few words.
fn status(failure: &Failure) -> (StatusCode, &'static str) {
    match (failure.class, failure.reason) {
        (Class::Invalid, reason::BODY_TOO_LARGE) => (StatusCode::PAYLOAD_TOO_LARGE, "body too large"),
        (Class::Invalid, reason::UNSUPPORTED_MEDIA_TYPE) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type")
        }
        (Class::Invalid, reason::METHOD_NOT_ALLOWED) => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        (Class::Invalid, _) => (StatusCode::BAD_REQUEST, "invalid request"),
        (Class::NotFound, _) => (StatusCode::NOT_FOUND, "not found"),
        (Class::Overloaded, reason::TOO_MANY_REQUESTS) => (StatusCode::TOO_MANY_REQUESTS, "too many requests"),
        (Class::Overloaded, _) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        (Class::DeadlineExceeded, _) => (StatusCode::GATEWAY_TIMEOUT, "deadline exceeded"),
        (Class::Cancelled | Class::Unavailable, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (Class::Internal, _) => (StatusCode::INTERNAL_SERVER_ERROR, "internal error"),
    }
}

/// What callers are told.
fn detail(failure: &Failure) -> (Option<String>, String) {
    let plain = match failure.class {
        Class::Invalid | Class::NotFound => {
            let field = failure.diagnostic.split_once(": ").filter(|(field, _)| !field.contains(' '));
            return match field {
                Some((field, _)) => (Some(field.to_owned()), failure.diagnostic.clone()),
                None => (None, failure.diagnostic.clone()),
            };
        }
        Class::Overloaded => "as many requests as may are being worked on; try again later",
        Class::DeadlineExceeded => "the time of the request ran out; ask with more time or for less",
        Class::Cancelled | Class::Unavailable => "a part that is needed is starting or stopping; try again later",
        Class::Internal => "something is wrong on our side; the request id leads to the log",
    };
    (None, plain.to_owned())
}

/// A failure as a problem document.
pub(crate) fn problem(failure: Failure, request_id: &str) -> Response {
    let (status, title) = status(&failure);
    let (field, detail) = detail(&failure);
    let problem = Problem {
        kind: format!("urn:recmesh:problem:{}", failure.reason),
        title,
        status: status.as_u16(),
        detail,
        reason: failure.reason,
        field,
        request_id: request_id.to_owned(),
    };
    let mut response = json(status, "application/problem+json", &problem);
    if matches!(failure.class, Class::Overloaded | Class::Unavailable | Class::Cancelled) {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response.extensions_mut().insert(Told(failure));
    response
}

/// An answer as the reply document.
pub(crate) fn answer(answer: Answer, release: &ReleaseBody) -> Response {
    let Answer { items, stages, fallback } = answer;
    let items = items.into_iter().map(Into::into).collect();
    let reply = RecommendReply { items, release: Cow::Borrowed(release), stages, fallback };
    json(StatusCode::OK, "application/json", &reply)
}

/// A probe's body: 200 where `good`, else 503.
pub(crate) fn probe(good: bool, body: &impl Serialize) -> Response {
    json(if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "application/json", body)
}

/// A text of a given content type.
pub(crate) fn text(content_type: &'static str, text: String) -> Response {
    with_body(StatusCode::OK, content_type, text.into())
}

fn json(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_body(status, content_type, bytes.into()),
        // No type here can fail to be written: keys are strings, and a score that is not a number becomes null.
        Err(_) => with_body(StatusCode::INTERNAL_SERVER_ERROR, content_type, Body::empty()),
    }
}

fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
