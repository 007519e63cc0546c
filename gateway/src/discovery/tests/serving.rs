//! Requests, readiness and the report over a table that changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use recmesh_contract::{Class, config::ReleaseState, reason};
use serde_json::json;

use super::{World, api::Api, file, name, route, serves};
use crate::ready::PATIENCE;

const READY: (bool, bool, bool) = (true, true, false);

/// Gives every pool of these versions a worker.
fn work(api: &Api, namespace: &str, versions: &[&str]) {
    for version in versions {
        for kind in ["tok", "ret"] {
            let service = format!("{kind}-{version}");
            api.workers(namespace, &service, &[(&format!("{service}-0"), "10.0.0.1", READY)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_run_through_rollouts_and_none_fails_or_mixes_releases() {
    let world = Arc::new(World::new());
    work(&world.api, "shop", &["1"]);
    world.api.route("shop", &serves("home", "1"));
    world.until_serves(&["shop/home=home@1"]).await;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (world, over) = (Arc::clone(&world), Arc::clone(&over));
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                while !over.load(Ordering::SeqCst) {
                    let (release, item) = world.answerer("home").await;
                    assert_eq!(release.trim_start_matches("home@"), item.trim_start_matches("ret-"));
                    seen.insert(release);
                }
                seen
            })
        })
        .collect();
    for version in 2..12_u32 {
        let (old, new) = ((version - 1).to_string(), version.to_string());
        work(&world.api, "shop", &[&new]);
        world.api.route("shop", &file("home", Some(route("home", &old)), Some(route("home", &new))));
        let candidate = format!("home@{new}");
        let mut routes = world.routes.clone();
        routes
            .until(|table| {
                let known = table.pipelines["shop/home"].known.as_ref();
                known.and_then(|known| known.candidate.as_ref()).is_some_and(|c| c.release.name == candidate)
            })
            .await;
        world.api.route("shop", &serves("home", &new));
        world.until_serves(&[&format!("shop/home=home@{new}")]).await;
    }
    over.store(true, Ordering::SeqCst);
    let mut all = std::collections::BTreeSet::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    assert_eq!(all.len(), 11, "each release answered somebody: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_candidate_is_warmed_and_reported_and_never_asked() {
    let world = World::new();
    work(&world.api, "shop", &["1"]);
    world.api.route("shop", &file("home", Some(route("home", "1")), Some(route("home", "2"))));
    world.until_serves(&["shop/home=home@1"]).await;
    let state = |version: &str, serving: bool, waiting: &[(&str, &str)]| ReleaseState {
        namespace: "shop".to_owned(),
        pipeline: name("home"),
        release: format!("home@{version}"),
        serving,
        warmed: waiting.is_empty(),
        waiting: waiting.iter().map(|(pool, why)| (name(pool), (*why).to_owned())).collect(),
    };
    let none = "no worker is known";
    let cold = state("2", false, &[("tok-2", none), ("ret-2", none)]);
    assert_eq!(world.report().await.releases, [state("1", true, &[]), cold]);

    world.fakes.one("ret-2").cold.store(true, Ordering::SeqCst);
    work(&world.api, "shop", &["2"]);
    world.fakes.one("ret-2").until_told(&["ret-2-0"]).await;
    world.fakes.one("tok-2").until_told(&["tok-2-0"]).await;
    let cold = state("2", false, &[("ret-2", "a worker loads its weights")]);
    assert_eq!(world.report().await.releases, [state("1", true, &[]), cold]);

    world.fakes.one("ret-2").cold.store(false, Ordering::SeqCst);
    assert_eq!(world.report().await.releases, [state("1", true, &[]), state("2", false, &[])]);
    for _ in 0..20 {
        assert_eq!(world.answerer("home").await.0, "home@1");
    }
    let calls = world.fakes.calls();
    assert_eq!((calls["ret-1"], calls["tok-1"], calls["ret-2"], calls["tok-2"]), (20, 20, 0, 0));

    // Workers that go again are told of: nobody should move to them.
    world.api.remove("endpointslices", "shop", "ret-2-abcde");
    world.fakes.one("ret-2").until_told(&[]).await;
    assert_eq!(world.report().await.releases[1], state("2", false, &[("ret-2", none)]));
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_whose_first_release_is_warmed_says_so() {
    let world = World::new();
    world.api.route("shop", &file("home", None, Some(route("home", "1"))));
    world.until_serves(&["shop/home=-"]).await;
    for body in [json!({"user": "u"}), json!({"user": "u", "pipeline": "shop/home"})] {
        let (status, problem) = world.post(&body).await;
        assert_eq!((status, &problem["reason"]), (503, &json!("starting")));
    }
    assert_eq!(world.admin("/readyz").await.0, 200, "nothing is served, so nothing is missing");
    assert!(!world.report().await.releases[0].serving);
}

#[tokio::test(start_paused = true)]
async fn pipelines_are_addressed_by_namespace_and_name() {
    let world = World::new();
    world.until_serves(&[]).await;
    let (status, problem) = world.post(&json!({"user": "u"})).await;
    assert_eq!((status, &problem["reason"]), (404, &json!("noSuchPipeline")));
    work(&world.api, "news", &["7"]);
    world.api.route("news", &serves("home", "7"));
    world.until_serves(&["news/home=home@7"]).await;
    let (status, reply) = world.post(&json!({"user": "u"})).await;
    assert_eq!((status, &reply["release"]["name"]), (200, &json!("home@7")), "the only one");
    world.api.route("shop", &serves("home", "1"));
    world.until_serves(&["news/home=home@7", "shop/home=home@1"]).await;
    for (pipeline, release) in [("home", "home@1"), ("shop/home", "home@1"), ("news/home", "home@7")] {
        assert_eq!(world.answerer(pipeline).await.0, release, "{pipeline}");
    }
    let (status, problem) = world.post(&json!({"user": "u"})).await;
    assert_eq!((status, &problem["reason"], &problem["field"]), (400, &json!("badField"), &json!("pipeline")));
    assert!(problem["detail"].as_str().unwrap().contains("news/home, shop/home"), "{problem}");
    for missing in ["front", "other/home", "news/home/x", "/home", ""] {
        let (status, problem) = world.post(&json!({"user": "u", "pipeline": missing})).await;
        assert_eq!((status, &problem["reason"]), (404, &json!("noSuchPipeline")), "{missing}");
    }
    // Metrics bear the full name.
    let text = world.telemetry.encode().unwrap();
    assert!(text.contains(r#"recmesh_gateway_requests_total{pipeline="shop/home",outcome="ok"} 2"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn ready_once_everything_known_was_warm_and_then_for_good() {
    let api = Api::default();
    api.route("shop", &serves("home", "1"));
    let world = World::of(&[], api);
    assert_eq!(world.admin("/readyz").await.0, 503, "nothing is known yet");
    world.until_serves(&["shop/home=home@1"]).await;
    let (status, ready) = world.admin("/readyz").await;
    assert_eq!((status, ready["notReady"].as_array().unwrap().len()), (503, 2));
    assert_eq!(ready["discovering"], json!(null));
    work(&world.api, "shop", &["1"]);
    world.fakes.one("tok-1").until_told(&["tok-1-0"]).await;
    world.fakes.one("ret-1").until_told(&["ret-1-0"]).await;
    assert_eq!(world.admin("/readyz").await.0, 200);

    // Its workers die: the pipeline fails, the gateway stays.
    world.api.remove("endpointslices", "shop", "ret-1-abcde");
    world.fakes.one("ret-1").until_told(&[]).await;
    let (status, ready) = world.admin("/readyz").await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)));
    assert_eq!(ready["notReady"], json!([{"pipeline": "shop/home", "stage": "retrieve", "pool": "ret-1"}]));
    assert!(!world.report().await.releases[0].warmed, "the report is of now");
    // And so does a new pipeline without workers.
    world.api.route("shop", &serves("cart", "9"));
    world.until_serves(&["shop/cart=cart@9", "shop/home=home@1"]).await;
    assert_eq!(world.admin("/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_without_workers_does_not_keep_a_new_gateway_out_for_long() {
    let api = Api::default();
    api.route("shop", &serves("home", "1"));
    api.route("shop", &serves("broken", "9"));
    work(&api, "shop", &["1"]);
    let world = World::of(&[], api);
    world.until_serves(&["shop/broken=broken@9", "shop/home=home@1"]).await;
    assert_eq!(world.admin("/readyz").await.0, 503);
    tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
    assert_eq!(world.admin("/readyz").await.0, 503);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(world.admin("/readyz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn the_ports_serve_what_is_theirs() {
    let world = World::new();
    world.until_serves(&[]).await;
    for (path, http, admin) in [
        ("/livez", 200, 200),
        ("/readyz", 200, 200),
        ("/openapi.json", 200, 404),
        ("/metrics", 404, 200),
        ("/routes", 404, 200),
        ("/v1/recommend", 405, 404),
    ] {
        let request = || axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(super::ask(&world.http, request()).await.0, http, "{path}");
        assert_eq!(super::ask(&world.admin, request()).await.0, admin, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_on_through_a_rollout_and_a_new_one_begins_anew() {
    let world = World::new();
    let limited = |version: &str, limit: u32| {
        let mut file = serves("home", version);
        file.current.as_mut().unwrap().params.max_concurrency = limit;
        world.api.route("shop", &file);
    };
    limited("1", 1);
    world.until_serves(&["shop/home=home@1"]).await;
    let body = json!({"user": "u", "k": 1});
    let mut open = Box::pin(world.post(&body));
    assert!((&mut open).now_or_never().is_none());
    limited("2", 1);
    world.until_serves(&["shop/home=home@2"]).await;
    assert_eq!(world.post(&body).await.0, 429, "the old release works on one");
    limited("3", 2);
    world.until_serves(&["shop/home=home@3"]).await;
    assert_eq!(world.post(&body).await.0, 200);
    let (status, reply) = open.await;
    assert_eq!((status, &reply["release"]["name"]), (200, &json!("home@1")), "finished where it began");
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_gone_are_replaced_by_the_fallback_or_told_as_unavailable() {
    for why in [reason::WORKER_GONE, reason::NO_WORKER, reason::STOPPING] {
        for fallback in [true, false] {
            let world = World::new();
            let mut home = route("home", "1");
            home.fallback = fallback.then(|| name("pop"));
            world.api.route("shop", &file("home", Some(home), None));
            world.until_serves(&["shop/home=home@1"]).await;
            *world.fakes.one("ret-1").fails.lock().unwrap() = Some((Class::Unavailable, why));
            let request = axum::http::Request::post("/v1/recommend")
                .body(axum::body::Body::from(r#"{"user":"u","k":1}"#))
                .unwrap();
            let response = tower::ServiceExt::oneshot(world.http.clone(), request).await.unwrap();
            let retry = response.headers().get("retry-after").is_some();
            let (status, reply) = world.post(&json!({"user": "u", "k": 1})).await;
            assert_eq!(response.status().as_u16(), status);
            if fallback {
                assert_eq!((status, &reply["items"][0]["id"], retry), (200, &json!("pop"), false));
                assert_eq!(reply["fallback"]["reason"], json!(why));
            } else {
                assert_eq!((status, &reply["reason"], retry), (503, &json!(why), true));
                assert!(!reply.to_string().contains("secret"));
            }
            // Without a context there is nothing a fallback could go by.
            *world.fakes.one("tok-1").fails.lock().unwrap() = Some((Class::Unavailable, why));
            assert_eq!(world.post(&json!({"user": "u", "k": 1})).await.0, 503);
        }
    }
}
