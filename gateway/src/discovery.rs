//! What a cluster says is to be served: routes from ConfigMaps, workers from EndpointSlices, both by watch.
//!
//! ```text
//! API server ─► watch (streams that never end) ─► book (what is known) ─► Table, for requests
//!                                                       └─► endpoints, for each pool's stage
//! ```
//!
//! Needs nothing but the API server, and that only to learn of changes: while it is away the last table stands. What
//! cannot be read keeps its last good state. Only this folder names `kube`.

mod book;
mod pools;
mod slices;
#[cfg(test)]
mod tests;
mod watch;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::{core::v1::ConfigMap, discovery::v1::EndpointSlice};
use kube::{Api, Client, Config};
use recmesh_telemetry::Telemetry;
use tokio::{
    sync::watch::Sender,
    time::{Instant, sleep_until},
};

use crate::{
    discovery::{
        book::Book,
        pools::Connect,
        watch::{Seen, watch},
    },
    table::{Routes, Table},
};

pub(crate) use book::Known;

/// The label of a ConfigMap that holds a route; its value is the pipeline's name.
const ROUTE: &str = "recmesh.dev/route";
/// What the EndpointSlices of workers are labelled with.
const WORKER: &str = "app.kubernetes.io/component=worker";
/// How long changes are gathered before they count: a rollout changes many objects at once.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Longest silence of the API server within a request; watches end and begin anew sooner.
const SILENCE: Duration = Duration::from_secs(75);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The namespaces that are watched; none: all.
    pub namespaces: BTreeSet<String>,
    /// Where a pipeline that a request names without a namespace is.
    pub default_namespace: String,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's own configuration can be used.
    #[error("no way to a Kubernetes API server: run in a pod with a service account, or set KUBECONFIG: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The configuration is there and cannot be used.
    #[error("the configuration of the Kubernetes client cannot be used: {0}")]
    Client(#[from] kube::Error),
}

/// The API server of this pod, or the one that `KUBECONFIG` names. Does not connect yet.
///
/// # Errors
/// When there is no configuration or it cannot be used.
pub async fn connect() -> Result<Client, ConnectError> {
    // An error says that the process has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await?;
    config.read_timeout = Some(SILENCE);
    Ok(Client::try_from(config)?)
}

/// The table that requests look at, and the work that keeps it: a future that never ends.
pub fn start(client: Client, scope: Scope, telemetry: &Telemetry) -> (Routes, impl Future<Output = ()> + Send + use<>) {
    begin(client, scope, telemetry, pools::remote(telemetry.wire()))
}

fn begin(
    client: Client,
    scope: Scope,
    telemetry: &Telemetry,
    connect: Connect,
) -> (Routes, impl Future<Output = ()> + Send + use<>) {
    let default_namespace = Some(scope.default_namespace.clone());
    let (table, routes) = Routes::changing(Table { default_namespace, ..Table::default() });
    let (changes, sources) = changes(&client, &scope.namespaces);
    let book = Book::new(scope.default_namespace, telemetry.gateway().clone(), connect);
    (routes, Discovery { book, table, unlisted: sources, complete: None }.keep(changes))
}

/// What one of the streams told, and which.
struct Change {
    source: usize,
    /// The namespace that the stream covers; none: all.
    namespace: Option<String>,
    told: Told,
}

enum Told {
    Routes(Seen<ConfigMap>),
    Slices(Seen<EndpointSlice>),
}

/// Two streams a namespace, numbered.
fn changes(
    client: &Client,
    namespaces: &BTreeSet<String>,
) -> (impl Stream<Item = Change> + Send + Unpin + use<>, BTreeSet<usize>) {
    let scopes: Vec<Option<String>> = match namespaces.is_empty() {
        true => vec![None],
        false => namespaces.iter().cloned().map(Some).collect(),
    };
    let mut streams = Vec::new();
    for namespace in scopes {
        let (maps, slices) = match &namespace {
            Some(namespace) => (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace)),
            None => (Api::all(client.clone()), Api::all(client.clone())),
        };
        let source = streams.len();
        let (first, second) = (namespace.clone(), namespace);
        let maps =
            watch(maps, ROUTE).map(move |seen| Change { source, namespace: first.clone(), told: Told::Routes(seen) });
        let slices = watch(slices, WORKER).map(move |seen| Change {
            source: source + 1,
            namespace: second.clone(),
            told: Told::Slices(seen),
        });
        streams.extend([maps.boxed(), slices.boxed()]);
    }
    let sources = (0..streams.len()).collect();
    (stream::select_all(streams), sources)
}

/// The work that keeps the table.
struct Discovery {
    book: Book,
    table: Sender<Arc<Table>>,
    /// Streams that have not told everything once.
    unlisted: BTreeSet<usize>,
    complete: Option<Instant>,
}

impl Discovery {
    async fn keep(mut self, mut changes: impl Stream<Item = Change> + Send + Unpin) {
        let mut due: Option<Instant> = None;
        loop {
            let publish = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.next() => {
                    let Some(change) = change else { return };
                    if self.take(change) {
                        due.get_or_insert_with(|| Instant::now() + DEBOUNCE);
                    }
                }
                () = publish => {
                    due = None;
                    self.publish();
                }
            }
        }
    }

    /// Notes a change; says whether there is something to publish.
    fn take(&mut self, Change { source, namespace, told }: Change) -> bool {
        let listed = matches!(told, Told::Routes(Seen::All(_)) | Told::Slices(Seen::All(_)));
        let noted = match told {
            Told::Routes(Seen::Lost(error)) => self.lost("routes", namespace.as_deref(), &error),
            Told::Slices(Seen::Lost(error)) => self.lost("workers", namespace.as_deref(), &error),
            Told::Routes(seen) => self.book.routes(namespace.as_deref(), seen),
            Told::Slices(seen) => self.book.slices(namespace.as_deref(), seen),
        };
        if listed && self.unlisted.remove(&source) && self.unlisted.is_empty() {
            self.complete = Some(Instant::now());
            tracing::info!("everything that is to be served is known");
            return true;
        }
        noted
    }

    fn lost(&self, what: &'static str, namespace: Option<&str>, error: &kube::runtime::watcher::Error) -> bool {
        self.book.metrics.undiscovered("watch");
        let namespace = namespace.unwrap_or("all namespaces");
        tracing::warn!(%error, what, namespace, "the API server cannot be watched; what is known stands");
        false
    }

    /// Workers first, so that a new route finds them there.
    fn publish(&mut self) {
        let table = self.book.table(self.complete);
        self.book.refresh();
        if let Some(table) = table {
            self.table.send_replace(Arc::new(table));
        }
    }
}
