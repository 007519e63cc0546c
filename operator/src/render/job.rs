//! The Job that does the work of a resource, and the Service that names a training job's pods.
//!
//! In: what the job is told and how its pods run. Out: objects. What it is told lies in the pod's own annotation: one
//! object, one write, and it cannot change under a running pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{
            Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
            PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        },
        core::v1::{PodTemplateSpec, Service, ServicePort, ServiceSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use recmesh_contract::config::{ItemVectors, JobConfig, JobWork, PodParams, Source, TokenizerAlgorithm};

use super::{
    meta::Owner,
    pod::{ConfigFrom, Part, StoreUse, pod},
};
use crate::{OperatorConfig, names};

/// Tries before a Job has failed; those that a node or the queue ended do not count.
const TRIES: i32 = 3;
/// Seconds that a finished Job stays once its resource's status holds what it told.
const STAYS: i32 = 86_400;
/// Seconds that a job may take to write its last checkpoint.
const GRACE: i64 = 60;
/// Exit code: trying again cannot help.
const HOPELESS: i32 = 2;
/// Exit code: it was asked to stop, and goes on another time.
const STOPPED: i32 = 3;

/// What a Job is made from.
#[derive(Clone, Debug)]
pub struct JobOrder<'a> {
    /// What it is told.
    pub config: &'a JobConfig,
    /// How its pods run.
    pub pod: &'a PodParams,
    /// Whether it waits; `None` leaves that to its queue.
    pub suspend: Option<bool>,
    /// The queue that admits it now.
    pub queue: Option<&'a str>,
    /// Digest of what its resource asks for besides what it is told; see [`asks`].
    pub asks: String,
    /// The claim that keeps checkpoints.
    pub claim: Option<&'a str>,
    /// Whether its pods have stable names.
    pub named: bool,
    /// Whether the resource's status holds what it told: then it may go.
    pub noted: bool,
}

/// A Job's name.
#[must_use]
pub fn name(owner: &Owner, config: &JobConfig) -> String {
    names::job(owner.key.kind, &owner.key.name, &config.digest())
}

/// A Job.
#[must_use]
pub fn job(settings: &OperatorConfig, owner: &Owner, order: &JobOrder<'_>) -> Job {
    let JobOrder { config, pod: asked, suspend, queue, asks, claim, named, noted } = order.clone();
    let name = name(owner, config);
    let digest = config.digest();
    let labels = owner.labels(names::JOB, &[(names::CONFIG, digest.as_str())]);
    let mut spec = pod(
        settings,
        Part {
            command: "job",
            arguments: vec![format!("--listen=0.0.0.0:{}", names::ADMIN_PORT)],
            ports: vec![("admin", names::ADMIN_PORT)],
            config: ConfigFrom::Annotation,
            store: StoreUse::Makes { claim: claim.map(str::to_owned) },
            data: reads_files(&config.work),
            asked,
            grace: GRACE,
        },
    );
    spec.restart_policy = Some("Never".to_owned());
    spec.subdomain = named.then(|| name.clone());
    let told = serde_json::to_string(config).unwrap_or_default();
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some(BTreeMap::from([(names::CONFIG.to_owned(), told)])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    let mut metadata = owner.meta(&name, labels);
    if let (Some(queue), Some(labels)) = (queue, metadata.labels.as_mut()) {
        labels.insert(names::QUEUE.to_owned(), queue.to_owned());
    }
    metadata.annotations = Some(BTreeMap::from([
        (names::ASKED.to_owned(), asks),
        (names::TEMPLATE.to_owned(), names::digest(&serde_json::to_string(&template).unwrap_or_default())),
    ]));
    let spec = JobSpec {
        completions: Some(1),
        parallelism: Some(1),
        completion_mode: Some("Indexed".to_owned()),
        backoff_limit: Some(TRIES),
        // Two pods never write the same checkpoint: the next one starts when the last is gone.
        pod_replacement_policy: Some("Failed".to_owned()),
        pod_failure_policy: Some(failure_policy()),
        suspend,
        ttl_seconds_after_finished: noted.then_some(STAYS),
        template,
        ..JobSpec::default()
    };
    Job { metadata, spec: Some(spec), status: None }
}

/// Digest of what a resource asks of its Job besides what it is told.
#[must_use]
pub fn asks(asked: &PodParams, queue: Option<&str>, claim: Option<&str>) -> String {
    let pod = serde_json::to_string(asked).unwrap_or_default();
    names::digest(&format!("{pod}\n{}\n{}", queue.unwrap_or_default(), claim.unwrap_or_default()))
}

fn failure_policy() -> PodFailurePolicy {
    let exit = |action: &str, code: i32| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some("job".to_owned()),
            operator: "In".to_owned(),
            values: vec![code],
        }),
        on_pod_conditions: None,
    };
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: Some("True".to_owned()),
    };
    let ignored = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![disrupted]),
    };
    PodFailurePolicy { rules: vec![exit("FailJob", HOPELESS), exit("Ignore", STOPPED), ignored] }
}

/// Whether a job reads data files beside artifacts.
#[must_use]
pub fn reads_files(work: &JobWork) -> bool {
    match work {
        JobWork::Dataset { params, .. } => !matches!(params.source, Source::Planted(_)),
        JobWork::Tokenizer { algorithm: TokenizerAlgorithm::RqKMeans(parameters), .. } => {
            matches!(parameters.vectors, ItemVectors::File(_))
        }
        JobWork::Tokenizer { algorithm: TokenizerAlgorithm::Atomic(_), .. }
        | JobWork::Count { .. }
        | JobWork::TrainRetrieval { .. }
        | JobWork::TrainRanking { .. }
        | JobWork::Evaluate { .. } => false,
    }
}

/// The Service that gives the pods of a training job their names, `<job>-0.<job>`.
#[must_use]
pub fn service(owner: &Owner, config: &JobConfig) -> Service {
    let name = name(owner, config);
    let digest = config.digest();
    let labels = owner.labels(names::JOB, &[(names::CONFIG, digest.as_str())]);
    let selector = BTreeMap::from([(names::JOB_NAME.to_owned(), name.clone())]);
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        selector: Some(selector),
        // Pods find each other before they are ready.
        publish_not_ready_addresses: Some(true),
        ports: Some(vec![port("admin", names::ADMIN_PORT)]),
        ..ServiceSpec::default()
    };
    Service { metadata: owner.meta(&name, labels), spec: Some(spec), status: None }
}

/// A port of a Service, to the container's port of the same name.
#[must_use]
pub fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
