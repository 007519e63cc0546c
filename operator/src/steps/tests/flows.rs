//! Lives of a shop: made from nothing, changed while it serves, broken and mended.

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::ConfigMap};
use recmesh_contract::Millis;
use recmesh_crds::{Dataset, Kind, Pipeline, RetrievalModel, TrainingJob};

use super::{
    SHOP,
    cluster::{Cluster, done, subject, told},
};
use crate::{
    here::name_of,
    outcome::ChildKind,
    steps::{affected, rollout::pools_of},
};

/// A shop that serves.
fn open() -> Cluster {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    // Services of training jobs go when these are done.
    cluster.deleted.clear();
    cluster.twice = true;
    cluster
}

fn ready(cluster: &mut Cluster, kind: Kind, name: &str) -> (String, String) {
    let of = if matches!(kind, Kind::TrainingJob | Kind::EvaluationJob) { "Complete" } else { "Ready" };
    let (status, reason, _) = cluster.condition(kind, name, of).unwrap();
    (status, reason)
}

/// The jobs that could go at the same time, as often as some are done.
#[test]
fn a_shop_is_made_in_the_order_of_its_references() {
    let mut cluster = Cluster::with(SHOP);
    cluster.twice = true;
    let mut waves = Vec::new();
    for _ in 0..6 {
        cluster.settle();
        let mut open: Vec<String> = cluster
            .all::<Job>()
            .iter()
            .filter(|job| !done(job))
            .map(|job| job.metadata.labels.as_ref().unwrap()["recmesh.dev/name"].clone())
            .collect();
        open.sort();
        if open.is_empty() {
            break;
        }
        waves.push(open.join(" "));
        cluster.finish_jobs();
    }
    assert_eq!(waves, ["world", "ids popular train-ranker", "train-decoder", "decoder-test"]);
    let all = [
        (Kind::Dataset, "world", "Made"),
        (Kind::Tokenizer, "ids", "Made"),
        (Kind::TrainingJob, "train-decoder", "Made"),
        (Kind::EvaluationJob, "decoder-test", "Passed"),
    ];
    for (kind, name, reason) in all {
        assert_eq!(ready(&mut cluster, kind, name), ("True".to_owned(), reason.to_owned()), "{kind}/{name}");
    }
    assert_eq!(ready(&mut cluster, Kind::RetrievalModel, "decoder"), ("False".to_owned(), "Warming".to_owned()));
    assert_eq!(ready(&mut cluster, Kind::Pipeline, "home"), ("False".to_owned(), "Warming".to_owned()));
    assert!(cluster.route("home").current.is_none(), "nothing answers before it is warm");
    cluster.run();
    for (kind, name) in [(Kind::RetrievalModel, "decoder"), (Kind::RankingModel, "ranker"), (Kind::Pipeline, "home")] {
        assert_eq!(ready(&mut cluster, kind, name), ("True".to_owned(), "Serving".to_owned()), "{kind}/{name}");
    }
    let file = cluster.route("home");
    assert!(file.candidate.is_none() && file.current.is_some());
    let mut gone = cluster.deleted.iter();
    assert!(gone.all(|it| it.kind == ChildKind::Service && it.name.starts_with("tj-")), "{:?}", cluster.deleted);
}

