//! Reads a request's body: JSON bytes up to a limit, within a time.
//!
//! The content type is not asked for, because common clients name a form or nothing at all; only `multipart/*`, which
//! can never be JSON, is refused. A body that says it is too large is refused before a byte of it is read.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use recmesh_contract::{Class, Failure, reason};

/// How long a body may take to arrive.
const TIME: Duration = Duration::from_secs(10);

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let multipart = |value: &[u8]| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    if headers.get(header::CONTENT_TYPE).is_some_and(|value| multipart(value.as_bytes())) {
        let text = "Content-Type: send the JSON as the body itself";
        return Err(Failure::new(Class::Invalid, reason::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(TIME, collect(body, limit, length.unwrap_or(0))).await {
        Ok(read) => read,
        Err(_) => Err(Failure::new(Class::DeadlineExceeded, reason::DEADLINE, "the body did not arrive in time")),
    }
}

async fn collect(body: Body, limit: usize, length: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(length.min(limit as u64) as usize);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Failure::new(Class::Invalid, reason::BAD_BODY, error.to_string()))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Failure {
    let text = format!("the body is larger than {limit} bytes; send fewer items of the history");
    Failure::new(Class::Invalid, reason::BODY_TOO_LARGE, text)
}
