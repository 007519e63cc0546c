//! The workers of a pool: a workload, the Service that names them, the ConfigMap that tells them what to serve, and the
//! budget that keeps most of them while nodes are drained.
//!
//! In: generations that share their workers, how many, how their pods run. Out: objects of one name. A generation of
//! its own has its own workers; generations that are swapped in place share theirs.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet, StatefulSetSpec,
        },
        core::v1::{ConfigMap, HTTPGetAction, PodTemplateSpec, Probe, Service, ServiceSpec, TopologySpreadConstraint},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use recmesh_contract::config::{PoolConfig, Rollout, WorkerConfig};

use super::{
    job::port,
    meta::{Owner, selector},
    pod::{ConfigFrom, Part, StoreUse, pod},
};
use crate::{
    OperatorConfig, names,
    outcome::Child,
    terms::{Asked, Generation},
};

/// Seconds that a worker may take to finish what it was asked.
const GRACE: i64 = 45;
/// Former templates of a workload that are kept: nobody rolls back by hand, the operator would undo it.
const HISTORY: i32 = 2;

/// The objects of one name: every generation in `pools` runs in the same workers.
#[must_use]
pub fn workers(settings: &OperatorConfig, owner: &Owner, asked: &Asked, pools: &[&Generation]) -> Vec<Child> {
    let Some(first) = pools.first() else { return Vec::new() };
    let name = first.place.service.as_str();
    let generation = first.label();
    let own = [(names::POOL, first.pool.as_str()), (names::GENERATION, generation)];
    let labels = owner.labels(names::WORKER, &own);
    let selects = selector(&[
        (names::KIND, owner.key.kind.as_str()),
        (names::NAME, owner.key.name.as_str()),
        (names::POOL, first.pool.as_str()),
        (names::GENERATION, generation),
    ]);
    let replicas = i32::try_from(asked.serving.replicas).unwrap_or(i32::MAX);
    let set = Set { settings, owner, asked, name, labels, selects, replicas, stable: first.stable() };
    let mut children = vec![set.config_map(pools), set.service(), set.workload()];
    if replicas > 1 {
        children.push(set.budget());
    }
    children
}

/// What the objects of one name share.
struct Set<'a> {
    settings: &'a OperatorConfig,
    owner: &'a Owner,
    asked: &'a Asked,
    name: &'a str,
    labels: BTreeMap<String, String>,
    selects: LabelSelector,
    replicas: i32,
    stable: bool,
}

impl Set<'_> {
    fn meta(&self) -> ObjectMeta {
        self.owner.meta(self.name, self.labels.clone())
    }

    fn config_map(&self, pools: &[&Generation]) -> Child {
        let mut pools: Vec<PoolConfig> = pools.iter().map(|generation| generation.config.clone()).collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        let told = serde_json::to_string(&WorkerConfig { pools }).unwrap_or_default();
        let mut metadata = self.meta();
        if self.stable {
            metadata.annotations = Some(BTreeMap::from([(names::AFFINITY.to_owned(), "user".to_owned())]));
        }
        let data = Some(BTreeMap::from([(names::CONFIG_FILE.to_owned(), told)]));
        Child::ConfigMap(Box::new(ConfigMap { metadata, data, ..ConfigMap::default() }))
    }

    fn service(&self) -> Child {
        let spec = ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: self.selects.match_labels.clone(),
            ports: Some(vec![port("grpc", names::GRPC_PORT)]),
            ..ServiceSpec::default()
        };
        Child::Service(Box::new(Service { metadata: self.meta(), spec: Some(spec), status: None }))
    }

    fn workload(&self) -> Child {
        let replicas = Some(self.replicas);
        let (selector, template) = (self.selects.clone(), self.template());
        if self.stable {
            let spec = StatefulSetSpec {
                replicas,
                selector,
                service_name: Some(self.name.to_owned()),
                pod_management_policy: Some("Parallel".to_owned()),
                revision_history_limit: Some(HISTORY),
                template,
                ..StatefulSetSpec::default()
            };
            let made = StatefulSet { metadata: self.meta(), spec, status: None };
            return Child::StatefulSet(Box::new(made));
        }
        // Without a spare device no further pod could start: one goes before the next one comes.
        let (surge, unavailable) = match self.asked.serving.rollout {
            Rollout::Surge => (1, 0),
            Rollout::InPlace => (0, 1),
        };
        let spec = DeploymentSpec {
            replicas,
            selector,
            revision_history_limit: Some(HISTORY),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(surge)),
                    max_unavailable: Some(IntOrString::Int(unavailable)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        };
        Child::Deployment(Box::new(Deployment { metadata: self.meta(), spec, status: None }))
    }

    fn template(&self) -> PodTemplateSpec {
        let mut spec = pod(
            self.settings,
            Part {
                command: "worker",
                arguments: vec![
                    format!("--listen=0.0.0.0:{}", names::GRPC_PORT),
                    format!("--admin=0.0.0.0:{}", names::ADMIN_PORT),
                ],
                ports: vec![("grpc", names::GRPC_PORT), ("admin", names::ADMIN_PORT)],
                config: ConfigFrom::ConfigMap(self.name.to_owned()),
                store: StoreUse::Reads,
                data: false,
                asked: &self.asked.pod,
                grace: GRACE,
            },
        );
        for container in &mut spec.containers {
            // The admin port answers from the start: a process that hangs is told from one that loads weights.
            container.startup_probe = Some(probe("/livez", 1, 120));
            container.liveness_probe = Some(probe("/livez", 10, 3));
            container.readiness_probe = Some(probe("/readyz", 2, 2));
        }
        spec.topology_spread_constraints =
            Some(["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| self.spread(key)).to_vec());
        PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(self.labels.clone()), ..ObjectMeta::default() }),
            spec: Some(spec),
        }
    }

    fn spread(&self, key: &str) -> TopologySpreadConstraint {
        TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(self.selects.clone()),
            ..TopologySpreadConstraint::default()
        }
    }

    fn budget(&self) -> Child {
        let spec = PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(self.selects.clone()),
            // A worker that is not ready serves nobody; it must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        };
        let made = PodDisruptionBudget { metadata: self.meta(), spec: Some(spec), status: None };
        Child::PodDisruptionBudget(Box::new(made))
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
