//! Pods and processes that are lost while callers ask: nobody's question is.

use super::{
    client::Connections,
    installation::{GATEWAYS, Installation, OPERATORS, RETRIEVERS},
    load::{CALLERS, Load, Tally},
    pods,
};
use crate::harness::Space;

/// Answers that each caller gets before, between and after what happens.
const BETWEEN: u64 = 10;
/// Labels of the ranker's workers.
const RANKERS: &str = "app.kubernetes.io/component=worker,recmesh.dev/name=ranker";
/// Labels of the tokenizer's workers.
const TOKENIZERS: &str = "app.kubernetes.io/component=worker,recmesh.dev/name=ids";

async fn serving() -> Installation {
    let it = Installation::serving().await;
    for labels in [OPERATORS, GATEWAYS, RETRIEVERS, RANKERS, TOKENIZERS] {
        pods::all_ready(&it.space, labels, 2).await;
    }
    it
}

async fn under_load(it: &Installation, what: &str, happens: impl AsyncFnOnce(&Space)) -> Tally {
    let load = Load::start(it.address().await, &["home", "plain"]);
    load.more(BETWEEN).await;
    happens(&it.space).await;
    load.more(BETWEEN).await;
    let tally = load.end();
    tally.print(what);
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_pods_lose_nothing() {
    let it = serving().await;
    for (what, labels) in [
        ("nothing happens", None),
        ("a retriever's worker pod is deleted", Some(RETRIEVERS)),
        ("a ranker's worker pod is deleted", Some(RANKERS)),
        ("a tokenizer's worker pod is deleted", Some(TOKENIZERS)),
        ("a gateway pod is deleted", Some(GATEWAYS)),
        ("the operator pod that leads is deleted", Some(OPERATORS)),
    ] {
        let happens = async |space: &Space| {
            if let Some(labels) = labels {
                pods::delete_one(space, labels).await;
            }
        };
        under_load(&it, what, happens).await.assert_undisturbed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_cost_at_most_a_connection() {
    let it = serving().await;
    for (what, labels) in [
        ("a retriever's worker is killed", RETRIEVERS),
        ("a ranker's worker is killed", RANKERS),
        ("a gateway is killed", GATEWAYS),
        ("the operator that leads is killed", OPERATORS),
    ] {
        let tally = under_load(&it, what, async |space: &Space| pods::kill_one(space, labels).await).await;
        if labels == GATEWAYS {
            tally.assert_right();
            let Connections { lost, .. } = tally.connections;
            assert!((1..=CALLERS as u64).contains(&lost), "{lost} connections of {CALLERS} callers were lost");
        } else {
            tally.assert_undisturbed();
        }
    }
}
