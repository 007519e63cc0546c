//! A batch in the traces of those whose requests are in it.

use recmesh_telemetry::{
    TraceParent, adopt,
    logging::{Format, init},
    otlp::Memory,
};

use super::{all, bench, got};

#[tokio::test]
async fn each_request_of_a_batch_has_the_batch_in_its_own_trace() {
    let (layer, memory, _exporter) = Memory::start();
    init("off", Format::Text, vec![layer]).unwrap();
    let mut bench = bench(1, 16, 64);
    let (release, first) = bench.busy().await;
    let span = |trace| {
        let span = tracing::info_span!("stage");
        adopt(&span, &TraceParent { trace, span: 5, flags: 1 });
        span
    };
    let waiting: Vec<_> = [7, 8].map(|trace| span(trace).in_scope(|| bench.ask(trace as usize))).into();
    let untraced = bench.ask(9);
    drop(release);
    assert_eq!(got(first.await), Ok(0));
    assert_eq!(all(waiting).await, [Ok(7), Ok(8)]);
    assert_eq!(got(untraced.await), Ok(9));
    for trace in [7, 8] {
        let spans = memory.of(trace);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["batch", "stage"]);
        assert_eq!((spans[0].parent, spans[1].parent), (spans[1].id, 5));
        assert_eq!(spans[0].field("requests"), Some("3"));
    }
}
