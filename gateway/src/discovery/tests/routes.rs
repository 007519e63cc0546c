//! Routes and workers as they come, change and go.

use futures_util::FutureExt;
use recmesh_contract::config::Affinity;
use serde_json::json;

use super::{World, api::Api, file, name, route, serves};

const READY: (bool, bool, bool) = (true, true, false);

#[tokio::test(start_paused = true)]
async fn what_is_there_at_the_start_is_listed() {
    let api = Api::default();
    api.route("shop", &serves("home", "1"));
    api.route("news", &serves("front", "7"));
    api.workers("shop", "ret-1", &[("ret-1-b", "10.0.0.2", READY), ("ret-1-a", "10.0.0.1", READY)]);
    // Objects of others, which the labels leave out.
    let other = json!({"metadata": {"namespace": "shop", "name": "x", "labels": {"app": "y"}}, "data": {}});
    api.set("configmaps", other.clone());
    api.set("endpointslices", other);
    let world = World::of(&[], api);
    world.until_serves(&["news/front=front@7", "shop/home=home@1"]).await;
    world.fakes.one("ret-1").until_told(&["ret-1-a", "ret-1-b"]).await;
    assert_eq!(world.counted("route") + world.counted("watch"), 0);
    let asked = world.api.asked().borrow().clone();
    assert_eq!(asked.len(), 2, "one watch for each kind: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn routes_are_added_changed_and_removed() {
    let world = World::new();
    world.until_serves(&[]).await;
    world.api.route("shop", &serves("home", "1"));
    world.until_serves(&["shop/home=home@1"]).await;
    assert_eq!(world.answerer("home").await, ("home@1".to_owned(), "ret-1".to_owned()));
    world.api.route("shop", &serves("home", "2"));
    world.until_serves(&["shop/home=home@2"]).await;
    assert_eq!(world.answerer("home").await, ("home@2".to_owned(), "ret-2".to_owned()));
    assert!(world.fakes.all("ret-1").is_empty(), "nothing names its pools any more");
    world.api.route("shop", &serves("cart", "1"));
    world.until_serves(&["shop/cart=cart@1", "shop/home=home@2"]).await;
    world.api.remove_route("shop", "home");
    world.until_serves(&["shop/cart=cart@1"]).await;
    let (status, problem) = world.post(&json!({"user": "u", "pipeline": "home"})).await;
    assert_eq!((status, &problem["reason"]), (404, &json!("noSuchPipeline")));
}

#[tokio::test(start_paused = true)]
async fn workers_come_and_go_without_a_new_stage() {
    let world = World::new();
    world.api.route("shop", &serves("home", "1"));
    world.until_serves(&["shop/home=home@1"]).await;
    let pool = world.fakes.one("ret-1");
    assert_eq!(pool.affinity, Affinity::None);
    world.api.workers("shop", "ret-1", &[("a", "10.0.0.1", READY)]);
    pool.until_told(&["a"]).await;
    assert_eq!(pool.endpoints.borrow()[0].address.to_string(), "10.0.0.1:9000");
    world.api.workers("shop", "ret-1", &[("a", "10.0.0.1", READY), ("b", "10.0.0.2", READY)]);
    pool.until_told(&["a", "b"]).await;
    world.api.workers("shop", "ret-1", &[("a", "10.0.0.1", (false, true, true)), ("b", "10.0.0.2", READY)]);
    pool.until_told(&["b"]).await;
    // Another namespace's Service of the same name is another one.
    world.api.workers("news", "ret-1", &[("z", "10.0.9.9", READY)]);
    world.api.remove("endpointslices", "shop", "ret-1-abcde");
    pool.until_told(&[]).await;
    assert!(std::sync::Arc::ptr_eq(&pool, &world.fakes.one("ret-1")));
}

#[tokio::test(start_paused = true)]
async fn pools_are_shared_by_routes_and_live_as_long_as_a_request_that_uses_them() {
    let world = World::new();
    world.api.route("shop", &file("home", Some(route("home", "1")), Some(route("home", "2"))));
    world.api.route("shop", &serves("cart", "1"));
    world.until_serves(&["shop/cart=cart@1", "shop/home=home@1"]).await;
    let (first, second) = (world.fakes.one("ret-1"), world.fakes.one("ret-2"));
    // The candidate becomes current: the same stages, warm as they are.
    world.api.route("shop", &serves("home", "2"));
    world.until_serves(&["shop/cart=cart@1", "shop/home=home@2"]).await;
    assert!(std::sync::Arc::ptr_eq(&second, &world.fakes.one("ret-2")));
    assert!(std::sync::Arc::ptr_eq(&first, &world.fakes.one("ret-1")), "the cart uses it");
    drop((first, second));

    let body = json!({"user": "u", "k": 1, "pipeline": "cart"});
    let mut open = Box::pin(world.post(&body));
    assert!((&mut open).now_or_never().is_none());
    world.api.remove_route("shop", "cart");
    world.routes.clone().until(|table| table.pipelines.len() == 1).await;
    let (status, reply) = open.await;
    assert_eq!((status, &reply["release"]["name"]), (200, &json!("cart@1")), "{reply}");
    assert!(world.fakes.all("ret-1").is_empty(), "let go with its last request");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_changes_its_service_or_affinity_gets_a_stage_of_its_own() {
    let world = World::new();
    let mut home = serves("home", "1");
    world.api.route("shop", &home);
    world.until_serves(&["shop/home=home@1"]).await;
    let before = world.fakes.one("ret-1");
    home.pools.get_mut(&name("ret-1")).unwrap().affinity = Affinity::User;
    home.pools.get_mut(&name("ret-1")).unwrap().service = name("other");
    world.api.route("shop", &home);
    world.api.workers("shop", "other", &[("o", "10.0.0.5", READY)]);
    world.until(|_| world.fakes.all("ret-1").iter().any(|pool| pool.affinity == Affinity::User)).await;
    drop(before);
    let after = world.fakes.one("ret-1");
    assert_eq!(after.affinity, Affinity::User);
    after.until_told(&["o"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_route_that_cannot_be_read_keeps_its_last_good_state() {
    let world = World::new();
    world.api.route("shop", &serves("home", "1"));
    world.until_serves(&["shop/home=home@1"]).await;
    let mut missing = serves("home", "2");
    missing.pools.remove(&name("ret-2"));
    let unreadable = [
        "{".to_owned(),
        r#"{"pipeline":"home"}"#.to_owned(),
        r#"{"pipeline":"home","pools":{},"surprise":1}"#.to_owned(),
        serde_json::to_string(&missing).unwrap(),
    ];
    for text in &unreadable {
        world.api.route_text("shop", "home", text);
    }
    world.api.route_text("shop", "never", "{");
    let mut keyless = json!({"metadata": {"namespace": "shop", "name": "home-route"}, "data": {"other": ""}});
    keyless["metadata"]["labels"] = json!({"recmesh.dev/route": "home"});
    world.api.set("configmaps", keyless);
    // What comes after them has been seen, so they have been seen too.
    world.api.route("shop", &serves("cart", "1"));
    world.until_serves(&["shop/cart=cart@1", "shop/home=home@1"]).await;
    assert_eq!(world.counted("route"), 6);
    assert_eq!(world.answerer("home").await.1, "ret-1");
    // A whole new list does not lose it either.
    world.api.forget();
    world.api.route("shop", &serves("cart", "2"));
    world.until_serves(&["shop/cart=cart@2", "shop/home=home@1"]).await;
    world.api.route("shop", &serves("home", "3"));
    world.until_serves(&["shop/cart=cart@2", "shop/home=home@3"]).await;
}

#[tokio::test(start_paused = true)]
async fn two_maps_for_one_pipeline_are_not_mixed() {
    let world = World::new();
    world.api.route("shop", &serves("home", "1"));
    let mut copy = json!({"metadata": {"namespace": "shop", "name": "z-copy"}});
    copy["metadata"]["labels"] = json!({"recmesh.dev/route": "home"});
    copy["data"] = json!({"route.json": serde_json::to_string(&serves("home", "2")).unwrap()});
    world.api.set("configmaps", copy);
    world.until_serves(&["shop/home=home@1"]).await;
    world.api.remove_route("shop", "home");
    world.until_serves(&["shop/home=home@2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_changes_is_one_new_table() {
    let world = World::new();
    world.until_serves(&[]).await;
    let mut routes = world.routes.clone();
    routes.until(|_| true).await;
    for version in 0..200 {
        world.api.route("shop", &serves("home", &version.to_string()));
    }
    let mut tables = 0;
    while super::shown(&*routes.replaced().await) != ["shop/home=home@199"] {
        tables += 1;
    }
    assert_eq!(tables, 0, "no table between");
    let connected = world.fakes.calls().len();
    assert_eq!(connected, 2, "nothing was connected that nothing uses");
}

#[tokio::test(start_paused = true)]
async fn only_the_namespaces_that_are_named_are_watched() {
    let api = Api::default();
    for namespace in ["shop", "news", "other"] {
        api.route(namespace, &serves("home", "1"));
    }
    let world = World::of(&["shop", "news"], api);
    world.until_serves(&["news/home=home@1", "shop/home=home@1"]).await;
    world.api.route("other", &serves("home", "2"));
    world.api.remove_route("news", "home");
    world.until_serves(&["shop/home=home@1"]).await;
    let asked = world.api.asked().borrow().clone();
    assert_eq!(asked.len(), 4);
    assert!(
        asked.iter().all(|uri| uri.contains("/namespaces/shop/") || uri.contains("/namespaces/news/")),
        "{asked:?}"
    );
}
