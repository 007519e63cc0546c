//! A pod of a job or a worker: where it runs, what it may use, what is mounted.
//!
//! In: the operator's configuration and what the resource asks of a node. Out: a pod that a namespace with the pod
//! security standard "restricted" takes: no root, no privilege, nothing writable but `/tmp` and what the store needs.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource,
        EmptyDirVolumeSource, EnvFromSource, ImageVolumeSource, LocalObjectReference, ObjectFieldSelector,
        PersistentVolumeClaimVolumeSource, PodResourceClaim, PodSecurityContext, PodSpec, ResourceClaim,
        ResourceRequirements, SeccompProfile, SecretEnvSource, SecurityContext, Toleration, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use recmesh_contract::config::{self, Amounts, ClaimSource, PodParams, TaintEffect};

use crate::{OperatorConfig, names};

/// User and group of every process.
const USER: i64 = 65532;

/// Where a pod reads its configuration from.
#[derive(Clone, Debug)]
pub enum ConfigFrom {
    /// An annotation of its own.
    Annotation,
    /// A ConfigMap of this name.
    ConfigMap(String),
}

/// What a pod does with artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUse {
    /// It only reads them.
    Reads,
    /// It makes them; a claim may keep what is fetched and checkpoints, where the store is no volume.
    Makes {
        /// The claim.
        claim: Option<String>,
    },
}

/// A pod's part: the program's command and what it needs.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Name of the container, and the program's command.
    pub command: &'static str,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Ports by name.
    pub ports: Vec<(&'static str, i32)>,
    /// Its configuration.
    pub config: ConfigFrom,
    /// Artifacts.
    pub store: StoreUse,
    /// Whether it reads data files.
    pub data: bool,
    /// What the resource asks of a node.
    pub asked: &'a PodParams,
    /// Seconds that it may take to stop.
    pub grace: i64,
}

/// A pod.
#[must_use]
pub fn pod(config: &OperatorConfig, part: Part<'_>) -> PodSpec {
    let Part { command, arguments, ports, config: told, store, data, asked, grace } = part;
    let mut volumes = vec![config_volume(&told), empty("tmp")];
    let mut mounts = vec![mount("config", names::CONFIG_FOLDER, true), mount("tmp", "/tmp", false)];
    let (volume, only_read) = store_volume(config, &store);
    volumes.push(volume);
    mounts.push(mount("store", names::STORE_FOLDER, only_read));
    if let Some(claim) = config.data.claim.as_ref().filter(|_| data) {
        volumes.push(claimed("data", claim, true));
        mounts.push(mount("data", names::DATA_FOLDER, true));
    }
    let place = config.store.uri.clone().unwrap_or_else(|| names::STORE_FOLDER.to_owned());
    let mut args = vec![command.to_owned()];
    args.push(format!("--config={}/{}", names::CONFIG_FOLDER, names::CONFIG_FILE));
    args.push(format!("--store={place}"));
    args.extend(arguments);
    let secret = config.store.secret_ref.as_ref().filter(|_| config.store.uri.is_some());
    let container = Container {
        name: command.to_owned(),
        image: Some(config.image.reference.clone()),
        image_pull_policy: Some(config.image.pull_policy.clone()),
        args: Some(args),
        env_from: secret.map(|name| {
            let secret_ref = Some(SecretEnvSource { name: name.clone(), optional: Some(false) });
            vec![EnvFromSource { secret_ref, ..EnvFromSource::default() }]
        }),
        ports: Some(ports.into_iter().map(|(name, port)| container_port(name, port)).collect()),
        resources: Some(resources(asked)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let secrets = &config.image.pull_secrets;
    PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: config.pods.service_account.clone(),
        image_pull_secrets: (!secrets.is_empty())
            .then(|| secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // A store of many files is not walked at every start; readers change nothing at all.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        node_selector: selector(config, asked),
        tolerations: tolerations(config, asked),
        priority_class_name: asked.priority_class_name.clone().or_else(|| config.pods.priority_class_name.clone()),
        resource_claims: (!asked.claims.is_empty()).then(|| asked.claims.iter().map(claim).collect()),
        termination_grace_period_seconds: Some(grace),
        ..PodSpec::default()
    }
}

fn config_volume(from: &ConfigFrom) -> Volume {
    let mut volume = Volume { name: "config".to_owned(), ..Volume::default() };
    match from {
        ConfigFrom::Annotation => {
            let field_ref = Some(ObjectFieldSelector {
                field_path: format!("metadata.annotations['{}']", names::CONFIG),
                api_version: Some("v1".to_owned()),
            });
            let path = names::CONFIG_FILE.to_owned();
            let item = DownwardAPIVolumeFile { path, field_ref, ..DownwardAPIVolumeFile::default() };
            volume.downward_api =
                Some(DownwardAPIVolumeSource { items: Some(vec![item]), ..DownwardAPIVolumeSource::default() });
        }
        ConfigFrom::ConfigMap(name) => {
            volume.config_map = Some(ConfigMapVolumeSource { name: name.clone(), ..ConfigMapVolumeSource::default() });
        }
    }
    volume
}

/// The volume under `/store`, and whether it is mounted read-only.
fn store_volume(config: &OperatorConfig, use_: &StoreUse) -> (Volume, bool) {
    let place = &config.store;
    let reads = *use_ == StoreUse::Reads;
    if let Some(image) = &place.image {
        let source =
            ImageVolumeSource { reference: Some(image.clone()), pull_policy: Some(config.image.pull_policy.clone()) };
        return (Volume { name: "store".to_owned(), image: Some(source), ..Volume::default() }, true);
    }
    if place.uri.is_some() {
        // What is fetched is kept here; a claim keeps checkpoints, too.
        return match use_ {
            StoreUse::Makes { claim: Some(claim) } => (claimed("store", claim, false), false),
            StoreUse::Makes { claim: None } | StoreUse::Reads => (empty("store"), false),
        };
    }
    let claim = place.claim.as_deref().unwrap_or("recmesh-store");
    (claimed("store", claim, reads), reads)
}

fn claimed(name: &str, claim: &str, read_only: bool) -> Volume {
    let source =
        PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: read_only.then_some(true) };
    Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }
}

