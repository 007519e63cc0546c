//! The table is replaced while requests run on other threads.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use recmesh_contract::{Done, Name, Stage, Work};
use recmesh_telemetry::Telemetry;
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use super::{Does, Fake, context, items, name, route};
use crate::{
    Cluster, Limits, Routes, ports,
    route::{Lane, Served},
    table::{Pipeline, Table},
};

/// A table whose one release says its version everywhere and fails a request that comes from another's stages.
fn table(version: u32, lane: &Arc<Lane>) -> Arc<Table> {
    let tokenize = Fake::new(move |_| Does::Answer(Ok(context(vec![version]))));
    let retrieve = Fake::new(move |work| match work {
        Work::Retrieve { context, .. } if context.history == [version] => {
            Does::Answer(Ok(Done::Items(items(&format!("v{version}-"), 1))))
        }
        _ => Does::Panic,
    });
    let mut route = route("shop");
    route.fallback = None;
    route.release.name = format!("shop@{version}");
    let stages: HashMap<Name, Arc<dyn Stage>> =
        [(name("tokenize"), tokenize as _), (name("retrieve"), retrieve as _)].into();
    let served = Served::new("shop".to_owned(), route, &stages, Arc::clone(lane)).unwrap();
    let pipeline = Pipeline { current: Some(Arc::new(served)), known: None };
    let pipelines = [("shop".to_owned(), pipeline)].into();
    Arc::new(Table { pipelines, default_namespace: None, complete: Some(Instant::now()) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_reply_is_of_one_release_however_often_the_table_changes() {
    let telemetry = Telemetry::new();
    let lane = Lane::new("shop", 64, telemetry.gateway());
    let (write, routes) = Routes::changing(Table::default());
    let tables = [1, 2].map(|version| table(version, &lane));
    write.send_replace(Arc::clone(&tables[0]));
    let http = ports(Cluster { routes, telemetry: telemetry.clone(), limits: Limits::default() }).http;
    let over = Arc::new(AtomicBool::new(false));
    let swapper = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            let mut swaps = 0_usize;
            while !over.load(Ordering::Relaxed) {
                swaps += 1;
                write.send_replace(Arc::clone(&tables[swaps % 2]));
                tokio::task::yield_now().await;
            }
        }
    });
    let clients = (0..8).map(|_| {
        let http = http.clone();
        tokio::spawn(async move {
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            // Goes on until both have answered it often.
            while seen.len() < 2 || seen.values().any(|count| *count < 50) {
                let request = Request::post("/v1/recommend").body(Body::from(r#"{"user":"u","k":1}"#)).unwrap();
                let response = http.clone().oneshot(request).await.unwrap();
                assert_eq!(response.status(), 200);
                let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
                let reply: Value = serde_json::from_slice(&bytes).unwrap();
                let release = reply["release"]["name"].as_str().unwrap().to_owned();
                let version = release.trim_start_matches("shop@");
                assert_eq!(reply["items"][0]["id"], format!("v{version}-0"));
                *seen.entry(release).or_default() += 1;
                // Nothing here ever waits, and the swapper wants a thread too.
                tokio::task::yield_now().await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    swapper.await.unwrap();
    assert_eq!(lane.places.available_permits(), 64, "every place was given back");
}
