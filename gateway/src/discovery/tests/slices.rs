//! Which workers of a slice may be called.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::super::slices::{Slice, read, usable};

const READY: (bool, bool, bool) = (true, true, false);
const ENDING: (bool, bool, bool) = (false, true, true);
const STOPPED: (bool, bool, bool) = (false, false, true);
const STARTING: (bool, bool, bool) = (false, false, false);

fn object(workers: &[(&str, (bool, bool, bool))]) -> Value {
    let endpoints: Vec<Value> = workers
        .iter()
        .enumerate()
        .map(|(row, (name, (ready, serving, terminating)))| {
            json!({
                "addresses": [format!("10.0.0.{row}")], "targetRef": {"name": name},
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            })
        })
        .collect();
    json!({
        "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "ret"}}, "addressType": "IPv4",
        "ports": [{"name": "admin", "port": 1}, {"name": "grpc", "port": 9000}], "endpoints": endpoints,
    })
}

fn slice(object: Value) -> Option<Slice> {
    read(serde_json::from_value::<EndpointSlice>(object).unwrap())
}

fn names(slices: &[Slice]) -> Vec<String> {
    usable(slices).into_iter().map(|endpoint| endpoint.name).collect()
}

#[test]
fn ready_workers_are_called_and_ending_ones_only_where_none_is_ready() {
    let of = |workers: &[(&str, (bool, bool, bool))]| names(&[slice(object(workers)).unwrap()]);
    assert_eq!(of(&[("a", READY), ("b", ENDING), ("c", STARTING), ("d", READY)]), ["a", "d"]);
    assert_eq!(of(&[("a", STOPPED), ("b", ENDING), ("c", STARTING), ("d", ENDING)]), ["b", "d"]);
    assert_eq!(of(&[("a", STOPPED), ("c", STARTING)]), Vec::<String>::new());
    // A Service that publishes workers that are not ready calls them ready to the end.
    assert_eq!(of(&[("a", (true, true, true)), ("b", READY)]), ["b"]);
    // Over several slices of a Service.
    let slices = [slice(object(&[("a", ENDING)])).unwrap(), slice(object(&[("x", STARTING), ("b", READY)])).unwrap()];
    assert_eq!(names(&slices), ["b"]);
}

#[test]
fn a_worker_in_two_slices_counts_once_and_ready_in_one_is_ready() {
    let slices = [slice(object(&[("a", ENDING)])).unwrap(), slice(object(&[("a", READY)])).unwrap()];
    let found = usable(&slices);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].address.to_string().as_str()), ("a", "10.0.0.0:9000"));
}

#[test]
fn what_a_slice_leaves_out_is_taken_as_kubernetes_says() {
    let mut bare = object(&[("a", READY)]);
    bare["endpoints"] = json!([{"addresses": ["fd00::1"]}, {"addresses": ["10.0.0.9"], "conditions": {"ready": true}}]);
    let found = usable(&[slice(bare).unwrap()]);
    let shown: Vec<String> = found.iter().map(|e| format!("{} {}", e.name, e.address)).collect();
    assert_eq!(shown, ["10.0.0.9:9000 10.0.0.9:9000", "[fd00::1]:9000 [fd00::1]:9000"]);
    // Not ready without a word on serving does not serve.
    let mut ending = object(&[]);
    ending["endpoints"] = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "terminating": true}}]);
    assert!(usable(&[slice(ending).unwrap()]).is_empty());
}

#[test]
fn slices_that_are_not_of_workers_say_nothing() {
    let mut nameless = object(&[("a", READY)]);
    nameless["metadata"]["labels"] = json!({});
    assert_eq!(slice(nameless), None);
    let mut portless = object(&[("a", READY)]);
    portless["ports"] = json!([{"name": "admin", "port": 1}]);
    assert_eq!(slice(portless), None);
    let mut named = object(&[("a", READY)]);
    named["addressType"] = json!("FQDN");
    named["endpoints"][0]["addresses"] = json!(["worker.example"]);
    assert_eq!(usable(&[slice(named).unwrap()]), []);
}