/// Somebody who waits for a pipeline finds ready what it serves, whoever is looked at first.
#[test]
fn a_pipeline_lets_what_it_serves_be_told_ready_first() {
    let mut cluster = Cluster::with(SHOP);
    loop {
        cluster.settle();
        if cluster.finish_jobs() == 0 {
            break;
        }
    }
    let pipeline = subject(Kind::Pipeline, "home");
    while cluster.route("home").current.is_none() {
        cluster.start_workers();
        cluster.gateway("10.0.0.1");
        cluster.look(&pipeline);
    }
    cluster.gateway("10.0.0.1");
    cluster.look(&pipeline);
    let (status, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Warming"), "{message}");
    assert!(message.ends_with("is about to be told ready"), "{message}");
    for (kind, name) in
        [(Kind::RetrievalModel, "decoder"), (Kind::RetrievalModel, "popular"), (Kind::RankingModel, "ranker")]
    {
        let told = subject(kind, name);
        assert!(cluster.look(&told) && affected(&cluster.world, &told).contains(&pipeline), "{told:?}");
    }
    cluster.look(&pipeline);
    assert_eq!(ready(&mut cluster, Kind::Pipeline, "home"), ("True".to_owned(), "Serving".to_owned()));
}

/// Looking only at what a change affects comes to the same end as looking at everything.
#[test]
fn what_a_change_affects_is_enough() {
    let mut cluster = Cluster::with(SHOP);
    let first = cluster.subjects();
    cluster.follow(first);
    for _ in 0..8 {
        let jobs: Vec<Job> = cluster.all::<Job>().into_iter().filter(|job| !done(job)).collect();
        cluster.finish_jobs();
        let owners = jobs.iter().map(|job| {
            let labels = job.metadata.labels.as_ref().unwrap();
            subject(Kind::parse(&labels["recmesh.dev/kind"]).unwrap(), &labels["recmesh.dev/name"])
        });
        cluster.follow(owners.collect());
        cluster.start_workers();
        cluster.gateway("10.0.0.1");
        let owners = [
            (Kind::Pipeline, "home"),
            (Kind::Tokenizer, "ids"),
            (Kind::RetrievalModel, "decoder"),
            (Kind::RetrievalModel, "popular"),
            (Kind::RankingModel, "ranker"),
        ];
        cluster.follow(owners.map(|(kind, name)| subject(kind, name)).to_vec());
    }
    assert_eq!(ready(&mut cluster, Kind::Pipeline, "home"), ("True".to_owned(), "Serving".to_owned()));
    let late = cluster.settle();
    assert!(late.is_empty(), "nobody was forgotten: {late:?}");
}

#[test]
fn done_jobs_may_go_and_never_run_again() {
    let mut cluster = open();
    let jobs = cluster.all::<Job>();
    assert_eq!(jobs.len(), 6);
    assert!(jobs.iter().all(|job| job.spec.as_ref().unwrap().ttl_seconds_after_finished == Some(86_400)));
    for job in &jobs {
        cluster.delete::<Job>(name_of(job));
    }
    let writes = cluster.settle();
    assert!(writes.is_empty() && cluster.all::<Job>().is_empty(), "{writes:?}");
}

#[test]
fn another_configuration_is_another_job_and_the_old_one_goes() {
    let mut cluster = Cluster::with(SHOP);
    cluster.settle();
    let first = cluster.all::<Job>();
    cluster.edit::<Dataset>("world", |it| {
        let recmesh_contract::config::Source::Planted(world) = &mut it.spec.params.source else { panic!() };
        world.users = 200;
    });
    cluster.settle();
    let second = cluster.all::<Job>();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(name_of(&first[0]), name_of(&second[0]));
    assert_eq!(cluster.deleted.len(), 1);
}

#[test]
fn a_new_version_takes_over_when_it_is_warm_and_the_old_one_goes_when_nobody_asks_it() {
    let mut cluster = open();
    let old = cluster.route("home").current.unwrap();
    cluster.edit::<TrainingJob>("train-decoder", |it| it.spec.training.epochs = 9);
    cluster.settle();
    let message = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!((message.0.as_str(), message.1.as_str()), ("False", "WaitingForTrainingJob"), "{}", message.2);
    assert!(message.2.contains("keeps answering"), "{}", message.2);
    assert_eq!(cluster.condition(Kind::Pipeline, "home", "Serving").unwrap().0, "True");
    let other = cluster.condition(Kind::RankingModel, "ranker", "Ready").unwrap();
    assert_eq!(other.0, "True", "the ranker is what it should be: {}", other.2);

    cluster.finish_jobs();
    cluster.settle();
    let file = cluster.route("home");
    assert_eq!(file.current, Some(old.clone()));
    let new = file.candidate.clone().unwrap();
    assert_ne!(new.retrieve, old.retrieve);
    assert_eq!(new.rank, old.rank, "the ranker's pool is shared");
    cluster.gateway("10.0.0.1");
    cluster.gateway("10.0.0.2");
    cluster.settle();
    assert_eq!(cluster.route("home").current, Some(old.clone()), "the new workers are not ready");

    cluster.start_workers();
    cluster.gateway("10.0.0.1");
    cluster.settle();
    assert_eq!(cluster.route("home").current, Some(old.clone()), "one gateway has not warmed it");
    cluster.gateway("10.0.0.2");
    cluster.settle();
    assert_eq!(cluster.route("home").current, Some(new.clone()));
    assert!(cluster.get::<Deployment>(old.retrieve.as_str()).is_some(), "gateways may still ask the old one");
    cluster.gateway("10.0.0.1");
    cluster.settle();
    assert!(cluster.get::<Deployment>(old.retrieve.as_str()).is_some(), "one gateway still does");
    cluster.gateway("10.0.0.2");
    cluster.settle();
    for kind in [ChildKind::Deployment, ChildKind::Service, ChildKind::ConfigMap, ChildKind::PodDisruptionBudget] {
        assert!(cluster.deleted.iter().any(|it| it.kind == kind && it.name == old.retrieve.as_str()), "{kind:?}");
    }
    assert_eq!(cluster.deleted.iter().filter(|it| it.kind == ChildKind::Deployment).count(), 1);
    assert_eq!(ready(&mut cluster, Kind::Pipeline, "home"), ("True".to_owned(), "Serving".to_owned()));
}

#[test]
fn a_version_that_never_warms_takes_no_request_and_a_revert_drops_it() {
    let mut cluster = open();
    let old = cluster.route("home").current.unwrap();
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.pool.engines = 3);
    cluster.settle();
    cluster.gateway("10.0.0.1");
    cluster.gateway("10.0.0.2");
    cluster.settle();
    let file = cluster.route("home");
    assert_eq!(file.current, Some(old.clone()));
    let failed = file.candidate.unwrap();
    assert_ne!(failed.release.name, old.release.name, "the same models in other pools are another release");
    let (status, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "RollingOut"), "{message}");
    assert!(message.contains(failed.retrieve.as_str()) && message.contains(&old.release.name), "{message}");

    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.pool.engines = 1);
    cluster.settle();
    let file = cluster.route("home");
    assert_eq!((file.current, file.candidate), (Some(old), None));
    assert!(cluster.told.contains(&"Reverted"));
    cluster.gateway("10.0.0.1");
    cluster.gateway("10.0.0.2");
    cluster.settle();
    assert!(cluster.get::<Deployment>(failed.retrieve.as_str()).is_none(), "nothing needs the failed one");
    assert_eq!(ready(&mut cluster, Kind::Pipeline, "home").0, "True");
}

