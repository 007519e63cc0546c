//! Quantization from the manifest to what is served: accepted, fallen back, damaged.

use serde_json::{Value, json};

use super::{manifests::WHOLE, program::Desk, server::Server};

/// Both trained models of the whole with a `quantization` block: the retriever in int8, the ranker in the default.
fn asking(quantization: &str) -> String {
    let decode = "contextLength: 8, decode: {beams: 40}}}\n";
    let tasks = "    - {name: like, when: {column: like, atLeast: 1}}\n";
    assert!(WHOLE.contains(decode) && WHOLE.contains(tasks));
    let bytes = quantization.replacen('{', "{format: int8, ", 1);
    let with = |line: &str, quantization: &str| format!("{line}  quantization: {quantization}\n");
    WHOLE.replace(decode, &with(decode, &bytes)).replace(tasks, &with(tasks, quantization))
}

/// Models of a few numbers, trained for seconds, have layers whose errors stand out: wide gates, which hold.
const WIDE: &str = "{gates: {maxRelError: 0.2, minTopKOverlap: 0.5, maxRecallDrop: 1}, calibration: {sample: 40}}";

/// No rounding at all passes this one.
const CLOSED: &str = "{gates: {maxRelError: 0}}";

fn asked(server: &Server) -> Vec<Value> {
    let items = |user: u32| server.recommend(&json!({"user": format!("u{user}"), "k": 10}))["items"].clone();
    (0..12).map(items).collect()
}

#[test]
fn a_quantised_model_serves_says_so_and_is_the_same_whatever_the_threads() {
    let (desk, other) = (Desk::new(&asking(WIDE)), Desk::new(&asking(WIDE)));
    desk.train(&["--threads", "1"]).good();
    let told = other.train(&["--threads", "3"]).good();
    assert!(desk.artifacts() == other.artifacts(), "1 thread against 3");
    for (model, format) in [("retriever", "int8"), ("ranker", "e4m3")] {
        assert!(told.out.contains(&format!("Quantized: {model} serves in {format}, ")), "{}", told.out);
    }
    let server = Server::start(&desk);
    assert!(asked(&server).iter().all(|items| items.as_array().is_some_and(|items| items.len() == 10)));
    let metrics = server.get("/metrics").text();
    for (pool, format) in [("retrieve-retriever", "int8"), ("rank-ranker", "e4m3")] {
        let line = format!("recmesh_pool_weight_bytes{{pool=\"{pool}\",precision=\"{format}\"}} ");
        assert!(metrics.contains(&line), "{metrics}");
    }
    server.stop("TERM").good();
    let shown: Value = serde_json::from_str(&desk.run(&["get", "-o", "json"]).good().out).unwrap();
    let jobs: Vec<&Value> = shown["resources"].as_array().unwrap().iter().collect();
    let quantized = |name: &str| &jobs.iter().find(|job| job["name"] == name).unwrap()["quantization"];
    let bytes = |what: &str| quantized("train-retriever")[what].as_u64().unwrap();
    assert!(bytes("servedBytes") < bytes("weightBytes"), "{shown}");
    assert!(quantized("train-ranker")["message"].as_str().unwrap().contains("mean auc"), "{shown}");

    let file = desk.artifact("retrieval-models/retriever/", "/quantized.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
    desk.with_manifest("up", &["--listen", "127.0.0.1:0"])
        .refused(1, &["quantized.safetensors", "--retrain retriever"]);
}

#[test]
fn a_model_that_falls_back_answers_as_if_nobody_had_asked() {
    let (desk, plain) = (Desk::new(&asking(CLOSED)), Desk::new(WHOLE));
    let (server, unasked) = (Server::start(&desk), Server::start(&plain));
    assert_eq!(asked(&server), asked(&unasked), "to the bit");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("{pool=\"retrieve-retriever\",precision=\"f32\"}"), "{metrics}");
    assert!(!unasked.get("/metrics").text().contains("precision="));
    let told = server.stop("TERM").good();
    unasked.stop("TERM").good();
    let line = |text: &str| text.lines().find(|line| line.contains("retriever serves in f32")).map(str::to_owned);
    let up = line(&told.out).unwrap_or_else(|| panic!("{}", told.out));
    assert!(up.starts_with("QuantizationFellBack: ") && up.contains("relative error 0.0"), "{up}");
    assert_eq!(line(&desk.run(&["get"]).good().out), Some(up));
    let report = std::fs::read(desk.artifact("retrieval-models/retriever/", "/quantization.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert!(report["reasons"][0].as_str().unwrap().contains("above 0"), "{report}");
    assert!(desk.artifacts().keys().all(|path| !path.ends_with("quantized.safetensors")));
}

/// One row has one label.
#[test]
fn a_calibration_that_can_measure_nothing_is_refused_before_training() {
    let tasks = "    - {name: like, when: {column: like, atLeast: 1}}\n";
    let asked = format!("{tasks}  quantization: {{calibration: {{sample: 1}}}}\n");
    let desk = Desk::new(&WHOLE.replace(tasks, &asked));
    desk.train(&[]).refused(1, &["quantization.calibration.sample", "all labels are", "0 for all"]);
    assert!(desk.artifacts().keys().all(|path| !path.contains("ranking-models/ranker")));
}

#[test]
fn what_only_counts_cannot_be_quantised() {
    let counted = "spec: {datasetRef: {name: world}, algorithm: {popularity: {}}}";
    let desk = Desk::new(
        &WHOLE.replace(counted, "spec: {datasetRef: {name: world}, algorithm: {popularity: {}}, quantization: {}}"),
    );
    desk.with_manifest("validate", &[])
        .refused(2, &["RetrievalModel/popular spec.quantization", "remove quantization"]);
}
