//! What resources say of themselves when something is wrong: a table a kind of trouble.

use recmesh_contract::{JobProgress, JobReport};
use recmesh_crds::{Dataset, Kind, Pipeline, RetrievalModel, Tokenizer};
use serde_json::{Value, json};

use super::{
    SHOP,
    cluster::{Cluster, report, stable},
};
use crate::here::name_of;
use k8s_openapi::api::batch::v1::Job;

const DATASET: &str = "
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec: {source: {planted: {users: 100, items: 60}}, pod: {limits: {memory: 1Gi}}}
";

/// A container that waits.
fn waiting(reason: &str, message: &str) -> Value {
    container(json!({"waiting": {"reason": reason, "message": message}}), Value::Null)
}

fn container(state: Value, last: Value) -> Value {
    json!({"phase": "Pending", "containerStatuses": [{
        "name": "x", "image": "registry.example/recmesh:1", "imageID": "", "ready": false, "restartCount": 1,
        "state": state, "lastState": last,
    }]})
}

fn unschedulable(message: &str) -> Value {
    json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]})
}

/// Troubles of pods: what the kubelet or the scheduler says, the reason that we give, words that must be there.
fn troubles() -> Vec<(Value, &'static str, [&'static str; 2])> {
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let crashed = json!({"terminated": {"exitCode": 1, "message": "one line\ncannot open /store"}});
    let crashing = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
    vec![
        (
            waiting("ImagePullBackOff", "not found"),
            "ImagePullFailed",
            ["cannot pull registry.example/recmesh:1: not found", "imagePullSecrets in the Helm values"],
        ),
        (waiting("ErrImagePull", "denied"), "ImagePullFailed", ["denied", "registry"]),
        (
            waiting("CreateContainerConfigError", "secret \"keys\" not found"),
            "ContainerConfigError",
            ["secret \"keys\" not found", "store.secretRef"],
        ),
        (container(crashing.clone(), killed), "OutOfMemory", ["was killed for its memory", "spec.pod.limits.memory"]),
        (container(crashing, crashed), "CrashLoop", ["cannot open /store", "kubectl logs"]),
        (
            unschedulable("0/3 nodes are available: 3 Insufficient memory."),
            "Unschedulable",
            ["3 Insufficient memory: lower spec.pod.requests", "add nodes"],
        ),
        (
            unschedulable("persistentvolumeclaim \"recmesh-store\" not found."),
            "Unschedulable",
            ["persistentvolumeclaim \"recmesh-store\" not found", "make the claim"],
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            "Evicted",
            ["low on resource: memory", "spec.pod.requests"],
        ),
    ]
}

#[test]
fn troubles_of_a_job_s_pod_are_told_with_what_to_do() {
    for (status, reason, words) in troubles() {
        let mut cluster = Cluster::with(DATASET);
        cluster.settle();
        let job = name_of(&cluster.all::<Job>()[0]).to_owned();
        cluster.put_pod(&format!("{job}-0-x"), &[("batch.kubernetes.io/job-name", &job)], status);
        cluster.settle();
        let (holds, said, message) = cluster.condition(Kind::Dataset, "world", "Ready").unwrap();
        assert_eq!((holds.as_str(), said.as_str()), ("False", reason), "{message}");
        assert!(words.iter().all(|it| message.contains(it)), "{message}");
        assert!(cluster.told.contains(&reason), "an event tells it, too");
    }
}

#[test]
fn troubles_of_workers_are_told_by_the_model_and_its_pipelines() {
    for (status, reason, words) in troubles() {
        let mut cluster = Cluster::with(SHOP);
        for _ in 0..5 {
            cluster.settle();
            cluster.finish_jobs();
        }
        cluster.start_workers();
        cluster.settle();
        cluster.edit::<RetrievalModel>("decoder", |it| it.spec.pool.engines = 2);
        cluster.settle();
        let pool = cluster.route("home").candidate.unwrap().retrieve;
        let labels = [
            ("app.kubernetes.io/component", "worker"),
            ("recmesh.dev/kind", "RetrievalModel"),
            ("recmesh.dev/name", "decoder"),
            ("recmesh.dev/pool", "retrieve-decoder"),
            ("recmesh.dev/generation", pool.as_str().rsplit('-').next().unwrap()),
        ];
        cluster.put_pod("a-worker", &labels, status);
        cluster.settle();
        for (kind, name) in [(Kind::RetrievalModel, "decoder"), (Kind::Pipeline, "home")] {
            let (holds, said, message) = cluster.condition(kind, name, "Ready").unwrap();
            assert_eq!((holds.as_str(), said.as_str()), ("False", reason), "{kind}/{name}: {message}");
            assert!(message.starts_with(&format!("0 of 2 workers of {pool} are ready: pod a-worker")), "{message}");
            // The image of a job's pod would be another one.
            assert!(words.iter().all(|it| message.contains(it)) || reason == "OutOfMemory", "{message}");
        }
    }
}