#[test]
fn how_requests_are_treated_changes_at_once() {
    let mut cluster = open();
    let old = cluster.route("home").current.unwrap();
    cluster.edit::<Pipeline>("home", |it| it.spec.route.deadline = Millis(900));
    cluster.settle();
    let file = cluster.route("home");
    let new = file.current.unwrap();
    assert_eq!((new.params.deadline, file.candidate), (Millis(900), None));
    assert_eq!(new.release, old.release);
}

#[test]
fn an_invalid_edit_takes_nothing_down() {
    let mut cluster = open();
    let (file, workloads) = (cluster.route("home"), cluster.all::<Deployment>());
    cluster.edit::<RetrievalModel>("decoder", |it| {
        let recmesh_contract::config::RetrievalAlgorithm::LazyDecoder(it) = &mut it.spec.algorithm else { panic!() };
        it.heads = 5;
    });
    cluster.settle();
    let (status, reason, message) = cluster.condition(Kind::RetrievalModel, "decoder", "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Invalid"));
    assert!(message.starts_with("spec.algorithm.lazyDecoder.heads: "), "{message}");
    let (_, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!(reason, "ReferenceInvalid");
    assert!(message.starts_with("RetrievalModel/decoder: spec.algorithm.lazyDecoder.heads: "), "{message}");
    assert_eq!(cluster.route("home"), file);
    assert_eq!(cluster.all::<Deployment>(), workloads);
    assert!(cluster.deleted.is_empty());
    // It can still be scaled.
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.replicas = 5);
    cluster.settle();
    let pool = file.current.unwrap().retrieve;
    assert_eq!(cluster.get::<Deployment>(pool.as_str()).unwrap().spec.replicas, Some(5));
}

