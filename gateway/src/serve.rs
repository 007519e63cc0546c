//! Serves the router over TCP until told to stop, then lets open requests end.
//!
//! ## Serving => (Stopping)
//! ## Stopping => (Draining)
//! `/readyz` says no; everything is served all the same, so that who balances over several gateways can learn of it.
//! ## Draining
//! No new connection is taken, open requests end.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router, serve::ListenerExt};
use tokio::{net::TcpListener, sync::oneshot};

/// How long open requests may take to end after the stop; every pipeline's deadline is far below.
const GRACE: Duration = Duration::from_secs(30);

/// Whether the process has been asked to stop; in every request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(crate) fn say(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_said(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Serves until `shutdown` is over. From then on `/readyz` answers 503. When `notice` is over too, no new connection is
/// taken, and open requests have 30 seconds to end. A process that nothing balances over needs no notice:
/// [`std::future::ready`].
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    notice: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = Stopping::default();
    let app = app.layer(Extension(stopping.clone()));
    let (tell, told) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        stopping.say();
        notice.await;
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