#[test]
fn a_failed_job_says_what_its_report_says() {
    let mut cluster = Cluster::with(DATASET);
    cluster.settle();
    let job = cluster.all::<Job>().remove(0);
    let mut failed: JobReport = serde_json::from_str(&report(&job)).unwrap();
    failed.state = recmesh_contract::JobState::Failed;
    failed.produced = None;
    failed.message = Some("ratings.csv:7: 12 of 40 rows cannot be read: raise maxBadRows".to_owned());
    let endings = [
        (serde_json::to_string(&failed).unwrap(), "ratings.csv:7: 12 of 40 rows cannot be read: raise maxBadRows; "),
        ("error: store is full\n".to_owned(), "error: store is full; "),
        (String::new(), "ended with exit code 2; "),
    ];
    for (ending, expected) in endings {
        cluster.end_job(name_of(&job), 2, &ending);
        cluster.settle();
        let (_, reason, message) = cluster.condition(Kind::Dataset, "world", "Ready").unwrap();
        assert_eq!(reason, "JobFailed");
        assert!(message.contains(expected) && message.contains("kubectl delete job"), "{message}");
    }
}

#[test]
fn a_complete_job_whose_report_is_lost_is_no_version() {
    let mut cluster = Cluster::with(DATASET);
    cluster.settle();
    let job = cluster.all::<Job>().remove(0);
    for lost in ["", "not a report", "{}"] {
        cluster.end_job(name_of(&job), 0, lost);
        cluster.settle();
        let (_, reason, message) = cluster.condition(Kind::Dataset, "world", "Ready").unwrap();
        assert_eq!(reason, "ReportLost", "{message}");
        assert_eq!(cluster.status(Kind::Dataset, "world")["version"], Value::Null);
    }
    cluster.end_job(name_of(&job), 0, &report(&job));
    cluster.settle();
    assert_eq!(cluster.condition(Kind::Dataset, "world", "Ready").unwrap().0, "True");
}

/// What a job told outweighs what a status says, as long as the job is there.
#[test]
fn an_edited_status_is_put_right_by_the_job() {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    // Every edit here counts as one of the spec.
    let told = |cluster: &mut Cluster, kind, name| {
        cluster.status(kind, name).to_string().replace("\"observedGeneration\":2", "\"observedGeneration\":1")
    };
    let before = (told(&mut cluster, Kind::Dataset, "world"), told(&mut cluster, Kind::Tokenizer, "ids"));
    let route = cluster.route("home");
    cluster.edit::<Dataset>("world", |it| {
        let status = it.status.as_mut().unwrap();
        (status.version, status.rows) = (Some("000000000000".to_owned()), Some(7));
    });
    cluster.edit::<Tokenizer>("ids", |it| it.status.as_mut().unwrap().catalog = Some("sha256:0".to_owned()));
    assert_eq!(cluster.reconcile(Kind::Pipeline, "home").apply.len(), 1, "the route alone");
    cluster.settle();
    let after = (told(&mut cluster, Kind::Dataset, "world"), told(&mut cluster, Kind::Tokenizer, "ids"));
    assert_eq!(after, before);
    assert_eq!(cluster.route("home"), route);
}

