//! What callers may ask and what they are told when they may not.

use axum::{body::Body, http::Request};
use recmesh_contract::{Work, config::Seen};
use serde_json::json;

use super::{Does, World};

#[tokio::test(start_paused = true)]
async fn a_request_means_what_it_says() {
    let world = World::new("shop");
    let body = json!({
        "user": "u42", "history": ["i7", "i9"], "k": 3, "pipeline": "shop", "exclude": ["i1"],
        "filters": {"genre": ["drama", "crime"]}, "deadlineMs": 200,
    });
    let got = world.post(&body.to_string()).await;
    assert_eq!(got.ids(), ["i0", "i1", "i2"]);
    let calls = world.tokenize.calls();
    let Work::Tokenize(request) = &calls[0].work else { panic!("{calls:?}") };
    assert_eq!(request.user.as_deref(), Some("u42"));
    assert_eq!(request.history, Some(vec!["i7".to_owned(), "i9".to_owned()]));
    assert_eq!((request.k, request.exclude.clone()), (3, vec!["i1".to_owned()]));
    assert_eq!(request.filters["genre"], ["drama", "crime"]);
    assert!(!request.allow_seen);
}

#[tokio::test(start_paused = true)]
async fn the_pipeline_decides_whether_seen_items_come_back() {
    let world = World::of(&["shop"], |route| route.params.seen = Seen::Allow);
    world.post(r#"{"user":"u1"}"#).await;
    let Work::Tokenize(request) = &world.tokenize.calls()[0].work else { panic!() };
    assert!(request.allow_seen);
}

#[tokio::test(start_paused = true)]
async fn the_reply_has_exactly_these_fields_in_this_order() {
    let got = World::new("shop").post(r#"{"user":"u42","k":1}"#).await;
    let start = r#"{"items":[{"id":"i0","title":"The i0","score":1.0,"semanticId":[1,2]}],"release":{"name":"shop@"#;
    assert!(got.text.starts_with(start), "{}", got.text);
    let end = concat!(
        r#""models":{"fallback":"popular@0123456789ab","retrieve":"sasrec@0123456789ab"},"tokenizer":"tok@0123456789ab","catalog":"sha256:00"},"#,
        r#""stages":[{"name":"tokenize","ms":0.0},{"name":"retrieve","ms":0.0}],"fallback":null}"#
    );
    assert!(got.text.ends_with(end), "{}", got.text);
    assert_eq!(got.header("content-type"), Some("application/json"));
    let ranked = World::new("ranked").post(r#"{"user":"u42","k":1}"#).await;
    assert_eq!(ranked.json["items"][0]["tasks"], json!({"click": 0.5}));
}

#[tokio::test(start_paused = true)]
async fn ten_items_unless_asked_otherwise() {
    let world = World::new("shop");
    assert_eq!(world.post(r#"{"user":"u42"}"#).await.ids().len(), 10);
    assert_eq!(world.post(r#"{"user":"u42","k":50}"#).await.ids().len(), 50);
    let narrow = World::of(&["shop"], |route| route.params.max_k = 4);
    assert_eq!(narrow.post(r#"{"user":"u42"}"#).await.ids().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn wrong_fields_are_named_with_what_would_be_right() {
    let world = World::new("shop");
    let cases = [
        (r#"{"user":"u","k":0}"#, "k", "from 1 to 50, was 0"),
        (r#"{"user":"u","k":-3}"#, "k", "from 1 to 50, was -3"),
        (r#"{"user":"u","k":51}"#, "k", "from 1 to 50, was 51"),
        (r#"{"user":"u","k":99999999999999999999999}"#, "k", "from 1 to 50"),
        (r#"{"user":"u","k":2.5}"#, "k", "from 1 to 50, was 2.5"),
        (r#"{"user":"u","k":"ten"}"#, "k", "expected a JSON number"),
        (r#"{"k":5}"#, "user", "a user, a history or both"),
        (r#"{"user":""}"#, "user", "must not be empty"),
        (r#"{"user":42}"#, "user", "expected a string"),
        (r#"{"user":"u","deadlineMs":0}"#, "deadlineMs", "at least 1, was 0"),
        (r#"{"user":"u","K":5}"#, "K", "unknown field `K`, expected one of `user`, `history`, `k`"),
        (r#"{"history":["i1",2]}"#, "history[1]", "expected a string"),
        (r#"{"user":"u","filters":{"genre":"drama"}}"#, "filters.genre", "expected a sequence"),
    ];
    for (body, field, text) in cases {
        let got = world.post(body).await;
        assert_eq!(got.problem(), (400, "badField", Some(field)), "{body}: {}", got.text);
        assert!(got.detail().contains(text), "{body}: {}", got.detail());
    }
    assert!(world.tokenize.calls().is_empty());
    assert!(world.shows(r#"recmesh_gateway_requests_total{pipeline="none",outcome="badField"} 13"#));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_no_json_object_are_refused() {
    let world = World::new("shop");
    let twice = "{\"user\":\"u\",\"user\":\"v\"}";
    let array = "[\"u42\",null,null,null,null,null,null]";
    for body in
        ["", "  \n", "{", "{\"user\":}", "user=u42", "{\"user\":\"u\"} extra", twice, array, "7", "\"u42\"", "null"]
    {
        let got = world.post(body).await;
        assert_eq!(got.problem(), (400, "badBody", None), "{body}: {}", got.text);
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_type_does_not_matter_unless_it_can_never_be_json() {
    let world = World::new("shop");
    let send = async |content_type: &str| {
        let request = Request::post("/v1/recommend").header("content-type", content_type);
        world.send(request.body(Body::from(r#"{"user":"u42"}"#)).unwrap()).await
    };
    for fine in ["application/json", "application/x-www-form-urlencoded", "text/plain", "nonsense"] {
        assert_eq!(send(fine).await.status, 200, "{fine}");
    }
    let got = send("Multipart/form-data; boundary=x").await;
    assert_eq!(got.problem(), (415, "unsupportedMediaType", Some("Content-Type")));
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_without_being_read() {
    let world = World::new("shop");
    // Says it is large: not a byte of it is asked for.
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/v1/recommend").header("content-length", "104857600").body(never).unwrap();
    assert_eq!(world.send(request).await.problem(), (413, "bodyTooLarge", None));
    // Does not say it: given up at the limit, although it never ends.
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65536]));
    let request = Request::post("/v1/recommend").body(Body::from_stream(endless)).unwrap();
    assert_eq!(world.send(request).await.problem(), (413, "bodyTooLarge", None));
    // Never arrives.
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/v1/recommend").body(never).unwrap();
    assert_eq!(world.send(request).await.problem(), (504, "deadline", None));
}

#[tokio::test(start_paused = true)]
async fn a_history_of_ten_thousand_items_is_taken() {
    let world = World::new("shop");
    let history: Vec<String> = (0..10_000).map(|i| format!("item-with-a-long-id-{i}")).collect();
    let got = world.post(&json!({"history": history}).to_string()).await;
    assert_eq!(got.status, 200);
    let Work::Tokenize(request) = &world.tokenize.calls()[0].work else { panic!() };
    assert_eq!(request.history.as_ref().map(Vec::len), Some(10_000));
}

#[tokio::test(start_paused = true)]
async fn pipelines_are_named_where_there_are_several() {
    let world = World::of(&["shop", "ranked"], |_| ());
    let got = world.post(r#"{"user":"u"}"#).await;
    assert_eq!(got.problem(), (400, "badField", Some("pipeline")));
    assert!(got.detail().contains("ranked, shop"), "{}", got.detail());
    let got = world.post(r#"{"user":"u","pipeline":"shoe"}"#).await;
    assert_eq!(got.problem(), (404, "noSuchPipeline", Some("pipeline")));
    assert!(got.detail().contains("\"shoe\"; there are: ranked, shop"), "{}", got.detail());
    let got = world.post(r#"{"user":"u","pipeline":"ranked"}"#).await;
    assert!(got.json["release"]["name"].as_str().unwrap().starts_with("ranked@"));
}

#[tokio::test(start_paused = true)]
async fn the_smallest_of_the_three_deadlines_holds() {
    for (body, header, expected) in [
        (r#"{"user":"u"}"#, None, 500),
        (r#"{"user":"u","deadlineMs":200}"#, None, 200),
        (r#"{"user":"u","deadlineMs":200}"#, Some("100"), 100),
        (r#"{"user":"u","deadlineMs":100}"#, Some("200"), 100),
        (r#"{"user":"u","deadlineMs":100000}"#, Some("18446744073709551615"), 500),
    ] {
        let world = World::new("shop");
        world.tokenize.does(|_| Does::Never);
        let request = Request::post("/v1/recommend");
        let request = match header {
            Some(ms) => request.header("x-request-deadline-ms", ms),
            None => request,
        };
        let began = tokio::time::Instant::now();
        let got = world.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(got.problem(), (504, "deadline", None));
        assert_eq!(began.elapsed().as_millis(), expected, "{body} {header:?}");
    }
    let world = World::new("shop");
    let request = Request::post("/v1/recommend").header("x-request-deadline-ms", "soon");
    let got = world.send(request.body(Body::from(r#"{"user":"u"}"#)).unwrap()).await;
    assert_eq!(got.problem(), (400, "badField", Some("x-request-deadline-ms")));
    let request = Request::post("/v1/recommend").header("x-request-deadline-ms", "0");
    let got = world.send(request.body(Body::from(r#"{"user":"u"}"#)).unwrap()).await;
    assert_eq!(got.problem(), (504, "deadline", None));
    assert!(world.tokenize.calls().is_empty(), "hopeless requests reach no stage");
}
