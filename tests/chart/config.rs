//! The configuration that the chart renders is one that the operator reads, and says what the values say.

use recmesh_operator::OperatorConfig;

use super::helm::{Case, case, cases};

/// The operator's configuration in a case; what it would refuse fails here.
fn config(case: &Case) -> OperatorConfig {
    let map = case.of("ConfigMap").find(|map| map["data"]["operator.yaml"].is_string()).unwrap();
    let text = map["data"]["operator.yaml"].as_str().unwrap();
    OperatorConfig::parse(text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.name))
}

#[test]
fn the_operator_reads_every_configuration() {
    for case in cases() {
        let config = config(case);
        let gateway = case.of("Service").any(|service| {
            let place = config.gateway.as_ref();
            place.is_some_and(|place| {
                service["metadata"]["name"] == *place.service && service["metadata"]["namespace"] == *place.namespace
            })
        });
        assert_eq!(config.gateway.is_some(), gateway, "{}: the gateway's Service exists", case.name);
        let store = &config.store;
        let places = [store.claim.is_some(), store.uri.is_some(), store.image.is_some()];
        assert_eq!(places.iter().filter(|place| **place).count(), 1, "{}: {store:?}", case.name);
    }
}

#[test]
fn values_arrive() {
    let Some(plain) = case("default").map(config) else { return };
    assert!(plain.watch_namespaces.is_empty());
    assert_eq!(plain.image.reference, concat!("localhost/recmesh:", env!("CARGO_PKG_VERSION")));
    assert_eq!(plain.store.claim.as_deref(), Some("recmesh-store"));
    assert_eq!(plain.pods.service_account.as_deref(), Some("recmesh-worker"));
    assert_eq!(plain.gateway.unwrap().url, "http://recmesh-gateway.recmesh");

    let all = case("all").map(config).unwrap();
    assert_eq!(all.watch_namespaces, ["shop"]);
    assert_eq!(all.image.pull_secrets, ["registry"]);
    assert_eq!(all.data.claim.as_deref(), Some("files"));
    assert_eq!(all.pods.tolerations.len(), 1);
    assert_eq!(all.gateway.unwrap().url, "http://rec-gateway.recmesh:8000");
    assert_eq!((all.leader_election.lease.as_str(), all.leader_election.duration.0), ("rec-operator", 30_000));
    assert_eq!(all.concurrency, 8);

    let remote = case("object-store").map(config).unwrap().store;
    assert_eq!(
        (remote.uri.as_deref(), remote.secret_ref.as_deref()),
        (Some("s3://artifacts/recmesh"), Some("artifacts"))
    );
}