fn empty(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// A port of a container.
fn container_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn amounts(amounts: &Amounts) -> BTreeMap<String, Quantity> {
    let named = [("cpu", &amounts.cpu), ("memory", &amounts.memory)];
    named
        .into_iter()
        .filter_map(|(name, amount)| amount.as_ref().map(|it| (name.to_owned(), Quantity(it.0.clone()))))
        .collect()
}

fn resources(asked: &PodParams) -> ResourceRequirements {
    let mut limits = amounts(&asked.limits);
    if let Some(gpu) = &asked.gpu {
        limits.insert(gpu.resource.clone(), Quantity(gpu.count.to_string()));
    }
    let requests = amounts(&asked.requests);
    let claims: Vec<ResourceClaim> =
        asked.claims.iter().map(|claim| ResourceClaim { name: claim.name.clone(), request: None }).collect();
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: (!limits.is_empty()).then_some(limits),
        claims: (!claims.is_empty()).then_some(claims),
    }
}

fn claim(claim: &config::DeviceClaim) -> PodResourceClaim {
    let mut made = PodResourceClaim { name: claim.name.clone(), ..PodResourceClaim::default() };
    match &claim.source {
        ClaimSource::Template(template) => made.resource_claim_template_name = Some(template.name.clone()),
        ClaimSource::Claim(shared) => made.resource_claim_name = Some(shared.name.clone()),
    }
    made
}

/// All labels that are asked for; the resource's value where both ask for one.
fn selector(config: &OperatorConfig, asked: &PodParams) -> Option<BTreeMap<String, String>> {
    let mut all = config.pods.node_selector.clone();
    all.extend(asked.node_selector.clone());
    (!all.is_empty()).then_some(all)
}

fn tolerations(config: &OperatorConfig, asked: &PodParams) -> Option<Vec<Toleration>> {
    let all = asked.tolerations.iter().chain(&config.pods.tolerations);
    let all: Vec<Toleration> = all.map(toleration).collect();
    (!all.is_empty()).then_some(all)
}

fn toleration(asked: &config::Toleration) -> Toleration {
    let config::Toleration { key, value, effect } = asked;
    let effect = effect.map(|effect| match effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    });
    Toleration {
        key: key.clone(),
        operator: Some(if value.is_some() { "Equal" } else { "Exists" }.to_owned()),
        value: value.clone(),
        effect: effect.map(str::to_owned),
        toleration_seconds: None,
    }
}
