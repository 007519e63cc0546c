//! Probes, metrics, the API's description, headers, paths there are not, and a real socket.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};

use axum::{body::Body, http::Request};
use recmesh_contract::{Stage, config::RouteTable};
use recmesh_telemetry::Telemetry;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{World, name, route};
use crate::{Gateway, GatewayError, Limits, app, app::ROUTES, serve, serve_beside};

#[tokio::test(start_paused = true)]
async fn ready_only_when_every_stage_of_every_pipeline_is() {
    let world = World::of(&["shop", "ranked"], |_| ());
    let got = world.get("/readyz").await;
    assert_eq!((got.status.as_u16(), &got.json), (200, &json!({"ready": true, "notReady": []})));
    world.rank.ready.store(false, Ordering::SeqCst);
    let got = world.get("/readyz").await;
    let missing = json!([{"pipeline": "ranked", "stage": "rank", "pool": "rank"}]);
    assert_eq!((got.status.as_u16(), &got.json), (503, &json!({"ready": false, "notReady": missing})));
    world.fallback.ready.store(false, Ordering::SeqCst);
    assert_eq!(world.get("/readyz").await.json["notReady"].as_array().unwrap().len(), 3);
    assert_eq!(world.get("/livez").await.status, 200, "alive all the same");
}

#[tokio::test(start_paused = true)]
async fn metrics_are_text_for_prometheus() {
    let world = World::new("shop");
    world.post(r#"{"user":"u"}"#).await;
    let got = world.get("/metrics").await;
    assert!(got.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "# TYPE recmesh_gateway_requests counter",
        r#"recmesh_gateway_requests_total{pipeline="shop",outcome="ok"} 1"#,
        r#"recmesh_gateway_request_seconds_count{pipeline="shop"} 1"#,
        r#"recmesh_gateway_stage_seconds_count{pipeline="shop",stage="retrieve"} 1"#,
        r#"recmesh_gateway_in_flight_requests{pipeline="shop"} 0"#,
    ] {
        assert!(got.text.lines().any(|l| l == line), "{line} is missing from\n{}", got.text);
    }
    assert!(got.text.ends_with("# EOF\n"));
}

#[tokio::test(start_paused = true)]
async fn paths_and_methods_there_are_not_are_problems_too() {
    let world = World::new("shop");
    let got = world.get("/v2/models").await;
    assert_eq!(got.problem(), (404, "noSuchRoute", None));
    assert!(got.detail().contains("POST /v1/recommend"), "{}", got.detail());
    let got = world.get("/v1/recommend").await;
    assert_eq!(got.problem(), (405, "methodNotAllowed", None));
    assert_eq!(got.header("allow"), Some("POST"));
    let got = world.send(Request::delete("/livez").body(Body::empty()).unwrap()).await;
    assert_eq!(got.problem(), (405, "methodNotAllowed", None));
}

#[tokio::test(start_paused = true)]
async fn ids_and_traces_come_back() {
    let world = World::new("shop");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("/livez").header("x-request-id", "mine-7").header("traceparent", trace);
    let got = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((got.header("x-request-id"), got.header("traceparent")), (Some("mine-7"), Some(trace)));

    let mut made = BTreeSet::new();
    for bad in ["", "with space", &"x".repeat(129)] {
        let request = Request::get("/livez").header("x-request-id", bad).header("traceparent", "nonsense");
        let got = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.header("traceparent"), None);
        let id = got.header("x-request-id").unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()), "{id}");
        made.insert(id);
    }
    assert_eq!(made.len(), 3, "every request has an id of its own");
}

