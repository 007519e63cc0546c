//! A call in the trace of whoever made it.

use recmesh_contract::Stage;
use recmesh_telemetry::{
    TraceParent, adopt,
    logging::{Format, init},
    otlp::Memory,
};

use super::fakes::{Answers, FakeWorker, Remote, echo, tokenize};

#[tokio::test]
async fn the_workers_span_is_a_child_of_the_callers() {
    let (layer, memory, _exporter) = Memory::start();
    init("off", Format::Text, vec![layer]).unwrap();
    let worker = FakeWorker::start("p", Answers::Echo).await;
    let remote = Remote::to(&[&worker]).await;
    let stage = tracing::info_span!("stage");
    adopt(&stage, &TraceParent { trace: 7, span: 5, flags: 1 });
    let reply = stage.in_scope(|| remote.stage.call(tokenize("u")));
    assert_eq!(echo(reply.await), Ok("u".to_owned()));
    drop(stage);
    let spans = memory.of(7);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["tokenize", "stage"]);
    assert_eq!((spans[0].parent, spans[1].parent), (spans[1].id, 5));
    assert_eq!((spans[0].field("pool"), spans[0].field("request_id")), (Some("p"), Some("r")));
}
