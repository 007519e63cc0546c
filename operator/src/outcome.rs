//! What a reconciliation wants done: the pure steps' answer, which `apply` and `status` carry out.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::core::DynamicObject;
use recmesh_contract::Name;
use recmesh_crds::Kind;

/// The resource that is looked after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Objects that there must be, in the order to apply them; what is as wished already is not applied again.
    pub apply: Vec<Child>,
    /// Objects of ours that are no longer needed.
    pub delete: Vec<ChildRef>,
    /// The whole status, as JSON; conditions carry no times, whoever writes them fills these in. Nothing is written
    /// when it says what is said already.
    pub status: Option<serde_json::Value>,
    /// What to tell as events.
    pub notices: Vec<Notice>,
    /// The running `Job` whose pod is to be asked for its progress.
    pub poll: Option<Name>,
    /// When to look again although nothing has changed.
    pub again: Option<Duration>,
}

/// An object of ours.
#[derive(Clone, Debug)]
pub enum Child {
    /// Runs one job.
    Job(Box<Job>),
    /// Runs a pool's workers.
    Deployment(Box<Deployment>),
    /// Runs a pool's workers under stable names.
    StatefulSet(Box<StatefulSet>),
    /// Names a pool's workers or a training job's pods.
    Service(Box<Service>),
    /// Tells workers or gateways.
    ConfigMap(Box<ConfigMap>),
    /// Keeps some workers while nodes are drained.
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    /// Scales a model by processor time.
    HorizontalPodAutoscaler(Box<HorizontalPodAutoscaler>),
    /// Scales a model by its queue, with KEDA.
    ScaledObject(Box<DynamicObject>),
}

impl Child {
    /// Its kind and name.
    #[must_use]
    pub fn reference(&self) -> ChildRef {
        let (kind, meta) = match self {
            Self::Job(it) => (ChildKind::Job, &it.metadata),
            Self::Deployment(it) => (ChildKind::Deployment, &it.metadata),
            Self::StatefulSet(it) => (ChildKind::StatefulSet, &it.metadata),
            Self::Service(it) => (ChildKind::Service, &it.metadata),
            Self::ConfigMap(it) => (ChildKind::ConfigMap, &it.metadata),
            Self::PodDisruptionBudget(it) => (ChildKind::PodDisruptionBudget, &it.metadata),
            Self::HorizontalPodAutoscaler(it) => (ChildKind::HorizontalPodAutoscaler, &it.metadata),
            Self::ScaledObject(it) => (ChildKind::ScaledObject, &it.metadata),
        };
        ChildRef { kind, name: meta.name.clone().unwrap_or_default() }
    }
}

/// The kinds of objects of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// `batch/v1`.
    Job,
    /// `apps/v1`.
    Deployment,
    /// `apps/v1`.
    StatefulSet,
    /// `v1`.
    Service,
    /// `v1`.
    ConfigMap,
    /// `policy/v1`.
    PodDisruptionBudget,
    /// `autoscaling/v2`.
    HorizontalPodAutoscaler,
    /// `keda.sh/v1alpha1`.
    ScaledObject,
}

/// An object of ours by name, in the subject's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildRef {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
}

/// Something to tell as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// CamelCase, from a closed list.
    pub reason: &'static str,
    /// One sentence, with what to do where something is to be done.
    pub note: String,
}
