//! What is written while nothing fails: little, once, and again only where another hand has changed what is ours.

use serde_json::json;

use super::{
    server::Server,
    stage::{DATASETS, JOBS, alone, calm, dataset, declare, finish, ready, start},
};

#[tokio::test(start_paused = true)]
async fn a_resource_is_written_at_most_three_times_until_it_is_settled() {
    let server = Server::default();
    for index in 0..50 {
        declare(&server, &format!("d{index}"));
    }
    let _operator = start(&server, "one", alone());
    calm().await;
    for index in 0..50 {
        finish(&server, &format!("d{index}"));
    }
    calm().await;
    for index in 0..50 {
        let name = format!("d{index}");
        assert_eq!(ready(&server, &name)["status"], "True");
        let statuses = server.writes_to(&format!("/datasets/{name}/status"));
        assert!(statuses.len() <= 3, "{name}: {statuses:#?}");
        let job = format!("/jobs/job-{name}");
        assert_eq!(server.writes().iter().filter(|one| one.asked.path.ends_with(&job)).count(), 1);
    }
    let settled = server.writes().len();
    calm().await;
    assert_eq!(server.writes().len(), settled, "nothing has changed, nothing is written");
}

#[tokio::test(start_paused = true)]
async fn a_new_operator_finds_everything_as_it_should_be() {
    let server = Server::default();
    declare(&server, "d");
    let first = start(&server, "first", alone());
    calm().await;
    finish(&server, "d");
    calm().await;
    first.stop().await;
    let settled = server.writes().len();
    let _second = start(&server, "second", alone());
    calm().await;
    assert_eq!(server.writes().len(), settled);
}

