//! The kinds of objects that the operator makes, as far as watches and `apply` need them, and what is left out of their
//! caches.
//!
//! In: a kind's type. Out: its cache, slim objects. What readers and the comparison before a write look at stays.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, PodSpec, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource,
    core::{NamespaceResourceScope, ObjectMeta},
};
use serde::{Serialize, de::DeserializeOwned};

use super::Caches;
use crate::{cache::Cache, here, outcome::Subject};

/// What `kubectl apply` remembers: as large as the object itself, and read by nobody here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A kind of object that is watched beside the resources.
pub trait Made:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + PartialEq
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its cache.
    fn cache(caches: &Caches) -> &Cache<Self>;

    /// Drops what nobody reads.
    fn slim(&mut self) {
        slim(self.meta_mut());
    }
}

/// Drops what nobody reads from any object's metadata.
pub fn slim(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            meta.annotations = None;
        }
    }
}

/// The resource that an object is made for.
#[must_use]
pub fn owner(meta: &ObjectMeta) -> Option<Subject> {
    let (kind, name) = here::owner(meta)?;
    Some(Subject { kind, namespace: meta.namespace.clone()?, name: name.to_owned() })
}

macro_rules! made {
    ($($kind:ident in $cache:ident),* $(,)?) => {
        $(impl Made for $kind {
            fn cache(caches: &Caches) -> &Cache<Self> {
                &caches.$cache
            }
        })*
    };
}

made! {
    Job in jobs,
    Deployment in deployments,
    StatefulSet in stateful_sets,
    Service in services,
    ConfigMap in config_maps,
    PodDisruptionBudget in budgets,
    HorizontalPodAutoscaler in autoscalers,
    EndpointSlice in slices,
}

impl Made for Pod {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.pods
    }

    /// A pod's spec is its owner's template, which is cached once there; only its place is its own.
    fn slim(&mut self) {
        slim(&mut self.metadata);
        let node = self.spec.take().and_then(|spec| spec.node_name);
        self.spec = Some(PodSpec { node_name: node, ..PodSpec::default() });
    }
}