#[tokio::test(start_paused = true)]
async fn the_description_has_every_route_and_every_field() {
    let world = World::new("shop");
    let document = world.get("/openapi.json").await.json;
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path) in ROUTES {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        let request = Request::builder().method(method).uri(path).body(Body::from(r#"{"user":"u"}"#)).unwrap();
        assert_eq!(world.send(request).await.status, 200, "{method} {path} is described but not served");
    }
    assert_eq!(document["paths"].as_object().unwrap().len(), ROUTES.len());

    let fields = |schema: &str| -> BTreeSet<String> {
        let properties = document["components"]["schemas"][schema]["properties"].as_object();
        properties.unwrap_or_else(|| panic!("no schema {schema}")).keys().cloned().collect()
    };
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let ranked = World::new("ranked");
    let reply = ranked.post(r#"{"user":"u"}"#).await.json;
    let cold = ranked.post(r#"{"user":"new"}"#).await.json;
    let problem = world.post(r#"{"k":1}"#).await.json;
    assert_eq!(fields("RecommendReply"), keys(&reply));
    assert_eq!(fields("ItemBody"), keys(&reply["items"][0]));
    assert_eq!(fields("ReleaseBody"), keys(&reply["release"]));
    assert_eq!(fields("StageBody"), keys(&reply["stages"][0]));
    assert_eq!(fields("FallbackBody"), keys(&cold["fallback"]));
    assert_eq!(fields("Problem"), keys(&problem));
    // The request's fields, as the parser itself lists them.
    let listed = world.post(r#"{"nosuch":1}"#).await;
    for field in fields("RecommendBody") {
        assert!(listed.detail().contains(&format!("`{field}`")), "{field}: {}", listed.detail());
    }
    assert_eq!(fields("RecommendBody").len(), listed.detail().matches('`').count() / 2 - 1);
    let request = &document["components"]["schemas"]["RecommendBody"];
    assert_eq!(request["additionalProperties"], false);
    assert_eq!(
        (&request["properties"]["k"]["minimum"], &request["properties"]["k"]["default"]),
        (&json!(1), &json!(10))
    );

    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn a_route_to_a_pool_that_is_not_there_is_refused_by_name() {
    let routes = RouteTable { routes: [("shop".to_owned(), route("shop"))].into() };
    let world = World::new("shop");
    let stages: HashMap<_, Arc<dyn Stage>> =
        [(name("tokenize"), world.tokenize as _), (name("retrieve"), world.retrieve as _)].into();
    let gateway = Gateway { routes, stages, telemetry: Telemetry::new(), limits: Limits::default() };
    let missing = GatewayError::NoPool { pipeline: "shop".to_owned(), stage: "fallback", pool: name("fallback") };
    assert_eq!(app(gateway).err(), Some(missing));
}

/// One exchange over a socket; the connection ends with it.
async fn exchange(address: std::net::SocketAddr, start: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{start} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn serves_over_a_socket_and_stops_when_told() {
    let world = World::new("shop");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, noticed) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let notice = async move {
        tell.send(()).unwrap();
        let _ = released.await;
    };
    let served = tokio::spawn(serve(listener, world.app.clone(), shutdown, notice));
    let recommend = || exchange(address, "POST /v1/recommend", r#"{"user":"u42","k":1}"#);
    assert!(recommend().await.starts_with("HTTP/1.1 200"));
    assert!(exchange(address, "GET /readyz", "").await.starts_with("HTTP/1.1 200"));
    // An idle connection does not hold up the stop.
    let _idle = TcpStream::connect(address).await.unwrap();

    stop.send(()).unwrap();
    noticed.await.unwrap();
    let ready = exchange(address, "GET /readyz", "").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(r#""stopping":true"#), "{ready}");
    assert!(recommend().await.starts_with("HTTP/1.1 200"), "served until the notice is over");
    release.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn while_it_stops_replies_close_their_connections_and_the_admin_port_answers_on() {
    let world = World::new("shop");
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (http, admin) = (bind().await.unwrap(), bind().await.unwrap());
    let (address, admin_address) = (http.local_addr().unwrap(), admin.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, noticed) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let notice = async move {
        tell.send(()).unwrap();
        let _ = released.await;
    };
    let ports = ((http, world.app.clone()), (admin, world.app.clone()));
    let served = tokio::spawn(serve_beside(ports.0, ports.1, shutdown, notice));

    let mut kept = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        kept.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut reply = vec![0; 1024];
        let length = kept.read(&mut reply).await.unwrap();
        let reply = String::from_utf8_lossy(&reply[..length]).to_lowercase();
        assert!(reply.starts_with("http/1.1 200") && !reply.contains("connection: close"), "{reply}");
    }
    stop.send(()).unwrap();
    noticed.await.unwrap();
    // Answered, and that was its last.
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    kept.read_to_string(&mut reply).await.unwrap();
    let reply = reply.to_lowercase();
    assert!(reply.starts_with("http/1.1 200") && reply.contains("connection: close"), "{reply}");
    assert!(exchange(admin_address, "GET /readyz", "").await.starts_with("HTTP/1.1 503"));
    assert!(exchange(admin_address, "GET /metrics", "").await.starts_with("HTTP/1.1 200"));
    release.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert!(TcpStream::connect(admin_address).await.is_err());
}
