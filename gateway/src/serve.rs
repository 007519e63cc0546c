//! Serves the router over TCP until told to stop, then lets open requests end.

use std::{future::Future, io, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, sync::oneshot};

/// How long open requests may take to end after the stop; every pipeline's deadline is far below.
const GRACE: Duration = Duration::from_secs(30);

/// Serves until `shutdown` is over; then no new connection is taken, and open requests have 30 seconds to end.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (tell, told) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        // An error means that serving has ended already.
        let _ = tell.send(());
    };
    // Replies are small: waiting to fill a packet would only delay them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its packets waiting");
        }
    });
    let served = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    let patience = async {
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = served => result,
        () = patience => {
            tracing::warn!("open connections did not end in time and are cut");
            Ok(())
        }
    }
}
