//! A stand-in for gateways: the admin port that tells which releases are warmed. In: the route ConfigMaps of a
//! namespace, by watch. Out: `/routes` as a gateway would answer, and the Service and EndpointSlice that lead there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::get};
use futures_util::{StreamExt, TryStreamExt};
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use recmesh_contract::config::{ReleaseState, Route, RouteFile, RoutesReport};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{Cluster, Object, Space, release::RELEASE};

/// What a gateway knows and what it is told to say.
#[derive(Default)]
struct Table {
    files: BTreeMap<String, RouteFile>,
    /// Releases that never become warm, by the start of their name or of a pool's.
    cold: BTreeSet<String>,
}

/// One stand-in gateway.
pub struct Gateway {
    table: Arc<Mutex<Table>>,
    /// Threads of its own: it answers while a test waits for a program.
    runtime: Option<Runtime>,
}

impl Gateway {
    /// Starts one that the release's admin Service leads to.
    pub async fn start(space: &Space) -> Self {
        Self::several(space, 1).await.remove(0)
    }

    /// Starts several behind the one Service.
    pub async fn several(space: &Space, count: usize) -> Vec<Self> {
        let mut gateways = Vec::new();
        let mut slices = Vec::new();
        for number in 0..count {
            let table = Arc::new(Mutex::new(Table::default()));
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let begun = runtime.spawn(serve(space.name.clone(), table.clone()));
            let address = begun.await.unwrap();
            slices.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": format!("{RELEASE}-gateway-admin-{number}"),
                    "labels": {"kubernetes.io/service-name": format!("{RELEASE}-gateway-admin")},
                },
                "endpoints": [{
                    "addresses": [address.ip().to_string()],
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                    "targetRef": {"kind": "Pod", "name": format!("gateway-{number}"), "namespace": space.name},
                }],
                "ports": [{"name": "admin", "port": address.port(), "protocol": "TCP"}],
            }));
            gateways.push(Self { table, runtime: Some(runtime) });
        }
        space
            .apply_object(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("{RELEASE}-gateway-admin")},
                "spec": {"clusterIP": "None", "ports": [{"name": "admin", "port": 8081}]},
            }))
            .await;
        for slice in slices {
            space.apply_object(slice).await;
        }
        gateways
    }

    /// From now on, releases whose name, or one of whose pools' names, begins so are never warm.
    pub fn never_warms(&self, start: &str) {
        self.table.lock().unwrap().cold.insert(start.to_owned());
    }

    /// Takes [`Self::never_warms`] back.
    pub fn warms_again(&self) {
        self.table.lock().unwrap().cold.clear();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Table {
    fn report(&self, namespace: &str) -> RoutesReport {
        let mut releases = Vec::new();
        for file in self.files.values() {
            for (route, serving) in [(&file.current, true), (&file.candidate, false)] {
                let Some(route) = route else { continue };
                let waiting: BTreeMap<_, _> = pools(file, route)
                    .filter(|pool| self.cold.iter().any(|cold| pool.as_str().starts_with(cold.as_str())))
                    .map(|pool| (pool, "no worker has answered".to_owned()))
                    .collect();
                let cold = self.cold.iter().any(|cold| route.release.name.starts_with(cold.as_str()));
                releases.push(ReleaseState {
                    namespace: namespace.to_owned(),
                    pipeline: file.pipeline.clone(),
                    release: route.release.name.clone(),
                    serving,
                    warmed: serving || (waiting.is_empty() && !cold),
                    waiting,
                });
            }
        }
        RoutesReport { releases }
    }
}

/// The pools that a route names.
fn pools(file: &RouteFile, route: &Route) -> impl Iterator<Item = recmesh_contract::Name> {
    let text = serde_json::to_string(route).unwrap();
    file.pools.keys().filter(move |pool| text.contains(&format!("\"{pool}\""))).cloned().collect::<Vec<_>>().into_iter()
}

/// Follows the namespace's routes and answers for them; its address.
async fn serve(namespace: String, table: Arc<Mutex<Table>>) -> SocketAddr {
    let cluster = Cluster::bare().await;
    tokio::spawn(follow(cluster.namespaced("ConfigMap", &namespace), table.clone()));
    let listener = tokio::net::TcpListener::bind((host_address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/routes", get(routes)).with_state((namespace, table));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn routes(State((namespace, table)): State<(String, Arc<Mutex<Table>>)>) -> Json<RoutesReport> {
    Json(table.lock().unwrap().report(&namespace))
}

/// Keeps the table as the namespace's route ConfigMaps are.
async fn follow(maps: kube::Api<Object>, table: Arc<Mutex<Table>>) {
    let selection = watcher::Config::default().labels("recmesh.dev/route");
    let mut events = watcher::watcher(maps, selection).default_backoff().boxed();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Apply(map) | watcher::Event::InitApply(map))) => {
                let text = map.data.pointer("/data/route.json").and_then(|text| text.as_str()).unwrap();
                let file: RouteFile = serde_json::from_str(text).unwrap_or_else(|e| panic!("{}: {e}", map.name_any()));
                table.lock().unwrap().files.insert(map.name_any(), file);
            }
            Ok(Some(watcher::Event::Delete(map))) => {
                table.lock().unwrap().files.remove(&map.name_any());
            }
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

/// An address of this machine that EndpointSlices take; they refuse loopback. Nothing is sent to find it.
fn host_address() -> IpAddr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Any address beyond this machine: the kernel only chooses the device that would lead there.
    socket.connect("192.0.2.1:9").expect("this machine has a network device with a default route");
    socket.local_addr().unwrap().ip()
}
