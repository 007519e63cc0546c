//! Serves routers over TCP until told to stop, then lets open requests end.
//!
//! ## Serving => (Stopping)
//! ## Stopping => (Draining)
//! `/readyz` says no; everything is served all the same, so that who balances over several gateways can learn of it.
//! Every reply closes its connection, so that callers who keep connections open move on.
//! ## Draining
//! No new connection is taken, open requests end. An admin port is served to the end.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    serve::ListenerExt,
};
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

/// Serves until `shutdown` is over. From then on `/readyz` answers 503 and replies close their connections. When
/// `notice` is over too, no new connection is taken, and open requests have 30 seconds to end. A process that nothing
/// balances over needs no notice: [`std::future::ready`].
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    notice: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    until(Stopping::default(), listener, app, shutdown, notice).await
}

/// The same with an admin port beside, which is served until the last open request has ended. `notice` is not looked at
/// before `shutdown` is over: a timer in it must begin there.
///
/// # Errors
/// When a listener fails for good.
pub async fn serve_beside(
    (listener, app): (TcpListener, Router),
    (admin_listener, admin): (TcpListener, Router),
    shutdown: impl Future<Output = ()> + Send + 'static,
    notice: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = Stopping::default();
    let admin = axum::serve(admin_listener, admin.layer(Extension(stopping.clone())));
    tokio::select! {
        result = until(stopping, listener, app, shutdown, notice) => result,
        result = admin => result,
    }
}

async fn until(
    stopping: Stopping,
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    notice: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = app.layer(middleware::from_fn_with_state(stopping.clone(), close)).layer(Extension(stopping.clone()));
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

/// While the process stops, each reply is its connection's last.
async fn close(State(stopping): State<Stopping>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if stopping.is_said() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
