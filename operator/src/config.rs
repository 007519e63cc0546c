//! What the operator process is told: its image, its store, its gateways, which namespaces it watches.
//!
//! In: one YAML file, which the chart renders. Out: typed settings; unknown fields and wrong values are refused.

use std::collections::BTreeMap;

use recmesh_contract::{Millis, config::Toleration};
use serde::{Deserialize, Serialize};

/// Everything that the operator is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorConfig {
    /// The namespaces whose resources are looked after; empty means all.
    #[serde(default)]
    pub watch_namespaces: Vec<String>,
    /// The image of jobs and workers.
    pub image: Image,
    /// Where artifacts are kept.
    pub store: StorePlace,
    /// Where the files of data sets lie.
    #[serde(default)]
    pub data: DataPlace,
    /// The gateways that route to the pools; without them pipelines are never ready, and say so.
    #[serde(default)]
    pub gateway: Option<GatewayPlace>,
    /// What all pods of jobs and workers have.
    #[serde(default)]
    pub pods: PodDefaults,
    /// How one of several replicas is chosen to act.
    #[serde(default)]
    pub leader_election: LeaderElection,
    /// Resources of one kind that are worked on at once.
    #[serde(default = "defaults::concurrency")]
    pub concurrency: u16,
}

/// An image and how it is pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The image: `registry/recmesh:0.1.0`, or by digest.
    pub reference: String,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(default = "defaults::pull_policy")]
    pub pull_policy: String,
    /// Secrets that hold the registry's credentials, in the resources' namespaces.
    #[serde(default)]
    pub pull_secrets: Vec<String>,
}

/// Where artifacts are kept: exactly one of a claim, an object store and an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorePlace {
    /// A `PersistentVolumeClaim` of this name in every namespace that has resources.
    #[serde(default)]
    pub claim: Option<String>,
    /// An object store: `s3://bucket/prefix`, `gs://bucket/prefix`.
    #[serde(default)]
    pub uri: Option<String>,
    /// The Secret whose keys become the object store's settings, in every namespace that has resources.
    #[serde(default)]
    pub secret_ref: Option<String>,
    /// An image whose files are the artifacts; nothing new can be made with it.
    #[serde(default)]
    pub image: Option<String>,
}

/// Where the files of data sets lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataPlace {
    /// A `PersistentVolumeClaim` of this name in every namespace that has data sets of files.
    #[serde(default)]
    pub claim: Option<String>,
}

/// Where the gateways are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayPlace {
    /// Their namespace.
    pub namespace: String,
    /// The Service of their admin ports.
    pub service: String,
    /// Where requests go, for the pipelines' status.
    pub url: String,
}

/// What all pods of jobs and workers have; a resource's own settings come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodDefaults {
    /// Their service account in the resources' namespaces; `default` without it. They get no token.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Labels that a node must have.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a node may have.
    #[serde(default)]
    pub tolerations: Vec<Toleration>,
    /// Their priority class.
    #[serde(default)]
    pub priority_class_name: Option<String>,
}

/// How one of several replicas is chosen to act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaderElection {
    /// Whether replicas agree on one; a single process outside a cluster need not.
    pub enabled: bool,
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease.
    pub lease: String,
    /// How long a lease holds without being renewed.
    pub duration: Millis,
    /// After how long without a renewal the leader stops acting; below `duration`.
    pub renew: Millis,
    /// Time between tries.
    pub retry: Millis,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self {
            enabled: true,
            namespace: "recmesh".to_owned(),
            lease: "recmesh-operator".to_owned(),
            duration: Millis(15_000),
            renew: Millis(10_000),
            retry: Millis(2_000),
        }
    }
}

/// Why settings are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// They are not what the types say.
    #[error(transparent)]
    Shape(#[from] serde_yaml::Error),
    /// They contradict themselves.
    #[error("{0}")]
    Wrong(String),
}