#[test]
fn a_running_job_tells_how_far_it_is() {
    let mut cluster = Cluster::with(DATASET);
    cluster.settle();
    let job = cluster.all::<Job>().remove(0);
    let name = name_of(&job);
    let mut running: JobReport = serde_json::from_str(&report(&job)).unwrap();
    let progress =
        JobProgress { step: "reading".into(), percent: Some(40), eta_seconds: Some(9), ..Default::default() };
    running.progress = Some(progress);
    running.produced = None;
    cluster.world.told.put_report("shop", name, running);
    cluster.put_pod(&format!("{name}-0-x"), &[("batch.kubernetes.io/job-name", name)], json!({"phase": "Running"}));
    let outcome = cluster.reconcile(Kind::Dataset, "world");
    assert_eq!(outcome.poll.unwrap().as_str(), name);
    let status = outcome.status.unwrap();
    assert_eq!(status["progress"], json!({"step": "reading", "percent": 40, "etaSeconds": 9}));
    assert_eq!(status["conditions"][0]["reason"], "JobRunning");
    cluster.finish_jobs();
    cluster.settle();
    assert_eq!(cluster.status(Kind::Dataset, "world")["progress"], Value::Null);
}

#[test]
fn a_status_holds_what_was_made() {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    let mut all = Vec::new();
    for subject in cluster.subjects() {
        let mut status = cluster.status(subject.kind, &subject.name);
        for condition in status["conditions"].as_array_mut().unwrap() {
            condition.as_object_mut().unwrap().remove("lastTransitionTime");
        }
        all.push(json!({"resource": format!("{}/{}", subject.kind, subject.name), "status": status}));
    }
    insta::assert_yaml_snapshot!("statuses", stable(&json!(all)));
}

#[test]
fn gates_that_are_missed_are_named() {
    let mut cluster = Cluster::with(&SHOP.replace("min: 0.2", "min: 0.9"));
    cluster.run();
    let (holds, reason, message) = cluster.condition(Kind::EvaluationJob, "decoder-test", "Complete").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("True", "GateFailed"));
    assert!(message.ends_with("ndcg@10 is 0.25, but must be at least 0.9"), "{message}");
}

#[test]
fn a_model_says_in_which_precision_it_serves_and_why() {
    let asked = "  replicas: 2\n  quantization: {gates: {maxRelError: 0}}\n";
    let ranker = "  tasks: [{name: click, when: {column: click, atLeast: 1}}]\n";
    let text = SHOP.replace("  replicas: 2\n", asked).replace(ranker, &format!("{ranker}  quantization: {{}}\n"));
    let mut cluster = Cluster::with(&text);
    cluster.run();
    let (holds, reason, message) = cluster.condition(Kind::RetrievalModel, "decoder", "Quantized").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("False", "QuantizationFellBack"));
    assert_eq!(message, "serves in high precision: relative error 0.0370 of layer context.kv above 0");
    assert_eq!(
        cluster.condition(Kind::RetrievalModel, "decoder", "Ready").unwrap().0,
        "True",
        "it serves all the same"
    );
    let (holds, reason, _) = cluster.condition(Kind::RankingModel, "ranker", "Quantized").unwrap();
    assert_eq!((holds.as_str(), reason.as_str()), ("True", "GatesHold"));
    assert_eq!(cluster.condition(Kind::RetrievalModel, "popular", "Quantized"), None);
    for (kind, name, precision) in [
        (Kind::TrainingJob, "train-decoder", "f32"),
        (Kind::RetrievalModel, "decoder", "f32"),
        (Kind::RankingModel, "ranker", "e4m3"),
    ] {
        let status = cluster.status(kind, name);
        assert_eq!(status["quantization"]["precision"], precision, "{kind}/{name}: {status}");
        assert_eq!(status["quantization"]["weightBytes"], 100);
    }

    // Without quantization the next version knows nothing of it.
    cluster.apply(SHOP);
    cluster.run();
    assert_eq!(cluster.condition(Kind::RetrievalModel, "decoder", "Quantized"), None);
    assert_eq!(cluster.status(Kind::RetrievalModel, "decoder")["quantization"], Value::Null);
}

