//! The way through the stages: failures, fallbacks, deadlines, limits.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::Request};
use futures_util::FutureExt;
use recmesh_contract::{Class, Done, Failure, Work, reason};
use serde_json::json;
use tower::ServiceExt;

use super::{Does, World, items, retrieve};

const USER: &str = r#"{"user":"u42","k":4}"#;

#[tokio::test(start_paused = true)]
async fn every_class_of_failure_has_its_status() {
    let cases = [
        (Class::Invalid, reason::BAD_FIELD, 400, false),
        (Class::NotFound, reason::NO_SUCH_PIPELINE, 404, false),
        (Class::Overloaded, reason::QUEUE_FULL, 503, true),
        (Class::Overloaded, reason::TOO_MANY_REQUESTS, 429, true),
        (Class::DeadlineExceeded, reason::DEADLINE, 504, false),
        (Class::Cancelled, reason::CLIENT_GONE, 503, true),
        (Class::Unavailable, reason::STARTING, 503, true),
        (Class::Internal, reason::PANIC, 500, false),
    ];
    for (class, reason, status, again) in cases {
        let world = World::new("shop");
        world.tokenize.does(move |_| {
            let shown = matches!(class, Class::Invalid | Class::NotFound);
            let text = if shown { "filters.genre: no item has this" } else { "secret diagnostic" };
            Does::Answer(Err(Failure::new(class, reason, text)))
        });
        let got = world.post(USER).await;
        let field = (status < 429).then_some("filters.genre");
        assert_eq!(got.problem(), (status, reason, field), "{class:?}");
        assert_eq!(got.header("retry-after").is_some(), again, "{class:?}");
        let line = format!("recmesh_gateway_requests_total{{pipeline=\"shop\",outcome=\"{reason}\"}} 1");
        assert!(world.shows(&line), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn ranking_has_the_last_word() {
    let world = World::new("ranked");
    let got = world.post(USER).await;
    assert_eq!(got.ids(), ["r99", "r98", "r97", "r96"]);
    assert_eq!(got.stages(), ["tokenize", "retrieve", "rank"]);
    assert_eq!(got.json["fallback"], json!(null));
    assert!(matches!(world.retrieve.calls()[0].work, Work::Retrieve { candidates: 100, finish: None, .. }));
    assert!(world.shows(r#"recmesh_gateway_requests_total{pipeline="ranked",outcome="ok"} 1"#));
    assert!(world.shows(r#"recmesh_gateway_stage_seconds_count{pipeline="ranked",stage="rank"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn somebody_new_gets_the_fallback() {
    for body in [r#"{"user":"new","k":2}"#, r#"{"user":"u42","history":[],"k":2}"#] {
        let world = World::new("ranked");
        let got = world.post(body).await;
        assert_eq!(got.ids(), ["p0", "p1"], "{body}");
        assert_eq!(
            got.json["fallback"],
            json!({"stage": "retrieve", "reason": "coldStart", "model": "popular@0123456789ab"})
        );
        assert_eq!(got.stages(), ["tokenize", "fallback"]);
        assert!(world.retrieve.calls().is_empty());
        let line = r#"recmesh_gateway_fallbacks_total{pipeline="ranked",stage="retrieve",reason="coldStart"} 1"#;
        assert!(world.shows(line));
        assert!(world.shows(r#"recmesh_gateway_requests_total{pipeline="ranked",outcome="fallback"} 1"#));
    }
    let world = World::of(&["shop"], |route| {
        route.fallback = None;
        route.release.models.remove("fallback");
    });
    let got = world.post(r#"{"user":"new","k":2}"#).await;
    assert_eq!(got.ids(), Vec::<&str>::new(), "without a fallback there is nothing to answer");
    assert_eq!(got.json["fallback"], json!({"stage": "retrieve", "reason": "coldStart", "model": null}));
    assert_eq!(got.stages(), ["tokenize"]);
    assert!(world.retrieve.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retrieval_that_fails_is_replaced_and_the_reason_told() {
    let cases = [
        (Class::Overloaded, reason::QUEUE_FULL),
        (Class::Unavailable, reason::STOPPING),
        (Class::Internal, reason::PANIC),
        (Class::Internal, reason::NOT_A_NUMBER),
        (Class::DeadlineExceeded, reason::DEADLINE),
    ];
    for (class, reason) in cases {
        for pipeline in ["shop", "ranked"] {
            let world = World::new(pipeline);
            world.retrieve.fails(class, reason);
            let got = world.post(USER).await;
            assert_eq!(got.ids(), ["p0", "p1", "p2", "p3"], "{}", got.text);
            assert_eq!(
                got.json["fallback"],
                json!({"stage": "retrieve", "reason": reason, "model": "popular@0123456789ab"})
            );
            assert_eq!(got.stages(), ["tokenize", "retrieve", "fallback"]);
        }
    }
    let world = World::new("shop");
    world.retrieve.fails(Class::Internal, reason::PANIC);
    world.fallback.fails(Class::Overloaded, reason::QUEUE_FULL);
    assert_eq!(world.post(USER).await.problem(), (500, "panic", None), "the first failure is told");
    let world = World::of(&["shop"], |route| route.fallback = None);
    world.retrieve.fails(Class::Overloaded, reason::QUEUE_FULL);
    assert_eq!(world.post(USER).await.problem(), (503, "queueFull", None));
    let world = World::new("shop");
    world.retrieve.does(|_| Does::Answer(Ok(Done::Candidates(vec![]))));
    assert_eq!(world.post(USER).await.json["fallback"]["reason"], "wrongReply");
}

#[tokio::test(start_paused = true)]
async fn a_retrieval_that_hangs_leaves_time_for_the_fallback() {
    let world = World::new("shop");
    world.retrieve.does(|_| Does::Never);
    world.fallback.does(|_| Does::After(Duration::from_millis(20), Ok(Done::Items(items("p", 4)))));
    let began = tokio::time::Instant::now();
    let got = world.post(USER).await;
    assert_eq!(got.json["fallback"]["reason"], "deadline");
    assert_eq!(began.elapsed().as_millis(), 470, "450 for retrieval, 50 kept back, 20 used");
    assert_eq!(got.json["stages"][1], json!({"name": "retrieve", "ms": 450.0}));
    assert_eq!(got.json["stages"][2], json!({"name": "fallback", "ms": 20.0}));
}

#[tokio::test(start_paused = true)]
async fn stages_share_one_deadline() {
    let world = World::new("ranked");
    let slow = |result: Done| Does::After(Duration::from_millis(100), Ok(result));
    world.tokenize.does(move |_| slow(super::context(vec![3])));
    world.retrieve.does(move |work| match retrieve("i")(work) {
        Does::Answer(Ok(done)) => slow(done),
        _ => Does::Never,
    });
    let began = tokio::time::Instant::now().into_std();
    assert_eq!(world.post(USER).await.status, 200);
    let until = |call: &recmesh_contract::Call| (call.deadline - began).as_millis();
    assert_eq!(until(&world.tokenize.calls()[0]), 500);
    assert_eq!(until(&world.retrieve.calls()[0]), 450, "a tenth is kept back for a stand-in");
    assert_eq!(until(&world.rank.calls()[0]), 450);
}

#[tokio::test(start_paused = true)]
async fn a_ranking_that_fails_or_hangs_keeps_the_retrieval_order() {
    for hangs in [false, true] {
        let world = World::new("ranked");
        let expected = if hangs { reason::DEADLINE } else { reason::PANIC };
        match hangs {
            true => world.rank.does(|_| Does::Never),
            false => world.rank.fails(Class::Internal, reason::PANIC),
        }
        let got = world.post(USER).await;
        assert_eq!(got.ids(), ["r0", "r1", "r2", "r3"], "{}", got.text);
        let model = "sasrec@0123456789ab";
        assert_eq!(got.json["fallback"], json!({"stage": "rank", "reason": expected, "model": model}));
        assert_eq!(got.stages(), ["tokenize", "retrieve", "rank", "finish"]);
    }
    let world = World::new("ranked");
    world.rank.does(|_| Does::Answer(Err(Failure::new(Class::Invalid, reason::BAD_FIELD, "k: odd"))));
    assert_eq!(
        world.post(USER).await.problem(),
        (400, "badField", Some("k")),
        "the caller's fault is told, not hidden"
    );
}

#[tokio::test(start_paused = true)]
async fn too_few_items_are_filled_up_without_duplicates() {
    let world = World::new("shop");
    world.retrieve.does(|_| {
        let mut found = items("p", 3);
        found.remove(1);
        Does::Answer(Ok(Done::Items(found)))
    });
    let got = world.post(USER).await;
    assert_eq!(got.ids(), ["p0", "p2", "p1", "p3"]);
    assert_eq!(got.json["fallback"], json!({"stage": "retrieve", "reason": "tooFew", "model": "popular@0123456789ab"}));
    let scores: Vec<f64> = got.json["items"].as_array().unwrap().iter().map(|i| i["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    // The fallback has no more either, or fails: what was found is the answer.
    for fails in [false, true] {
        let world = World::new("shop");
        world.retrieve.does(|_| Does::Answer(Ok(Done::Items(items("p", 2)))));
        match fails {
            true => world.fallback.fails(Class::Overloaded, reason::QUEUE_FULL),
            false => world.fallback.does(|_| Does::Answer(Ok(Done::Items(items("p", 2))))),
        }
        let got = world.post(USER).await;
        assert_eq!((got.ids(), &got.json["fallback"]), (vec!["p0", "p1"], &json!(null)));
    }
    // Nothing found to rank: filled up as well.
    let world = World::new("ranked");
    world.retrieve.does(|_| Does::Answer(Ok(Done::Candidates(vec![]))));
    let got = world.post(USER).await;
    assert_eq!(got.ids(), ["p0", "p1", "p2", "p3"]);
    assert!(world.rank.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_than_may_be_worked_on_are_refused_at_once() {
    let world = World::of(&["shop"], |route| route.params.max_concurrency = 2);
    world.retrieve.does(|_| Does::Never);
    world.fallback.does(|_| Does::Never);
    let ask = || {
        let request = Request::post("/v1/recommend").body(Body::from(USER)).unwrap();
        Box::pin(world.app.clone().oneshot(request))
    };
    let (mut first, mut second) = (ask(), ask());
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    assert!(world.shows(r#"recmesh_gateway_in_flight_requests{pipeline="shop"} 2"#));
    let got = world.post(USER).await;
    assert_eq!(got.problem(), (429, "tooManyRequests", None));
    assert_eq!(got.header("retry-after"), Some("1"));
    drop(first);
    assert_eq!(*world.retrieve.dropped.lock().unwrap(), 1, "the stage's work is cancelled with the connection");
    assert!(world.shows(r#"recmesh_gateway_requests_total{pipeline="shop",outcome="clientGone"} 1"#));
    assert!(world.shows(r#"recmesh_gateway_in_flight_requests{pipeline="shop"} 1"#));
    world.retrieve.does(retrieve("i"));
    assert_eq!(world.post(USER).await.status, 200, "its place is free again");
    assert_eq!(second.await.unwrap().status(), 504);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_request() {
    let world = World::new("shop");
    world.retrieve.does(|_| Does::Panic);
    assert_eq!(world.post(USER).await.problem(), (500, "panic", None));
    world.retrieve.does(retrieve("i"));
    assert_eq!(world.post(USER).await.status, 200);
    assert!(world.shows(r#"recmesh_gateway_in_flight_requests{pipeline="shop"} 0"#));
}

#[tokio::test(start_paused = true)]
async fn stages_learn_the_request_id() {
    let world = World::new("ranked");
    let request = Request::post("/v1/recommend").header("x-request-id", "abc-1").body(Body::from(USER)).unwrap();
    world.send(request).await;
    let ids: Vec<Arc<str>> = [&world.tokenize, &world.retrieve, &world.rank]
        .iter()
        .flat_map(|stage| stage.calls())
        .map(|call| call.request_id)
        .collect();
    assert_eq!(ids, vec![Arc::from("abc-1"); 3]);
}
