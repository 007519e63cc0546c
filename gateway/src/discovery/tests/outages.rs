//! An API server that breaks off, forgets, refuses or is away: what is known stands, and what changed meanwhile is
//! learnt afterwards.

use super::{
    World,
    api::{Api, Fault},
    serves,
};

const READY: (bool, bool, bool) = (true, true, false);

/// A world that serves `home@1` from one worker.
async fn serving() -> World {
    let world = World::new();
    world.api.route("shop", &serves("home", "1"));
    world.api.workers("shop", "ret-1", &[("a", "10.0.0.1", READY)]);
    world.until_serves(&["shop/home=home@1"]).await;
    world.fakes.one("ret-1").until_told(&["a"]).await;
    world
}

#[tokio::test(start_paused = true)]
async fn the_last_table_stands_while_the_server_is_away() {
    let world = serving().await;
    world.api.down(true);
    // The outage lasts many attempts; changes of it are not told to anybody.
    world.api.asked().wait_for(|asked| asked.len() > 22).await.unwrap();
    world.api.route("shop", &serves("home", "2"));
    world.api.remove("endpointslices", "shop", "ret-1-abcde");
    assert!(world.counted("watch") >= 20);
    assert_eq!(world.answerer("home").await.0, "home@1");
    world.fakes.one("ret-1").until_told(&["a"]).await;
    world.api.down(false);
    world.until_serves(&["shop/home=home@2"]).await;
    assert!(world.fakes.all("ret-1").is_empty());
}

#[tokio::test(start_paused = true)]
async fn attempts_become_rarer() {
    let world = serving().await;
    world.api.down(true);
    let began = tokio::time::Instant::now();
    world.api.asked().wait_for(|asked| asked.len() >= 2 + 20).await.unwrap();
    // Ten each for two kinds; with a pause that did not grow it would be over in ten seconds.
    assert!(began.elapsed().as_secs() > 60, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_goes_on_where_it_was() {
    let world = serving().await;
    world.api.unseen(|api| {
        api.route("shop", &serves("home", "2"));
        api.route("shop", &serves("cart", "1"));
    });
    world.api.cut();
    world.until_serves(&["shop/cart=cart@1", "shop/home=home@2"]).await;
    let asked = world.api.asked().borrow().clone();
    let lists = asked.iter().filter(|uri| uri.contains("sendInitialEvents=true")).count();
    assert_eq!(lists, 2, "nothing was listed anew: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_is_listed_anew() {
    let world = serving().await;
    // While nobody watches, one pipeline is removed and one comes: no event tells of it any more.
    world.api.unseen(|api| {
        api.remove_route("shop", "home");
        api.route("shop", &serves("cart", "1"));
    });
    world.api.forget();
    world.until_serves(&["shop/cart=cart@1"]).await;
    let asked = world.api.asked().borrow().clone();
    let list = |uri: &&String| uri.contains("/configmaps") && uri.contains("sendInitialEvents=true");
    assert_eq!(asked.iter().filter(list).count(), 2, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_refused_at_once_is_listed_anew() {
    let world = serving().await;
    world.api.unseen(|api| api.route("shop", &serves("home", "2")));
    // Both watches go on and are refused by status, not by an event.
    world.api.fails([Fault::Status(410)]);
    world.api.cut();
    world.until_serves(&["shop/home=home@2"]).await;
    let asked = world.api.asked().borrow().clone();
    let list = |uri: &&String| uri.contains("/configmaps") && uri.contains("sendInitialEvents=true");
    assert_eq!(asked.iter().filter(list).count(), 2, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_takes_nothing_away() {
    let world = serving().await;
    world.api.route("shop", &serves("cart", "1"));
    world.until_serves(&["shop/cart=cart@1", "shop/home=home@1"]).await;
    world.api.fails([Fault::Status(410), Fault::BreaksOff]);
    world.api.unseen(|api| api.remove_route("shop", "cart"));
    let asked = world.api.asked();
    world.api.cut();
    // Never a table without what the half list had not told.
    let mut routes = world.routes.clone();
    routes.until(|table| table.pipelines.len() == 2).await;
    let table = routes.replaced().await;
    assert_eq!(super::shown(&table), ["shop/home=home@1"]);
    let list = |uri: &&String| uri.contains("/configmaps") && uri.contains("sendInitialEvents=true");
    assert_eq!(asked.borrow().iter().filter(list).count(), 3, "first, broken off, whole");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_busy_or_broken_is_asked_again() {
    let api = Api::default();
    api.fails([429, 500, 503, 429, 403, 504].map(Fault::Status));
    api.route("shop", &serves("home", "1"));
    let world = World::of(&[], api);
    let (status, problem) = world.post(&serde_json::json!({"user": "u", "pipeline": "home"})).await;
    assert_eq!((status, &problem["reason"]), (503, &"starting".into()), "it may yet be there");
    let (status, ready) = world.admin("/readyz").await;
    assert_eq!((status, &ready["discovering"]), (503, &true.into()));
    world.until_serves(&["shop/home=home@1"]).await;
    assert_eq!(world.counted("watch"), 12);
    assert_eq!(world.api.asked().borrow().len(), 14);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streamed_lists_is_listed_by_request() {
    let api = Api::default();
    api.grows_old();
    api.route("shop", &serves("home", "1"));
    let world = World::of(&[], api);
    world.until_serves(&["shop/home=home@1"]).await;
    world.api.route("shop", &serves("home", "2"));
    world.until_serves(&["shop/home=home@2"]).await;
    world.api.unseen(|api| api.remove_route("shop", "home"));
    world.api.forget();
    world.api.cut();
    world.until_serves(&[]).await;
}
