//! Jobs as the API server gets them.

use k8s_openapi::api::{batch::v1::Job, core::v1::Service};
use recmesh_crds::{Dataset, Kind, TrainingJob};
use serde_json::{Value, json};

use super::{
    SHOP,
    cluster::{CONFIG, Cluster, object, stable},
};
use crate::{here::name_of, outcome::Child};

const TRAINED: &str = "
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec: {source: {planted: {users: 100, items: 60}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: sas}
spec: {datasetRef: {name: world}, algorithm: {sasRec: {dim: 16}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: TrainingJob
metadata: {name: train}
spec:
  modelRef: {kind: RetrievalModel, name: sas}
";

/// A training job with more fields, after its data set is made.
fn training(config: &str, fields: &str) -> Cluster {
    let fields: String = fields.lines().map(|line| format!("  {line}\n")).collect();
    let mut cluster = Cluster::new(config);
    cluster.apply(&format!("{TRAINED}{fields}"));
    cluster.settle();
    cluster.finish_jobs();
    cluster.settle();
    cluster
}

fn job(cluster: &mut Cluster, kind: &str) -> Value {
    let found =
        cluster.all::<Job>().into_iter().find(|job| job.metadata.labels.as_ref().unwrap()["recmesh.dev/kind"] == kind);
    object(&Child::Job(Box::new(found.unwrap())))
}

fn pod(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]
}

#[test]
fn a_training_job() {
    let mut cluster = training(CONFIG, "");
    let service = cluster.all::<Service>();
    let made = json!([job(&mut cluster, "TrainingJob"), object(&Child::Service(Box::new(service[0].clone())))]);
    insta::assert_yaml_snapshot!("training-job", stable(&made));
}

#[test]
fn a_training_job_with_everything() {
    let config = "
image: {reference: registry.example/recmesh@sha256:00, pullPolicy: Always, pullSecrets: [registry]}
store: {uri: 's3://bucket/artifacts', secretRef: store}
data: {claim: files}
pods:
  serviceAccount: recmesh-worker
  nodeSelector: {pool: cpu, zone: a}
  tolerations: [{key: reserved, value: recmesh, effect: NoSchedule}]
  priorityClassName: low
";
    let fields = "
suspend: true
queue: team
checkpointClaim: checkpoints
pod:
  requests: {cpu: '2', memory: 4Gi}
  limits: {memory: 8Gi}
  gpu: {count: 2}
  claims:
    - {name: fast, source: {template: {name: h200}}}
    - {name: shared, source: {claim: {name: lab}}}
  nodeSelector: {pool: gpu}
  tolerations: [{key: nvidia.com/gpu}]
  priorityClassName: high";
    let mut cluster = training(config, fields);
    insta::assert_yaml_snapshot!("training-job-with-everything", stable(&job(&mut cluster, "TrainingJob")));
}

#[test]
fn every_other_kind_of_job() {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    let jobs: Vec<Value> = cluster
        .all::<Job>()
        .iter()
        .map(|it| {
            let job = object(&Child::Job(Box::new(it.clone())));
            let container = &pod(&job)["containers"][0];
            json!({
                "name": name_of(it),
                "args": container["args"],
                "mounts": container["volumeMounts"],
                "volumes": pod(&job)["volumes"],
                "subdomain": pod(&job)["subdomain"],
            })
        })
        .collect();
    insta::assert_yaml_snapshot!("jobs-of-a-shop", stable(&json!(jobs)));
}

#[test]
fn a_queue_admits_and_a_resource_that_waits_is_not_queued() {
    let mut cluster = training(CONFIG, "queue: team");
    let queued = job(&mut cluster, "TrainingJob");
    assert_eq!(queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "team");
    assert_eq!(queued["spec"]["suspend"], Value::Null, "the queue suspends and resumes");
    let name = queued["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.edit::<TrainingJob>("train", |it| it.spec.suspend = true);
    cluster.settle();
    let waiting = job(&mut cluster, "TrainingJob");
    assert_eq!(waiting["metadata"]["name"], name);
    assert_eq!(waiting["spec"]["suspend"], true);
    assert_eq!(waiting["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], Value::Null);
    assert_eq!(cluster.condition(Kind::TrainingJob, "train", "Complete").unwrap().1, "Suspended");
}

#[test]
fn stores_of_three_kinds() {
    let places = [
        (
            "{claim: artifacts}",
            json!({"name": "store", "persistentVolumeClaim": {"claimName": "artifacts"}}),
            Value::Null,
        ),
        (
            "{image: 'registry.example/artifacts:1'}",
            json!({"name": "store", "image": {"reference": "registry.example/artifacts:1", "pullPolicy": "IfNotPresent"}}),
            json!(true),
        ),
        ("{uri: 'gs://bucket'}", json!({"name": "store", "emptyDir": {}}), Value::Null),
    ];
    for (store, volume, read_only) in places {
        let mut cluster = training(&format!("image: {{reference: x}}\nstore: {store}"), "");
        let job = job(&mut cluster, "Dataset");
        let of = |list: &Value| list.as_array().unwrap().iter().find(|it| it["name"] == "store").unwrap().clone();
        assert_eq!(of(&pod(&job)["volumes"]), volume);
        let mount = of(&pod(&job)["containers"][0]["volumeMounts"]);
        assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&json!("/store"), &read_only), "{store}");
        let place = if store.contains("gs:") { "--store=gs://bucket" } else { "--store=/store" };
        assert!(pod(&job)["containers"][0]["args"].as_array().unwrap().contains(&json!(place)));
    }
}

/// What only a restart can change restarts a job; what it need not know of does not.
#[test]
fn a_job_is_replaced_only_where_that_helps() {
    let mut cluster = training(CONFIG, "");
    let name = job(&mut cluster, "TrainingJob")["metadata"]["name"].as_str().unwrap().to_owned();
    let run = [("batch.kubernetes.io/job-name", name.as_str())];
    cluster.put_pod(&format!("{name}-0-x"), &run, json!({"phase": "Running"}));
    cluster.settle();

    let other = CONFIG.replace("0.1.0", "0.2.0");
    let mut config = std::sync::Arc::new(serde_yaml::from_str(&other).unwrap());
    std::mem::swap(&mut cluster.world.config, &mut config);
    cluster.settle();
    assert!(cluster.deleted.is_empty(), "it runs on with the image that it has");

    let more =
        |it: &mut TrainingJob| it.spec.pod.limits.memory = Some(recmesh_contract::config::Quantity("9Gi".to_owned()));
    cluster.edit::<TrainingJob>("train", more);
    cluster.settle();
    assert_eq!(cluster.deleted.len(), 1, "more memory needs another pod");
    let anew = job(&mut cluster, "TrainingJob");
    assert_eq!(anew["metadata"]["name"], name.as_str());
    let container = &pod(&anew)["containers"][0];
    assert_eq!(container["resources"]["limits"]["memory"], "9Gi");
    assert!(container["image"].as_str().unwrap().ends_with("0.2.0"));

    cluster.end_job(&name, 2, "no such column");
    cluster.settle();
    assert_eq!(cluster.deleted.len(), 1, "a job that has failed stays");
    cluster.delete::<Job>(&name);
    cluster.settle();
    assert!(cluster.get::<Job>(&name).is_some(), "deleted by hand, it is tried again");
}

#[test]
fn what_an_installation_cannot_do_about_checkpoints_is_told() {
    let remote = CONFIG.replace("{claim: recmesh-store}", "{uri: 's3://b'}");
    let cases = [
        (CONFIG, "", None),
        (CONFIG, "checkpointClaim: c", Some("spec.checkpointClaim: ")),
        (remote.as_str(), "", Some("spec.checkpoint: ")),
        (remote.as_str(), "checkpoint: {everySteps: 0}", None),
        (remote.as_str(), "checkpointClaim: c", None),
    ];
    for (config, fields, expected) in cases {
        let told = training(config, fields).condition(Kind::TrainingJob, "train", "Degraded");
        let told = told.map(|(_, reason, message)| (reason, message));
        match expected {
            None => assert_eq!(told, None, "{fields}"),
            Some(field) => {
                let (reason, message) = told.unwrap();
                assert!(reason == "NotHonoured" && message.starts_with(field), "{message}");
            }
        }
    }
}

#[test]
fn an_image_of_artifacts_makes_nothing_new() {
    let mut cluster = training(&CONFIG.replace("{claim: recmesh-store}", "{image: 'r/a:1'}"), "");
    let name = job(&mut cluster, "TrainingJob")["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.end_job(&name, 2, "cannot write /store");
    cluster.settle();
    let (_, reason, message) = cluster.condition(Kind::TrainingJob, "train", "Complete").unwrap();
    assert_eq!(reason, "JobFailed");
    assert!(
        message.starts_with("cannot write /store; store.image in the Helm values, r/a:1, is read-only"),
        "{message}"
    );
}

#[test]
fn files_need_a_volume() {
    let manifest = "
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: files}
spec: {source: {interactions: {path: a.txt, format: {sequences: {}}}}}
";
    let mut cluster = Cluster::with(manifest);
    cluster.settle();
    assert!(cluster.all::<Job>().is_empty());
    let (_, reason, message) = cluster.condition(Kind::Dataset, "files", "Ready").unwrap();
    assert_eq!(reason, "Invalid");
    assert!(message.contains("data.claim in the Helm values"), "{message}");

    let mut cluster = Cluster::new(&format!("{CONFIG}\ndata: {{claim: files}}"));
    cluster.apply(manifest);
    cluster.settle();
    let job = job(&mut cluster, "Dataset");
    let data = pod(&job)["volumes"].as_array().unwrap().iter().find(|it| it["name"] == "data").unwrap();
    assert_eq!(data["persistentVolumeClaim"], json!({"claimName": "files", "readOnly": true}));
    assert!(cluster.get::<Dataset>("files").unwrap().status.is_some());
}
