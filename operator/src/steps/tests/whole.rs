//! Anything happens in any order: the rules that must hold all the same.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use proptest::prelude::*;
use recmesh_contract::config::{RouteFile, RoutesReport};
use recmesh_crds::{Kind, RetrievalModel, TrainingJob};

use super::cluster::{Cluster, subject};
use crate::steps::rollout::{Gateways, pools_of};

/// A small shop: lives are many.
const SHOP: &str = "
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec: {source: {planted: {users: 100, items: 60}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: Tokenizer
metadata: {name: ids}
spec: {datasetRef: {name: world}, algorithm: {atomic: {}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: sas}
spec: {datasetRef: {name: world}, algorithm: {sasRec: {dim: 16, heads: 4}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: TrainingJob
metadata: {name: train}
spec: {modelRef: {kind: RetrievalModel, name: sas}, epochs: 3}
---
apiVersion: recmesh.dev/v1alpha1
kind: Pipeline
metadata: {name: home}
spec: {tokenizerRef: {name: ids}, retrieve: {modelRef: {name: sas}}}
";

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// Somebody looks at one resource.
    Look(usize),
    /// The model's pools change.
    Engines(u32),
    /// The model is trained otherwise.
    Epochs(u32),
    /// The model is written as it cannot be, or as it can.
    Heads(u32),
    /// Jobs end.
    Jobs,
    /// Workers that there are become ready.
    Workers,
    /// A gateway reads the routes as they are.
    Gateway(u8),
    /// A gateway does not answer.
    Silent(u8),
    /// A gateway goes.
    Gone(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        12 => (0..5usize).prop_map(Happens::Look),
        2 => (1..4u32).prop_map(Happens::Engines),
        1 => (1..4u32).prop_map(Happens::Epochs),
        1 => prop_oneof![Just(4u32), Just(5)].prop_map(Happens::Heads),
        2 => Just(Happens::Jobs),
        3 => Just(Happens::Workers),
        4 => (0..3u8).prop_map(Happens::Gateway),
        1 => (0..3u8).prop_map(Happens::Silent),
        1 => (0..3u8).prop_map(Happens::Gone),
    ]
}

fn happen(cluster: &mut Cluster, what: Happens) {
    let address = |gateway: u8| format!("10.0.0.{gateway}");
    match what {
        Happens::Look(which) => {
            let all = cluster.subjects();
            cluster.look(&all[which % all.len()]);
        }
        Happens::Engines(engines) => {
            cluster.edit::<RetrievalModel>("sas", |it| it.spec.pool.engines = engines);
        }
        Happens::Epochs(epochs) => {
            cluster.edit::<TrainingJob>("train", |it| it.spec.training.epochs = epochs);
        }
        Happens::Heads(heads) => cluster.edit::<RetrievalModel>("sas", |it| {
            if let recmesh_contract::config::RetrievalAlgorithm::SasRec(it) = &mut it.spec.algorithm {
                it.heads = heads;
            }
        }),
        Happens::Jobs => {
            cluster.finish_jobs();
        }
        Happens::Workers => cluster.start_workers(),
        Happens::Gateway(gateway) => cluster.gateway(&address(gateway)),
        Happens::Silent(gateway) => {
            let mut all = cluster.world.told.gateways().as_ref().clone();
            if let Some(report) = all.get_mut(&address(gateway)) {
                *report = None;
            }
            cluster.world.told.put_gateways(all);
        }
        Happens::Gone(gateway) => {
            let mut all = cluster.world.told.gateways().as_ref().clone();
            all.remove(&address(gateway));
            cluster.world.told.put_gateways(all);
        }
    }
}

/// The pools that requests may go to: those of every route, and those that some gateway still sends requests to.
fn needed(cluster: &mut Cluster, seen: &[RouteFile]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in cluster.routes() {
        for route in file.current.iter().chain(&file.candidate) {
            all.extend(pools_of(route).map(ToString::to_string));
        }
    }
    let reports = cluster.world.told.gateways();
    let served: Vec<String> = reports
        .values()
        .flatten()
        .flat_map(|report: &RoutesReport| &report.releases)
        .filter(|it| it.serving)
        .map(|it| it.release.clone())
        .collect();
    for route in seen.iter().flat_map(|file| file.current.iter().chain(&file.candidate)) {
        if served.contains(&route.release.name) {
            all.extend(pools_of(route).map(ToString::to_string));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_never_go_where_nobody_is(life in prop::collection::vec(happens(), 1..60)) {
        let mut cluster = Cluster::with(SHOP);
        cluster.run();
        let mut seen = cluster.routes();
        for what in life {
            let before = cluster.route("home");
            let gateways = Gateways { reports: cluster.world.told.gateways() };
            let needed = needed(&mut cluster, &seen);
            let gone = cluster.deleted.len();
            happen(&mut cluster, what);
            let after = cluster.route("home");
            let (old, new) = (before.current.as_ref().unwrap(), after.current.as_ref().unwrap());
            if old.release.name != new.release.name {
                prop_assert!(gateways.all_warmed("shop", &new.release.name), "{what:?}: {} was not warm", new.release.name);
                let candidate = before.candidate.as_ref().map(|it| it.release.name.as_str());
                prop_assert_eq!(candidate, Some(new.release.name.as_str()), "only what was announced is promoted");
            }
            for child in &cluster.deleted[gone..] {
                prop_assert!(!needed.contains(&child.name), "{:?}: {} is needed", what, child.name);
            }
            for route in after.current.iter().chain(&after.candidate) {
                for pool in pools_of(route) {
                    prop_assert!(after.pools.contains_key(pool), "gateways know where {pool} is");
                }
            }
            seen.push(after);
        }
        // Whatever happened, it ends as if nothing had.
        cluster.world.told.put_gateways(std::collections::BTreeMap::new());
        happen(&mut cluster, Happens::Heads(4));
        happen(&mut cluster, Happens::Engines(1));
        happen(&mut cluster, Happens::Epochs(3));
        cluster.run();
        let mut calm = Cluster::with(SHOP);
        calm.run();
        prop_assert_eq!(cluster.route("home"), calm.route("home"));
        let names = |cluster: &mut Cluster| -> Vec<Option<String>> {
            let workloads = cluster.all::<Deployment>().into_iter().map(|it| it.metadata.name);
            let maps = cluster.all::<ConfigMap>();
            workloads.chain(maps.into_iter().map(|it| it.metadata.name)).collect()
        };
        prop_assert_eq!(names(&mut cluster), names(&mut calm), "nothing is left over");
        for (kind, name) in [(Kind::RetrievalModel, "sas"), (Kind::Pipeline, "home")] {
            let (status, reason, message) = cluster.condition(kind, name, "Ready").unwrap();
            prop_assert_eq!((status.as_str(), reason.as_str()), ("True", "Serving"), "{}", message);
        }
        prop_assert!(cluster.settle().is_empty());
        prop_assert!(crate::steps::reconcile(&cluster.world, &subject(Kind::Pipeline, "nobody")).is_none());
    }
}
