//! Workers as the API server gets them.

use k8s_openapi::api::{
    apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::ConfigMap,
    policy::v1::PodDisruptionBudget,
};
use recmesh_crds::{Kind, RetrievalModel};
use serde_json::{Value, json};

use super::{
    SHOP,
    cluster::{CONFIG, Cluster, object, stable},
};
use crate::outcome::{Child, ChildKind, ChildRef, Outcome};

/// A shop whose decoder has more fields, up to where its workers are made.
fn shop(config: &str, fields: &str) -> Cluster {
    let mut cluster = Cluster::new(config);
    let fields: String = fields.lines().map(|line| format!("  {line}\n")).collect();
    cluster.apply(&SHOP.replace("  replicas: 2\n", &fields));
    for _ in 0..5 {
        cluster.settle();
        cluster.finish_jobs();
    }
    cluster.settle();
    cluster.deleted.clear();
    cluster
}

fn children(outcome: &Outcome) -> Vec<Value> {
    outcome.apply.iter().map(object).collect()
}

fn decoder(cluster: &Cluster) -> Vec<Value> {
    children(&cluster.reconcile(Kind::RetrievalModel, "decoder"))
}

fn of_kind<'a>(children: &'a [Value], kind: &str) -> &'a Value {
    children.iter().find(|it| it["kind"] == kind).unwrap()
}

#[test]
fn the_workers_of_a_model() {
    insta::assert_yaml_snapshot!("workers", stable(&json!(decoder(&shop(CONFIG, "replicas: 2")))));
}

#[test]
fn the_route_of_a_pipeline() {
    let cluster = shop(CONFIG, "replicas: 2");
    let mut children = children(&cluster.reconcile(Kind::Pipeline, "home"));
    let text = children[0]["data"]["route.json"].as_str().unwrap().to_owned();
    children[0]["data"]["route.json"] = serde_json::from_str(&text).unwrap();
    insta::assert_yaml_snapshot!("route", stable(&json!(children)));
}