#[test]
fn references_that_lead_nowhere_name_what_is_meant() {
    let mut cluster =
        Cluster::with(&SHOP.replace("tokenizerRef: {name: ids}\n  retrieve", "tokenizerRef: {name: idz}\n  retrieve"));
    cluster.settle();
    let (_, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!(reason, "ReferenceMissing");
    assert!(
        message.starts_with("spec.tokenizerRef.name: there is no Tokenizer idz in namespace shop: did you mean ids?"),
        "{message}"
    );
}

#[test]
fn what_waits_names_the_first_thing_that_is_not_made() {
    let mut cluster = Cluster::with(SHOP);
    cluster.settle();
    for (kind, name, of) in [
        (Kind::Tokenizer, "ids", "Ready"),
        (Kind::TrainingJob, "train-decoder", "Complete"),
        (Kind::EvaluationJob, "decoder-test", "Complete"),
        (Kind::Pipeline, "home", "Ready"),
    ] {
        let (_, reason, message) = cluster.condition(kind, name, of).unwrap();
        assert_eq!(
            (reason.as_str(), message.as_str()),
            ("WaitingForDataset", "Dataset/world is not made yet"),
            "{kind}"
        );
    }
    let job = cluster.all::<Job>().remove(0);
    cluster.end_job(name_of(&job), 2, "disk full");
    cluster.settle();
    let (_, _, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert!(message.starts_with("Dataset/world is not made: JobFailed: disk full"), "{message}");
}

#[test]
fn without_a_gateway_pipelines_say_so() {
    let config = "image: {reference: x}\nstore: {claim: s}";
    let mut cluster = Cluster::new(config);
    cluster.apply(SHOP);
    cluster.run();
    let (_, reason, message) = cluster.condition(Kind::Pipeline, "home", "Ready").unwrap();
    assert_eq!(reason, "NoGateway");
    assert!(message.contains("gateway.enabled in the Helm values"), "{message}");
    assert_eq!(cluster.status(Kind::Pipeline, "home")["url"], Value::Null);
}

#[test]
fn nobody_answers_where_no_worker_is_asked_for() {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    cluster.edit::<RetrievalModel>("decoder", |it| it.spec.serving.replicas = 0);
    cluster.run();
    for (kind, name) in [(Kind::RetrievalModel, "decoder"), (Kind::Pipeline, "home")] {
        let (_, reason, message) = cluster.condition(kind, name, "Ready").unwrap();
        assert_eq!(reason, "ScaledToZero", "{message}");
    }
}

#[test]
fn one_worker_less_is_degraded_not_down() {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    let pool = cluster.route("home").current.unwrap().retrieve;
    let mut it: k8s_openapi::api::apps::v1::Deployment = cluster.get(pool.as_str()).unwrap();
    it.status.as_mut().unwrap().ready_replicas = Some(1);
    cluster.put(it);
    cluster.settle();
    for (kind, name) in [(Kind::RetrievalModel, "decoder"), (Kind::Pipeline, "home")] {
        assert_eq!(cluster.condition(kind, name, "Ready").unwrap().0, "True");
        let (_, reason, message) = cluster.condition(kind, name, "Degraded").unwrap();
        assert_eq!((reason.as_str(), message.starts_with("1 of 2 workers of retrieve-decoder-")), ("Warming", true));
    }
    cluster.start_workers();
    cluster.settle();
    assert_eq!(cluster.condition(Kind::Pipeline, "home", "Degraded"), None, "absent where all is well");
}

/// A rolling update counts the new pods only.
#[test]
fn former_pods_do_not_make_a_new_template_ready() {
    let mut cluster = Cluster::with(SHOP);
    cluster.run();
    let pool = cluster.route("home").current.unwrap().retrieve;
    let mut it: k8s_openapi::api::apps::v1::Deployment = cluster.get(pool.as_str()).unwrap();
    for (observed, updated, ready, expected) in [(0, 2, 2, 0), (9, 0, 2, 0), (9, 1, 3, 1), (9, 2, 3, 2)] {
        let status = it.status.as_mut().unwrap();
        status.observed_generation = Some(observed);
        (status.replicas, status.updated_replicas, status.ready_replicas) =
            (Some(updated + 2), Some(updated), Some(ready));
        if updated == 2 {
            status.replicas = Some(3);
        }
        cluster.put(it.clone());
        cluster.settle();
        let status = cluster.status(Kind::RetrievalModel, "decoder");
        assert_eq!(status["pools"][0]["readyWorkers"], expected, "{observed} {updated} {ready}");
    }
    assert!(cluster.get::<Pipeline>("home").is_some());
}
