//! New versions of a model while callers ask: traffic moves when they are warm, and not before.

use serde_json::json;

use super::{
    installation::{Installation, PATIENCE, RETRIEVERS, release},
    load::Load,
    pods,
};
use crate::harness::{condition, is};

const PIPELINES: [&str; 2] = ["home", "plain"];
const JOB: &str = "train-retriever";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_without_a_failed_request() {
    let it = Installation::serving().await;
    let before = it.served(|_| true).await;
    let load = Load::start(it.address().await, &PIPELINES);
    load.more(5).await;
    let began = std::time::Instant::now();
    it.change("TrainingJob", JOB, &[("/spec/seed", json!(1))]).await;
    let after = it.served(|release| release != before).await;
    println!("measured: another seed is trained, warmed and served in {:.0} s", began.elapsed().as_secs_f64());
    load.more(10).await;
    // Workers of the version before are no longer needed.
    pods::all_ready(&it.space, RETRIEVERS, 2).await;
    load.more(5).await;
    let began = std::time::Instant::now();
    it.change("TrainingJob", JOB, &[]).await;
    let back = it.served(|release| release != after).await;
    assert_eq!(back, before, "reverting ends where it began");
    println!("measured: the seed before is served again in {:.0} s", began.elapsed().as_secs_f64());
    load.more(5).await;
    pods::all_ready(&it.space, RETRIEVERS, 2).await;
    let tally = load.end();
    tally.print("a new version rolled out and back");
    tally.assert_undisturbed();
    let home: Vec<&String> = tally.releases.iter().filter(|release| release.starts_with("home@")).collect();
    assert_eq!(home.len(), 2, "{home:?}");
    assert_eq!(tally.switches, 2, "there and back, and nothing in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_work_never_takes_a_request() {
    let it = Installation::serving().await;
    let before = it.served(|_| true).await;
    let load = Load::start(it.address().await, &PIPELINES);
    load.more(5).await;
    // No node has so much memory.
    it.change(
        "RetrievalModel",
        "retriever",
        &[("/spec/replicas", json!(2)), ("/spec/pod/requests/memory", json!("900Gi"))],
    )
    .await;
    it.change("TrainingJob", JOB, &[("/spec/seed", json!(2))]).await;
    let told = it
        .space
        .watch("Pipeline", kube::runtime::watcher::Config::default(), "home tells why it waits", PATIENCE, |held| {
            held.get("home").is_some_and(|home| condition(home, "Ready") == ("False", "Unschedulable"))
        })
        .await;
    let home = &told["home"];
    assert_eq!(release(home), before, "the release before goes on");
    let conditions = &home.data["status"]["conditions"];
    println!("{}", serde_yaml::to_string(conditions).unwrap());
    assert!(conditions.to_string().contains("keeps answering"), "{conditions}");
    load.more(20).await;
    it.change("TrainingJob", JOB, &[]).await;
    it.change("RetrievalModel", "retriever", &[]).await;
    assert_eq!(it.served(|_| true).await, before);
    pods::all_ready(&it.space, RETRIEVERS, 2).await;
    it.space
        .when("RetrievalModel", "retriever", "is ready again", |it| it.is_some_and(|it| is(it, "Ready", "True")))
        .await;
    load.more(5).await;
    let tally = load.end();
    tally.print("a version that no node takes, and back");
    tally.assert_undisturbed();
    assert_eq!(tally.releases.len(), 2, "one release of each pipeline: {:?}", tally.releases);
    assert_eq!(tally.switches, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_in_place_keeps_the_pods() {
    let it = Installation::serving().await;
    let surge = it.served(|_| true).await;
    let load = Load::start(it.address().await, &PIPELINES);
    load.more(5).await;
    let in_place = [("/spec/rollout", json!("inPlace"))];
    it.change("RetrievalModel", "retriever", &in_place).await;
    let before = it.served(|release| release != surge).await;
    pods::all_ready(&it.space, RETRIEVERS, 2).await;
    let lives = pods::lives(&it.space, RETRIEVERS).await;
    let began = std::time::Instant::now();
    it.change("TrainingJob", JOB, &[("/spec/seed", json!(3))]).await;
    it.served(|release| release != before).await;
    println!("measured: another seed is trained and swapped in place in {:.0} s", began.elapsed().as_secs_f64());
    load.more(10).await;
    assert_eq!(pods::lives(&it.space, RETRIEVERS).await, lives, "the same pods, none started again");
    it.change("TrainingJob", JOB, &[]).await;
    it.change("RetrievalModel", "retriever", &[]).await;
    assert_eq!(it.served(|release| release == surge).await, surge);
    load.more(5).await;
    pods::all_ready(&it.space, RETRIEVERS, 2).await;
    let tally = load.end();
    tally.print("weights swapped in place, and back");
    tally.assert_undisturbed();
    assert_eq!(tally.switches, 3, "workers of their own, other weights in these, and back");
}