#[test]
fn what_is_deleted_under_a_pipeline_is_told_and_keeps_serving() {
    let mut cluster = open();
    cluster.delete::<TrainingJob>("train-decoder");
    cluster.settle();
    let (_, reason, message) = cluster.condition(Kind::RetrievalModel, "decoder", "Ready").unwrap();
    assert_eq!(reason, "WaitingForTrainingJob");
    assert!(message.contains("make a TrainingJob") && message.contains("keep serving"), "{message}");
    cluster.delete::<Dataset>("world");
    cluster.settle();
    let (_, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!(reason, "ReferenceMissing");
    assert!(message.contains("there is no Dataset world in namespace shop"), "{message}");
    assert!(message.contains("keeps answering"), "{message}");
    assert!(cluster.deleted.is_empty() && cluster.route("home").current.is_some());
}

#[test]
fn objects_that_are_deleted_by_hand_come_back() {
    let mut cluster = open();
    let file = cluster.route("home");
    let names: Vec<String> = cluster.all::<Deployment>().iter().map(|it| name_of(it).to_owned()).collect();
    for name in &names {
        cluster.delete::<Deployment>(name);
        cluster.delete::<ConfigMap>(name);
    }
    cluster.delete::<ConfigMap>("home-route");
    cluster.settle();
    assert_eq!(cluster.route("home"), file, "what answered answers at once, without warming again");
    let back: Vec<String> = cluster.all::<Deployment>().iter().map(|it| name_of(it).to_owned()).collect();
    assert_eq!(back, names);
    assert_eq!(cluster.all::<ConfigMap>().len(), names.len() + 1);
}

#[test]
fn without_gateways_nothing_moves_and_nothing_goes() {
    let mut cluster = open();
    let old = cluster.route("home");
    cluster.world.told.put_gateways(std::collections::BTreeMap::new());
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.pool.engines = 3);
    cluster.settle();
    cluster.start_workers();
    cluster.settle();
    assert_eq!(cluster.route("home").current, old.current);
    let (_, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!(reason, "NoGateway", "{message}");
    assert!(cluster.deleted.is_empty());
    cluster.gateway("10.0.0.1");
    cluster.settle();
    assert_ne!(cluster.route("home").current, old.current);
}

#[test]
fn two_pipelines_share_pools_and_the_last_one_lets_go() {
    let twin = SHOP.split("---\n").last().unwrap().replace("name: home", "name: twin");
    let mut cluster = Cluster::with(&format!("{SHOP}---\n{twin}"));
    cluster.run();
    let (home, twin) = (cluster.route("home").current.unwrap(), cluster.route("twin").current.unwrap());
    assert_eq!(pools_of(&home).collect::<Vec<_>>(), pools_of(&twin).collect::<Vec<_>>());
    assert_ne!(home.release.name, twin.release.name);
    for name in ["home", "twin"] {
        assert_eq!(cluster.all::<Deployment>().len(), 4);
        cluster.delete::<Pipeline>(name);
        cluster.settle();
        assert_eq!(cluster.all::<Deployment>().len(), 4, "gateways may still send there");
        // The garbage collector follows the owner.
        cluster.delete::<ConfigMap>(&format!("{name}-route"));
        cluster.gateway("10.0.0.1");
        cluster.gateway("10.0.0.2");
        cluster.settle();
    }
    assert!(cluster.all::<Deployment>().is_empty());
    let (status, reason, _) = cluster.condition(Kind::RankingModel, "ranker", "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Made"));
}