impl OperatorConfig {
    /// Reads and checks settings.
    ///
    /// # Errors
    /// On unknown fields, wrong values, and what contradicts itself; the message names the field.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_yaml::from_str(text)?;
        config.wrong().map_or(Ok(config.clone()), |wrong| Err(ConfigError::Wrong(wrong)))
    }

    /// What is wrong with them first.
    fn wrong(&self) -> Option<String> {
        let StorePlace { claim, uri, secret_ref, image } = &self.store;
        let places = [claim, uri, image].into_iter().flatten().count();
        if places != 1 {
            return Some(format!("store: give exactly one of claim, uri and image; {places} are given"));
        }
        if secret_ref.is_some() && uri.is_none() {
            return Some("store.secretRef: only an object store (store.uri) has credentials".to_owned());
        }
        let texts =
            [("store.claim", claim), ("store.uri", uri), ("store.image", image), ("data.claim", &self.data.claim)];
        if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.as_deref() == Some("")) {
            return Some(format!("{field}: is empty; remove it or give it a value"));
        }
        if let Some(uri) = uri
            && !["s3://", "gs://"].iter().any(|scheme| uri.len() > scheme.len() && uri.starts_with(scheme))
        {
            return Some(format!("store.uri: {uri:?} is no object store; write s3://bucket/prefix"));
        }
        if self.image.reference.is_empty() {
            return Some("image.reference: is empty; name the image of jobs and workers".to_owned());
        }
        if !["Always", "IfNotPresent", "Never"].contains(&self.image.pull_policy.as_str()) {
            let policy = &self.image.pull_policy;
            return Some(format!("image.pullPolicy: {policy:?} is none of Always, IfNotPresent, Never"));
        }
        if let Some(gateway) = &self.gateway
            && (gateway.namespace.is_empty() || gateway.service.is_empty())
        {
            return Some("gateway: give its namespace and its service".to_owned());
        }
        if self.watch_namespaces.iter().any(String::is_empty) {
            return Some("watchNamespaces: holds an empty name; an empty list means all namespaces".to_owned());
        }
        let LeaderElection { enabled, namespace, lease, duration, renew, retry } = &self.leader_election;
        if *enabled && (namespace.is_empty() || lease.is_empty()) {
            return Some("leaderElection: give its namespace and its lease".to_owned());
        }
        if *enabled && !(retry < renew && renew < duration) || retry.0 == 0 {
            return Some("leaderElection: retry must be below renew, and renew below duration".to_owned());
        }
        if *enabled && duration.0 % 1000 != 0 {
            return Some("leaderElection.duration: a Lease counts whole seconds".to_owned());
        }
        (self.concurrency == 0).then(|| "concurrency: at least 1".to_owned())
    }
}

mod defaults {
    pub fn concurrency() -> u16 {
        4
    }
    pub fn pull_policy() -> String {
        "IfNotPresent".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "image: {reference: a}\nstore: {claim: c}\n";

    #[test]
    fn the_least_is_enough_and_the_rest_has_defaults() {
        let config = OperatorConfig::parse(LEAST).unwrap();
        assert_eq!(config.concurrency, 4);
        assert_eq!(config.leader_election, LeaderElection::default());
        assert_eq!(config.image.pull_policy, "IfNotPresent");
        assert!(config.gateway.is_none() && config.watch_namespaces.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expect) in [
            ("image: {reference: a}\nstore: {}\n", "store: give exactly one of claim, uri and image; 0 are given"),
            ("image: {reference: a}\nstore: {claim: a, image: b}\n", "exactly one of claim, uri and image; 2"),
            ("image: {reference: a}\nstore: {claim: a, secretRef: b}\n", "store.secretRef: only"),
            ("image: {reference: a}\nstore: {uri: /data}\n", "store.uri: \"/data\" is no object store"),
            ("image: {reference: ''}\nstore: {claim: a}\n", "image.reference: is empty"),
            ("image: {reference: a, pullPolicy: Sometimes}\nstore: {claim: a}\n", "image.pullPolicy: \"Sometimes\""),
            (&format!("{LEAST}leaderElection: {{renew: 15s}}\n"), "leaderElection: retry must be below renew"),
            (&format!("{LEAST}leaderElection: {{duration: 15500ms}}\n"), "whole seconds"),
            (&format!("{LEAST}concurrency: 0\n"), "concurrency: at least 1"),
            (&format!("{LEAST}concurency: 4\n"), "unknown field `concurency`"),
            (&format!("{LEAST}store: {{claim: b}}\n"), "store"),
            ("store: {claim: a}\n", "missing field `image`"),
        ] {
            let error = OperatorConfig::parse(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
