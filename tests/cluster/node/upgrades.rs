//! The chart is upgraded and rolled back while callers ask.

use super::{
    installation::{CLAIM, GATEWAYS, Installation, OPERATORS},
    load::Load,
    pods,
};
use crate::harness::RELEASE;

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_and_rollback_keep_answering() {
    let it = Installation::serving().await;
    let before: Vec<String> = pods::lives(&it.space, GATEWAYS).await.into_keys().collect();
    let load = Load::start(it.address().await, &["home", "plain"]);
    load.more(5).await;
    let claim = format!("store.claim={CLAIM}");
    // Every pod of the chart is replaced.
    let values = ["gateway.podAnnotations.round=two", "operator.podAnnotations.round=two"];
    let mut words = vec!["upgrade", RELEASE, "charts/recmesh", "--wait", "--timeout", "3m", "--set", &claim];
    values.iter().for_each(|value| words.extend(["--set", value]));
    it.helm(&words).good();
    for labels in [GATEWAYS, OPERATORS] {
        pods::all_ready(&it.space, labels, 2).await;
    }
    let between: Vec<String> = pods::lives(&it.space, GATEWAYS).await.into_keys().collect();
    assert!(between.iter().all(|pod| !before.contains(pod)), "{between:?} are not new");
    load.more(5).await;
    it.helm(&["rollback", RELEASE, "--wait", "--timeout", "3m"]).good();
    for labels in [GATEWAYS, OPERATORS] {
        pods::all_ready(&it.space, labels, 2).await;
    }
    let after: Vec<String> = pods::lives(&it.space, GATEWAYS).await.into_keys().collect();
    assert!(after.iter().all(|pod| !between.contains(pod)), "{after:?} are not new");
    load.more(5).await;
    let tally = load.end();
    tally.print("helm upgrade and helm rollback, every pod of the chart replaced twice");
    tally.assert_undisturbed();
    assert_eq!(tally.releases.len(), 2, "one release of each pipeline");
    it.served(|_| true).await;
    it.helm(&["test", RELEASE, "--timeout", "2m"]).good();
}
