//! What the operator does when the API server, or the way to it, fails.

use std::time::Duration;

use serde_json::json;

use super::{
    server::{Fault, Server, What, pass},
    stage::{DATASETS, JOBS, alone, calm, declare, finish, ready, start},
};

/// After a fault of this kind a data set still gets its Job and its status.
async fn survives(fault: Fault) -> Server {
    let server = Server::default();
    declare(&server, "d");
    server.fail(fault);
    let _operator = start(&server, "one", alone());
    pass(Duration::from_secs(120)).await;
    finish(&server, "d");
    pass(Duration::from_secs(120)).await;
    assert!(server.failed_all(), "the fault has not happened");
    assert_eq!(ready(&server, "d")["status"], "True");
    assert_eq!(server.names(JOBS), ["job-d"]);
    server
}

#[tokio::test(start_paused = true)]
async fn conflicts() {
    let server = survives(Fault::conflict("/jobs/job-d", 3)).await;
    let writes = server.writes_to("/jobs/job-d");
    assert_eq!(writes.len(), 4);
    assert!(writes[3].at - writes[0].at < Duration::from_secs(2), "a conflict is tried again soon");
}

#[tokio::test(start_paused = true)]
async fn conflicts_of_statuses() {
    survives(Fault::conflict("/datasets/d/status", 3)).await;
}

#[tokio::test(start_paused = true)]
async fn internal_errors_are_tried_again_more_and_more_seldom() {
    let server = survives(Fault::internal("/jobs/job-d", 5)).await;
    let at: Vec<_> = server.writes_to("/jobs/job-d").iter().map(|one| one.at).collect();
    let (first, last) = (at[1] - at[0], at[5] - at[4]);
    assert!(first < Duration::from_millis(500) && last > first * 4, "{first:?}, then {last:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wish_to_be_left_alone_is_honoured() {
    let server = survives(Fault::new("PATCH", "/jobs/job-d", 1, What::Throttle(7))).await;
    let at: Vec<_> = server.writes_to("/jobs/job-d").iter().map(|one| one.at).collect();
    assert_eq!((at[1] - at[0]).as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_was_just_established() {
    survives(Fault::not_yet("WATCH", "/datasets", 2)).await;
    survives(Fault::not_yet("PATCH", "/datasets/d/status", 2)).await;
}

#[tokio::test(start_paused = true)]
async fn lost_connections() {
    survives(Fault::new("PATCH", "/jobs/job-d", 1, What::Lost)).await;
    survives(Fault::new("PATCH", "/jobs/job-d", 1, What::LostAfter)).await;
    survives(Fault::new("PATCH", "/datasets/d/status", 1, What::LostAfter)).await;
    survives(Fault::new("WATCH", "/jobs", 2, What::Lost)).await;
    survives(Fault::new("GET", "/jobs/job-d", 1, What::Lost)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes() {
    survives(Fault::new("PATCH", "/jobs/job-d", 1, What::Hang)).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_watch_delays_and_repeats_nothing() {
    let server = survives(Fault::new("WATCH", "/jobs", 1, What::Slow(Duration::from_secs(20)))).await;
    assert_eq!(server.writes_to("/jobs/job-d").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn watches_that_are_cut_miss_nothing() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    server.cut_watches();
    finish(&server, "d");
    declare(&server, "e");
    pass(Duration::from_secs(60)).await;
    assert_eq!(ready(&server, "d")["status"], "True");
    assert_eq!(ready(&server, "e")["reason"], "JobRunning");
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_is_listed_anew_with_its_deletions() {
    let server = Server::default();
    for name in ["d", "e"] {
        declare(&server, name);
    }
    let _operator = start(&server, "one", alone());
    calm().await;
    server.cut_watches();
    server.delete(&format!("{JOBS}/shop/job-d"));
    finish(&server, "e");
    server.compact();
    pass(Duration::from_secs(60)).await;
    assert_eq!(server.names(JOBS), ["job-d", "job-e"], "the deletion was seen in the list");
    assert_eq!(ready(&server, "e")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_becomes_a_condition_and_is_tried_again() {
    let server = Server::default();
    declare(&server, "d");
    server.fail(Fault::refused("/jobs/job-d", 1));
    let _operator = start(&server, "one", alone());
    calm().await;
    let condition = ready(&server, "d");
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Refused")));
    assert!(condition["message"].as_str().unwrap().contains("exceeded quota"), "{condition}");
    pass(Duration::from_secs(70)).await;
    assert_eq!(ready(&server, "d")["reason"], "JobRunning");
    assert_eq!(server.names(JOBS), ["job-d"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_ending_is_left_alone() {
    let server = Server::default();
    declare(&server, "d");
    server.terminate("shop");
    let _operator = start(&server, "one", alone());
    pass(Duration::from_secs(300)).await;
    assert_eq!(server.writes().len(), 1, "{:#?}", server.writes());
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_cannot_be_read_says_so_and_holds_up_nobody() {
    let server = Server::default();
    declare(&server, "d");
    server.put(
        &format!("{DATASETS}/shop/broken"),
        json!({"apiVersion": "recmesh.dev/v1alpha1", "kind": "Dataset",
        "metadata": {}, "spec": {"source": {"telepathy": {}}, "split": 7}}),
    );
    let operator = start(&server, "one", alone());
    pass(Duration::from_secs(30)).await;
    assert_eq!(ready(&server, "d")["reason"], "JobRunning");
    let condition = ready(&server, "broken");
    assert_eq!(condition["reason"], "Unreadable");
    assert_eq!(server.writes_to("/datasets/broken/status").len(), 1);
    operator.stop().await;
    // Another operator finds that it has been said.
    let _again = start(&server, "two", alone());
    pass(Duration::from_secs(30)).await;
    assert_eq!(server.writes_to("/datasets/broken/status").len(), 1);
    // Corrected, it is as any other.
    let good = super::stage::dataset()["spec"].clone();
    server.edit(&format!("{DATASETS}/shop/broken"), |broken| broken["spec"] = good);
    pass(Duration::from_secs(30)).await;
    assert_eq!(ready(&server, "broken")["reason"], "JobRunning");
}

#[tokio::test(start_paused = true)]
async fn what_was_readable_goes_on_when_it_no_longer_is() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    server.edit(&format!("{DATASETS}/shop/d"), |dataset| dataset["spec"] = json!({"source": 1, "split": 2}));
    calm().await;
    assert_eq!(ready(&server, "d")["reason"], "Unreadable");
    assert_eq!(server.names(JOBS), ["job-d"]);
}
