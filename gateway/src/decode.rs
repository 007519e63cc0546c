//! From bytes to the body they are JSON of.
//!
//! Small bodies are decoded where they arrive. A history of 10,000 items takes most of a millisecond, and nothing may
//! hold up the threads that serve HTTP for long: such a body is decoded on tokio's blocking threads, which are reused,
//! and at most [`Large`] many at once, so that no flood of large bodies starts more of them than there are cores.

use std::{sync::Arc, thread::available_parallelism};

use recmesh_contract::{Class, Failure, reason};
use serde_json::error::Category;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{parse::bad, wire::RecommendBody};

/// Bytes from which a body counts as large: about 1,000 item ids, which take less than 100 µs.
const LARGE: usize = 16 << 10;

/// Places for large bodies.
pub(crate) struct Large(Arc<Semaphore>);

impl Large {
    /// As many places as there are cores.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))))
    }
}

/// Decodes a body; a failure names the field it is about, where it is about one.
pub(crate) async fn decode(bytes: Vec<u8>, large: &Large) -> Result<RecommendBody, Failure> {
    if bytes.len() <= LARGE {
        return json(&bytes);
    }
    let stopping = || Failure::new(Class::Unavailable, reason::STOPPING, "the runtime is stopping");
    let place = Arc::clone(&large.0).acquire_owned().await.map_err(|_| stopping())?;
    let decoded = spawn_blocking(move || {
        let decoded = json(&bytes);
        // Held here and not by the future: a caller who goes away does not end the work.
        drop(place);
        decoded
    });
    decoded.await.unwrap_or_else(|error| match error.is_panic() {
        true => Err(Failure::new(Class::Internal, reason::PANIC, error.to_string())),
        false => Err(stopping()),
    })
}

fn json(body: &[u8]) -> Result<RecommendBody, Failure> {
    let failure = |text: String| Failure::new(Class::Invalid, reason::BAD_BODY, text);
    if body.trim_ascii().is_empty() {
        return Err(failure("the body is empty; send a JSON object such as {\"user\":\"u42\",\"k\":10}".to_owned()));
    }
    // A struct would also be read from an array, field by field.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(failure("the body is an array; send a JSON object such as {\"user\":\"u42\",\"k\":10}".to_owned()));
    }
    let error = match serde_json::from_slice(body) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    if error.classify() != Category::Data {
        return Err(failure(format!("the body is not JSON: {error}")));
    }
    // Only a body that failed is read a second time, to learn the path of the field.
    let mut again = serde_json::Deserializer::from_slice(body);
    let path = serde_path_to_error::deserialize::<_, RecommendBody>(&mut again).err().map(|e| e.path().to_string());
    match path {
        Some(path) if path != "." => Err(bad(&path, &error.to_string())),
        _ => Err(failure(format!("the body cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    fn body(items: usize) -> Vec<u8> {
        let history: Vec<String> = (0..items).map(|item| format!("item-{item}")).collect();
        serde_json::to_vec(&serde_json::json!({ "history": history })).unwrap()
    }

    #[tokio::test]
    async fn large_bodies_wait_for_a_place_and_small_ones_do_not() {
        let large = Large(Arc::new(Semaphore::new(0)));
        let decoded = decode(body(100), &large).now_or_never().unwrap();
        assert_eq!(decoded.unwrap().history.unwrap().len(), 100);
        let mut broken = body(10_000);
        broken.pop();
        let (mut waits, broken) = (pin!(decode(body(10_000), &large)), decode(broken, &large));
        assert!((&mut waits).now_or_never().is_none());
        large.0.add_permits(1);
        let history = waits.await.unwrap().history.unwrap();
        assert_eq!((history.len(), history[9_999].as_str()), (10_000, "item-9999"));
        // The place is free again, and a large body fails as a small one does.
        assert_eq!(broken.await.unwrap_err().reason, reason::BAD_BODY);
    }
}