#[tokio::test(start_paused = true)]
async fn what_is_wished_no_more_goes() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    for (users, expected) in [(20, json!(60)), (10, json!(null))] {
        calm().await;
        server.edit(&format!("{DATASETS}/shop/d"), |dataset| {
            dataset["spec"]["source"]["planted"]["users"] = json!(users)
        });
        calm().await;
        let job = server.get(&format!("{JOBS}/shop/job-d")).unwrap();
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], expected, "{users} users: {job}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_is_observed() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    server.edit(&format!("{DATASETS}/shop/d"), |dataset| dataset["spec"]["source"]["planted"]["users"] = json!(20));
    calm().await;
    let dataset = server.get(&format!("{DATASETS}/shop/d")).unwrap();
    assert_eq!(dataset["status"]["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_edited_status_is_put_right_whole() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    let path = format!("{DATASETS}/shop/d");
    let before = server.get(&path).unwrap()["status"].clone();
    server.edit(&path, |dataset| {
        dataset["status"]["version"] = json!("0123456789abcdef");
        dataset["status"]["conditions"][0]["status"] = json!("True");
        dataset["status"]["conditions"].as_array_mut().unwrap().push(json!({"type": "Odd", "status": "True",
            "reason": "Edited", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}));
    });
    calm().await;
    let mut after = server.get(&path).unwrap()["status"].clone();
    // The condition was edited to another status, so it changed back now.
    after["conditions"][0]["lastTransitionTime"] = before["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn a_hand_edit_of_what_is_ours_is_put_right_and_of_what_is_not_is_kept() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    let path = format!("{JOBS}/shop/job-d");
    server.edit(&path, |job| {
        job["spec"]["parallelism"] = json!(7);
        job["metadata"]["annotations"] = json!({"team": "search"});
    });
    calm().await;
    let job = server.get(&path).unwrap();
    assert_eq!(job["spec"]["parallelism"], 1);
    assert_eq!(job["metadata"]["annotations"]["team"], "search");
    let writes = server.writes_to("/jobs/job-d").len();
    calm().await;
    assert_eq!((writes, server.writes_to("/jobs/job-d").len()), (2, 2));
}

/// An object is known by its owner: labels that lead elsewhere, or that hide it from our watch, come back.
#[tokio::test(start_paused = true)]
async fn labels_that_a_hand_changes_come_back() {
    for (label, value) in [
        ("recmesh.dev/name", json!("other")),
        ("recmesh.dev/kind", json!("Nothing")),
        ("app.kubernetes.io/managed-by", json!("somebody")),
    ] {
        let server = Server::default();
        declare(&server, "d");
        let _operator = start(&server, "one", alone());
        calm().await;
        let path = format!("{JOBS}/shop/job-d");
        let before = server.get(&path).unwrap()["metadata"]["labels"].clone();
        server.edit(&path, |job| job["metadata"]["labels"][label] = value.clone());
        calm().await;
        assert_eq!(server.get(&path).unwrap()["metadata"]["labels"], before, "{label}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_made_keeps_its_pods_when_the_operator_is_upgraded() {
    let server = Server::default();
    declare(&server, "d");
    start(&server, "old", alone()).stop().await;
    let old = start(&server, "old", alone());
    calm().await;
    old.stop().await;
    let mut newer = alone();
    newer.image.reference = "another".to_owned();
    let _new = start(&server, "new", newer);
    calm().await;
    let job = server.get(&format!("{JOBS}/shop/job-d")).unwrap();
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "image");
    assert_eq!(server.writes_to("/jobs/job-d").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_child_is_made_again_at_once() {
    let server = Server::default();
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    server.delete(&format!("{JOBS}/shop/job-d"));
    calm().await;
    assert!(server.get(&format!("{JOBS}/shop/job-d")).is_some());
    let job = server.get(&format!("{JOBS}/shop/job-d")).unwrap();
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "Dataset");
    assert_eq!(job["metadata"]["ownerReferences"][0]["controller"], true);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_not_touched() {
    let server = Server::default();
    let theirs = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"labels": {"app": "theirs"}},
        "spec": {"template": {}}});
    server.put(&format!("{JOBS}/shop/job-d"), theirs);
    declare(&server, "d");
    let _operator = start(&server, "one", alone());
    calm().await;
    assert!(server.writes_to("/jobs/").is_empty());
    let condition = ready(&server, "d");
    assert_eq!(condition["reason"], "Refused");
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("Job shop/job-d") && message.contains("rename or delete it"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_told_once() {
    let server = Server::default();
    declare(&server, "d");
    let operator = start(&server, "one", alone());
    calm().await;
    server.edit(&format!("{JOBS}/shop/job-d"), |job| job["status"] = json!({"failed": 1}));
    calm().await;
    server.edit(&format!("{JOBS}/shop/job-d"), |job| job["status"] = json!({"failed": 2}));
    calm().await;
    operator.stop().await;
    let again = start(&server, "two", alone());
    calm().await;
    assert_eq!(server.writes_to("/events").len(), 1);
    let text = again.telemetry.encode().unwrap();
    assert!(text.contains("recmesh_operator_reconciles_total{kind=\"Dataset\",result=\"done\"}"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn only_the_watched_namespaces_are_looked_after() {
    let server = Server::default();
    for namespace in ["shop", "media", "other"] {
        server.put(&format!("{DATASETS}/{namespace}/d"), dataset());
    }
    let mut config = alone();
    config.watch_namespaces = vec!["shop".to_owned(), "media".to_owned()];
    let _operator = start(&server, "one", config);
    calm().await;
    assert_eq!(server.names(JOBS).len(), 2);
    let outside = server.asked().into_iter().find(|one| !one.asked.path.contains("/namespaces/"));
    assert!(outside.is_none(), "{outside:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_every_list_is_complete() {
    let server = Server::default();
    declare(&server, "d");
    server.fail(super::server::Fault::new("WATCH", "/poddisruptionbudgets", 1, super::server::What::Hang));
    let _operator = start(&server, "one", alone());
    calm().await;
    assert!(server.writes().is_empty());
}
