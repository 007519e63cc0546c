//! What watches a serving program: probes, metrics, the API's description, its address, its end.

use std::fs;

use serde_json::{Value, json};

use super::{
    manifests::{WHOLE, counted_over},
    program::Desk,
    server::Server,
};

#[test]
fn the_printed_call_survives_a_quote_in_a_user_id() {
    let dataset = "  source: {interactions: {path: rows.txt, format: {sequences: {}}}}\n";
    let pipeline = "---
apiVersion: recmesh.dev/v1alpha1
kind: Tokenizer
metadata: {name: ids}
spec: {datasetRef: {name: world}, algorithm: {atomic: {}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: Pipeline
metadata: {name: home}
spec: {tokenizerRef: {name: ids}, retrieve: {modelRef: {name: popular}}}
";
    let desk = Desk::new(&format!("{}{pipeline}", counted_over(dataset)));
    desk.write("rows.txt", "o'neil a b c\nbob b c a\n");
    let server = Server::start(&desk);
    let stranger = server.recommend(&json!({"user": "nobody"}));
    assert_eq!(stranger["items"], json!([]), "without a fallback there is nothing for somebody unknown");
    assert_eq!(stranger["fallback"], json!({"stage": "retrieve", "reason": "coldStart", "model": null}));
    let told = server.stop("TERM").good();
    let call = told.out.lines().find_map(|line| line.trim().strip_prefix("curl ")).unwrap();
    let printed = desk.shell(&format!("printf '%s\\n' {call}")).good().out;
    let body: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(body, json!({"user": "o'neil", "k": 10}), "{call}");
}

#[test]
fn a_serving_program_can_be_watched_and_stops_when_asked() {
    let desk = Desk::new(WHOLE);
    let server = Server::start(&desk);
    let address = fs::read_to_string(desk.path(".recmesh/address")).unwrap();
    assert_eq!(address.parse(), Ok(server.address), "the address in use is written down");

    let ready = server.get("/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!((&ready.json()["ready"], &ready.json()["notReady"]), (&json!(true), &json!([])));
    assert_eq!(server.get("/livez").status, 200);
    let document = server.get("/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/v1/recommend"]["post"].is_object());

    server.recommend(&json!({"user": "u1"}));
    server.recommend(&json!({"user": "nobody"}));
    server.post("{");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    let count = |name: &str, label: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!(count("recmesh_gateway_requests_total", "\"ok\""), 1.0, "{text}");
    assert_eq!(count("recmesh_gateway_requests_total", "\"fallback\""), 1.0, "{text}");
    assert_eq!(count("recmesh_gateway_requests_total", "\"badBody\""), 1.0, "{text}");
    assert!(text.contains("recmesh_pool_") && text.trim_end().ends_with("# EOF"), "{text}");

    let curl = format!("curl -s {address}/v1/recommend -d '{{\"user\":\"u42\",\"k\":10}}'");
    let told = server.stop("TERM").good();
    assert!(told.out.contains(&curl), "{}", told.out);
    assert!(told.out.contains("ndcg@10"), "the results stand above the address: {}", told.out);
    assert!(told.err.contains("finishing what was admitted"), "{}", told.err);
    assert!(!desk.path(".recmesh/address").exists(), "the address goes with the process");

    // The second start takes everything from the store.
    let again = Server::start(&desk);
    again.recommend(&json!({"user": "u1"}));
    let told = again.stop("INT").good();
    let jobs: Vec<&str> = told.err.lines().filter(|line| line.contains('/')).collect();
    assert_eq!(jobs.len(), 7, "{}", told.err);
    assert!(jobs.iter().all(|line| line.contains("in store")), "{}", told.err);
}
