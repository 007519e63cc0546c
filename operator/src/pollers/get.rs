//! One small HTTP/1.1 GET of JSON inside the cluster.
//!
//! In: an address and a path. Out: the decoded answer. A connection of its own, closed afterwards; bounded in time and
//! in bytes, for what answers is only believed to be ours.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, header::HOST},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, time::timeout};

/// The longest that a GET may take.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// It took too long.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Late,
    /// Nobody listens there.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    /// What answers does not speak HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// It answers something else than 200.
    #[error("answers {0}")]
    Status(u16),
    /// The answer is too long, or broke off.
    #[error("the answer is longer than {0} bytes, or broke off")]
    Body(usize),
    /// The answer is not what was asked for.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Gets and decodes what a process of ours tells.
///
/// # Errors
/// See [`GetError`].
pub async fn get<T: DeserializeOwned>(address: SocketAddr, path: &'static str, most: usize) -> Result<T, GetError> {
    timeout(LIMIT, ask(address, path, most)).await.map_err(|_| GetError::Late)?
}

async fn ask<T: DeserializeOwned>(address: SocketAddr, path: &'static str, most: usize) -> Result<T, GetError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = axum::http::Uri::from_static(path);
    if let Ok(host) = address.to_string().parse() {
        request.headers_mut().insert(HOST, host);
    }
    // The connection is driven here, so it ends with this call.
    let answer = async {
        let answer = sender.send_request(request).await?;
        if answer.status().as_u16() != 200 {
            return Err(GetError::Status(answer.status().as_u16()));
        }
        let body = to_bytes(Body::new(answer.into_body()), most).await.map_err(|_| GetError::Body(most))?;
        Ok(serde_json::from_slice(&body)?)
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answered = &mut answer => answered,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get as route};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/report", route(|| async { Json(json!({"a": 1})) }))
            .route("/long", route(|| async { "9".repeat(5000) }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    #[tokio::test]
    async fn answers_are_decoded_and_bounded() {
        let address = server().await;
        assert_eq!(get::<Value>(address, "/report", 4096).await.unwrap(), json!({"a": 1}));
        assert!(matches!(get::<Value>(address, "/long", 4096).await, Err(GetError::Body(4096))));
        assert!(matches!(get::<Value>(address, "/none", 4096).await, Err(GetError::Status(404))));
        assert!(matches!(get::<Vec<u8>>(address, "/report", 4096).await, Err(GetError::Json(_))));
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(get::<Value>(address, "/report", 4096).await, Err(GetError::Connect(_))));
    }
}
