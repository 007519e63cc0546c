//! A request's span tree, as an exporter sees it.

use axum::{body::Body, http::Request};
use recmesh_contract::{Class, reason};
use recmesh_telemetry::{
    logging::{Format, init},
    otlp::{Ended, Memory},
};

use super::World;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

#[tokio::test(start_paused = true)]
async fn a_request_with_a_traceparent_becomes_a_tree_in_that_trace() {
    let (layer, memory, _exporter) = Memory::start();
    // Nothing is logged: what is exported does not depend on it.
    init("off", Format::Text, vec![layer]).unwrap();
    let world = World::new("ranked");
    world.rank.fails(Class::Internal, reason::PANIC);
    let header = format!("00-{TRACE:032x}-{CALLER:016x}-01");
    let request = Request::post("/v1/recommend").header("traceparent", &header).header("x-request-id", "r-7");
    let got = world.send(request.body(Body::from(r#"{"user":"u42","k":4}"#)).unwrap()).await;
    assert_eq!((got.status.as_u16(), got.header("traceparent")), (200, Some(header.as_str())));

    let spans = memory.of(TRACE);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["tokenize", "retrieve", "rank", "finish", "request"]);
    let (request, stages) = spans.split_last().unwrap();
    assert_eq!(request.parent, CALLER);
    let field = |name| request.field(name);
    assert_eq!((field("pipeline"), field("request_id"), field("status")), (Some("ranked"), Some("r-7"), Some("200")));
    let told = got.json["stages"].as_array().unwrap();
    for (stage, told) in stages.iter().zip(told) {
        assert_eq!(stage.parent, request.id);
        assert_eq!(stage.field("ms").map(str::parse::<f64>), Some(Ok(told["ms"].as_f64().unwrap())));
    }
    let pools: Vec<Option<&str>> = stages.iter().map(|stage| stage.field("pool")).collect();
    assert_eq!(pools, [Some("tokenize"), Some("retrieve"), Some("rank"), Some("tokenize")]);
    let reasons: Vec<Option<&str>> = stages.iter().map(|stage: &Ended| stage.field("reason")).collect();
    assert_eq!(reasons, [None, None, Some("panic"), None]);
}
