//! Two replicas over one lease: at every moment at most one of them writes.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{
    server::{Fault, Server, What, pass},
    stage::{DATASETS, JOBS, declare, elected, finish, ready, start},
};

const LEASE: &str = "apis/coordination.k8s.io/v1/leases/recmesh/recmesh-operator";

fn holder(server: &Server) -> Option<String> {
    server.get(LEASE)?["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Who wrote anything but leases, in order, with when.
fn writers(server: &Server) -> Vec<(String, Instant)> {
    let writes = server.writes().into_iter().filter(|one| !one.asked.path.contains("/leases"));
    writes.map(|one| (one.by, one.at)).collect()
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_waits() {
    let server = Server::default();
    declare(&server, "d");
    let _one = start(&server, "one", elected());
    pass(Duration::from_secs(1)).await;
    let _two = start(&server, "two", elected());
    pass(Duration::from_secs(120)).await;
    assert_eq!(holder(&server).as_deref(), Some("one"));
    assert_eq!(ready(&server, "d")["reason"], "JobRunning");
    assert!(writers(&server).iter().all(|(by, _)| by == "one"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_hands_over_at_once() {
    let server = Server::default();
    declare(&server, "d");
    let one = start(&server, "one", elected());
    pass(Duration::from_secs(1)).await;
    let _two = start(&server, "two", elected());
    pass(Duration::from_secs(5)).await;
    let stopped = Instant::now();
    one.stop().await;
    assert_eq!(holder(&server), None);
    finish(&server, "d");
    pass(Duration::from_secs(4)).await;
    assert_eq!(holder(&server).as_deref(), Some("two"));
    assert_eq!(ready(&server, "d")["status"], "True");
    assert!(writers(&server).iter().all(|(by, at)| (by == "one") == (*at <= stopped)));
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_taken_over_when_the_lease_has_ended_and_not_before() {
    let server = Server::default();
    declare(&server, "d");
    let one = start(&server, "one", elected());
    pass(Duration::from_secs(1)).await;
    let _two = start(&server, "two", elected());
    pass(Duration::from_secs(20)).await;
    let crashed = Instant::now();
    one.crash();
    finish(&server, "d");
    pass(Duration::from_secs(60)).await;
    let first = writers(&server).into_iter().find(|(by, _)| by == "two").unwrap().1;
    let after = first - crashed;
    assert!(after > Duration::from_secs(12) && after < Duration::from_secs(20), "{after:?}");
    assert_eq!(ready(&server, "d")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_writing_before_another_begins() {
    let server = Server::default();
    for index in 0..20 {
        declare(&server, &format!("d{index}"));
    }
    let _one = start(&server, "one", elected());
    pass(Duration::from_secs(3)).await;
    assert_eq!(holder(&server).as_deref(), Some("one"));
    let _two = start(&server, "two", elected());
    pass(Duration::from_secs(3)).await;
    // The first one's renewals are lost, its other connections are not; there is always something to write.
    server.fail(Fault::new("PUT", "/leases/", usize::MAX, What::Hang).of("one lease"));
    for round in 0..60 {
        for index in 0..20 {
            server.edit(&format!("{DATASETS}/shop/d{index}"), |dataset| {
                dataset["spec"]["source"]["planted"]["seed"] = json!(round);
            });
        }
        pass(Duration::from_secs(1)).await;
    }
    let writers = writers(&server);
    let last_of_one = writers.iter().filter(|(by, _)| by == "one").map(|(_, at)| *at).max().unwrap();
    let first_of_two = writers.iter().filter(|(by, _)| by == "two").map(|(_, at)| *at).min();
    let holder = holder(&server);
    match first_of_two {
        Some(first) => assert!(last_of_one < first, "the first wrote {:?} after the second began", last_of_one - first),
        None => panic!("nobody took over; {holder:?} holds the lease"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_in_flight_does_not_outlive_the_leadership() {
    let server = Server::default();
    declare(&server, "d");
    server.fail(Fault::new("PATCH", "/jobs/job-d", 1, What::Slow(Duration::from_secs(14))));
    server.fail(Fault::new("PUT", "/leases/", usize::MAX, What::Lost));
    let _one = start(&server, "one", elected());
    pass(Duration::from_secs(13)).await;
    assert!(server.names(JOBS).is_empty());
    pass(Duration::from_secs(3)).await;
    assert!(server.names(JOBS).is_empty(), "the write was given up when the lease could have ended");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_ready_and_knows_the_cluster() {
    let server = Server::default();
    declare(&server, "d");
    let _one = start(&server, "one", elected());
    pass(Duration::from_secs(1)).await;
    let two = start(&server, "two", elected());
    pass(Duration::from_secs(5)).await;
    let text = two.telemetry.encode().unwrap();
    assert!(text.contains("recmesh_operator_leader_replicas 0"), "{text}");
    assert!(server.asked().iter().any(|one| one.by == "two" && one.asked.verb() == "WATCH"));
}