#[test]
fn weights_are_swapped_in_place_within_the_same_workers() {
    let shop = SHOP.replace("  replicas: 2", "  replicas: 2\n  rollout: inPlace");
    let mut cluster = Cluster::with(&shop);
    cluster.run();
    cluster.deleted.clear();
    let old = cluster.route("home");
    let pool = old.current.clone().unwrap().retrieve;
    assert_eq!(old.pools[&pool].service.as_str(), "retrieve-decoder");
    let before = cluster.get::<Deployment>("retrieve-decoder").unwrap();
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.pool.engines = 3);
    cluster.settle();
    let map = cluster.get::<ConfigMap>("retrieve-decoder").unwrap();
    let listed = &map.data.as_ref().unwrap()["config.json"];
    let new = cluster.route("home").candidate.unwrap().retrieve;
    assert!(listed.contains(pool.as_str()) && listed.contains(new.as_str()), "both are loaded: {listed}");
    let after = cluster.get::<Deployment>("retrieve-decoder").unwrap();
    assert_eq!(before.spec, after.spec, "no pod is replaced");
    cluster.run();
    assert_eq!(cluster.route("home").current.unwrap().retrieve, new);
    let map = cluster.get::<ConfigMap>("retrieve-decoder").unwrap();
    assert!(!map.data.as_ref().unwrap()["config.json"].contains(pool.as_str()), "the old one is dropped");
    assert!(cluster.deleted.is_empty());

    // From there to workers of its own, and back.
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.rollout = Default::default());
    cluster.run();
    let surged = cluster.route("home").current.unwrap().retrieve;
    assert!(cluster.get::<Deployment>(surged.as_str()).is_some());
    assert!(cluster.get::<Deployment>("retrieve-decoder").is_none());
}

#[test]
fn another_way_of_running_is_rolled_out_like_another_version() {
    let mut cluster = open();
    let old = cluster.route("home").current.unwrap().retrieve;
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.affinity = recmesh_contract::config::Affinity::User);
    cluster.settle();
    let new = cluster.route("home").candidate.unwrap().retrieve;
    assert!(cluster.get::<k8s_openapi::api::apps::v1::StatefulSet>(new.as_str()).is_some());
    assert!(cluster.get::<Deployment>(old.as_str()).is_some());
    cluster.run();
    assert_eq!(cluster.route("home").current.unwrap().retrieve, new);
    assert!(cluster.get::<Deployment>(old.as_str()).is_none());
}

#[test]
fn what_another_controller_manages_is_left_alone() {
    let shop = SHOP.replace("epochs: 3}", "epochs: 3, managedBy: kueue.x-k8s.io/multikueue}");
    let mut cluster = Cluster::with(&shop);
    cluster.run();
    let outcome = cluster.reconcile(Kind::TrainingJob, "train-decoder");
    assert!(outcome.status.is_none() && outcome.apply.is_empty() && outcome.delete.is_empty());
    assert!(cluster.all::<Job>().iter().all(|job| told(job).name.as_str() != "decoder"));
    let (_, reason, _) = cluster.condition(Kind::RetrievalModel, "decoder", "Ready").unwrap();
    assert_eq!(reason, "WaitingForTrainingJob");
}

#[test]
fn the_older_of_two_training_jobs_trains() {
    let second = "---
apiVersion: recmesh.dev/v1alpha1
kind: TrainingJob
metadata: {name: another}
spec: {modelRef: {kind: RetrievalModel, name: decoder}, epochs: 3}
";
    let mut cluster = Cluster::with(&format!("{SHOP}{second}"));
    cluster.run();
    let (_, reason, message) = cluster.condition(Kind::TrainingJob, "another", "Complete").unwrap();
    assert_eq!(reason, "Invalid");
    let expected = "spec.modelRef.name: decoder is trained by TrainingJob/train-decoder already: keep one of the two";
    assert_eq!(message, expected);
    assert_eq!(ready(&mut cluster, Kind::RetrievalModel, "decoder").0, "True");
}