#[test]
fn workers_with_stable_names() {
    let cluster = shop(CONFIG, "affinity: user");
    let children = decoder(&cluster);
    let mut set = of_kind(&children, "StatefulSet").clone();
    set["spec"]["template"] = Value::Null;
    let made = json!([set, of_kind(&children, "ConfigMap")["metadata"]["annotations"]]);
    insta::assert_yaml_snapshot!("workers-with-stable-names", stable(&made));
    let route = cluster.reconcile(Kind::Pipeline, "home");
    let text = children_text(&route);
    assert!(text.contains(r#"affinity\":\"user"#), "gateways are told: {text}");
}

fn children_text(outcome: &Outcome) -> String {
    serde_json::to_string(&children(outcome)).unwrap()
}

#[test]
fn workers_that_swap_weights_in_place_ask_for_no_further_pod() {
    let children = decoder(&shop(CONFIG, "replicas: 2\nrollout: inPlace"));
    let made = of_kind(&children, "Deployment");
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    assert_eq!(made["spec"]["strategy"], strategy);
    assert_eq!(made["metadata"]["name"], "retrieve-decoder");
    assert_eq!(made["metadata"]["labels"]["recmesh.dev/generation"], "in-place");
    assert_eq!(of_kind(&children, "Service")["metadata"]["name"], "retrieve-decoder");
}

#[test]
fn devices_and_places_reach_the_workers() {
    let fields = "pod:
  limits: {memory: 8Gi}
  gpu: {count: 1, resource: nvidia.com/mig-1g.10gb}
  claims: [{name: fast, source: {template: {name: h200}}}]
  nodeSelector: {pool: gpu}
  tolerations: [{key: nvidia.com/gpu, effect: NoSchedule}]
  priorityClassName: high";
    let children = decoder(&shop(CONFIG, fields));
    let pod = &of_kind(&children, "Deployment")["spec"]["template"]["spec"];
    let resources = json!({"claims": [{"name": "fast"}], "limits": {"memory": "8Gi", "nvidia.com/mig-1g.10gb": "1"}});
    assert_eq!(pod["containers"][0]["resources"], resources);
    assert_eq!(pod["resourceClaims"], json!([{"name": "fast", "resourceClaimTemplateName": "h200"}]));
    assert_eq!(pod["nodeSelector"], json!({"pool": "gpu"}));
    let tolerations = json!([{"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}]);
    assert_eq!(pod["tolerations"], tolerations);
    assert_eq!(pod["priorityClassName"], "high");
}

#[test]
fn workers_only_read_what_the_store_keeps() {
    let stores = [
        ("{claim: artifacts}", json!({"claimName": "artifacts", "readOnly": true}), "persistentVolumeClaim"),
        ("{uri: 's3://b', secretRef: keys}", json!({}), "emptyDir"),
        ("{image: 'r/a:1'}", json!({"reference": "r/a:1", "pullPolicy": "IfNotPresent"}), "image"),
    ];
    for (store, source, kind) in stores {
        let config = CONFIG.replace("{claim: recmesh-store}", store);
        let children = decoder(&shop(&config, "replicas: 1"));
        let pod = &of_kind(&children, "Deployment")["spec"]["template"]["spec"];
        let volume = pod["volumes"].as_array().unwrap().iter().find(|it| it["name"] == "store").unwrap();
        assert_eq!(volume[kind], source, "{store}");
        let secret = &pod["containers"][0]["envFrom"];
        assert_eq!(secret.is_null(), !store.contains("keys"), "{secret}");
    }
}

#[test]
fn one_worker_has_no_budget_that_would_hold_up_a_drain() {
    let mut cluster = shop(CONFIG, "replicas: 2");
    assert_eq!(cluster.all::<PodDisruptionBudget>().len(), 1);
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.replicas = 1);
    cluster.settle();
    assert!(cluster.all::<PodDisruptionBudget>().is_empty());
    assert_eq!(cluster.deleted.len(), 1);
}

#[test]
fn processor_time_scales_a_model() {
    let fields = "autoscaling: {minReplicas: 2, maxReplicas: 9, metric: {cpu: {percent: 70}}}
pod: {requests: {cpu: '1'}}";
    let mut cluster = shop(CONFIG, fields);
    let scaler = of_kind(&decoder(&cluster), "HorizontalPodAutoscaler").clone();
    insta::assert_yaml_snapshot!("scaled-by-processor-time", scaler);
    let status = cluster.status(Kind::RetrievalModel, "decoder");
    let selector = status["selector"].as_str().unwrap().to_owned();
    let deployment = &cluster.all::<Deployment>()[1];
    let labels = deployment.spec.template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
    for pair in selector.split(',') {
        let (key, value) = pair.split_once('=').unwrap();
        assert_eq!(labels[key], value, "the selector finds the workers");
    }
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.autoscaling = None);
    cluster.settle();
    assert!(cluster.all::<HorizontalPodAutoscaler>().is_empty());
}

#[test]
fn a_share_of_no_request_is_told() {
    let mut cluster = shop(CONFIG, "autoscaling: {maxReplicas: 9, metric: {cpu: {percent: 70}}}");
    let (status, reason, message) = cluster.condition(Kind::RetrievalModel, "decoder", "Degraded").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NotHonoured"));
    assert!(message.starts_with("spec.autoscaling.metric.cpu: ") && message.contains("spec.pod.requests.cpu"));
}

#[test]
fn a_queue_scales_a_model_by_keda_and_its_object_goes_with_the_wish() {
    let fields =
        "autoscaling: {maxReplicas: 9, metric: {queue: {waiting: 4, serverAddress: 'http://prometheus:9090'}}}";
    let mut cluster = shop(CONFIG, fields);
    insta::assert_yaml_snapshot!("scaled-by-queue", of_kind(&decoder(&cluster), "ScaledObject"));
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.autoscaling = None);
    cluster.settle();
    let gone = ChildRef { kind: ChildKind::ScaledObject, name: "rm-decoder".to_owned() };
    assert!(cluster.deleted.contains(&gone));
    assert_eq!(cluster.condition(Kind::RetrievalModel, "decoder", "Autoscaled"), None);
}

/// An object's name never depends on the order of anything, and workers are told exactly their pools.
#[test]
fn what_workers_are_told_names_their_generation() {
    let mut cluster = shop(CONFIG, "replicas: 2");
    for map in cluster.all::<ConfigMap>() {
        let Some(text) = map.data.as_ref().unwrap().get("config.json") else { continue };
        let told: recmesh_contract::config::WorkerConfig = serde_json::from_str(text).unwrap();
        assert_eq!(Some(told.pools[0].name.as_str()), map.metadata.name.as_deref());
        let labels = map.metadata.labels.as_ref().unwrap();
        let name = format!("{}-{}", labels["recmesh.dev/pool"], labels["recmesh.dev/generation"]);
        assert_eq!(map.metadata.name, Some(name));
        assert_eq!(object(&Child::ConfigMap(Box::new(map)))["kind"], "ConfigMap");
    }
}
