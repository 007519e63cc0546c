//! Who changes a model's replicas with the load: a HorizontalPodAutoscaler, or a ScaledObject of KEDA.
//!
//! In: the bounds and what to look at. Out: one object, which writes through the model's scale subresource.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use recmesh_contract::config::{Autoscaling, ScaleMetric};
use recmesh_telemetry::names::{LABEL_POOL, POOL_QUEUED};
use serde_json::json;

use super::meta::Owner;
use crate::{names, outcome::Child};

/// The object that scales a model; `pools` are the plain names of its pools.
#[must_use]
pub fn scaler(owner: &Owner, autoscaling: &Autoscaling, pools: &[&str]) -> Child {
    let Autoscaling { min_replicas, max_replicas, metric } = autoscaling;
    let name = names::scaler(owner.key.kind, &owner.key.name);
    let metadata = owner.meta(&name, owner.labels(names::WORKER, &[]));
    let whole = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    match metric {
        ScaleMetric::Cpu(cpu) => {
            let target = MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(whole(cpu.percent)),
                ..MetricTarget::default()
            };
            let resource = Some(ResourceMetricSource { name: "cpu".to_owned(), target });
            let spec = HorizontalPodAutoscalerSpec {
                min_replicas: Some(whole(*min_replicas)),
                max_replicas: whole(*max_replicas),
                scale_target_ref: CrossVersionObjectReference {
                    api_version: Some(names::API_VERSION.to_owned()),
                    kind: owner.key.kind.as_str().to_owned(),
                    name: owner.key.name.clone(),
                },
                metrics: Some(vec![MetricSpec { type_: "Resource".to_owned(), resource, ..MetricSpec::default() }]),
                ..HorizontalPodAutoscalerSpec::default()
            };
            Child::HorizontalPodAutoscaler(Box::new(HorizontalPodAutoscaler { metadata, spec, status: None }))
        }
        ScaleMetric::Queue(queue) => {
            let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
            let mut made = DynamicObject::new(&name, &ApiResource::from_gvk(&kind));
            made.metadata = metadata;
            // A generation's name is its pool's, a dash and eight digits.
            let generations: Vec<String> = pools.iter().map(|pool| format!("{pool}-[0-9a-f]{{8}}")).collect();
            let namespace = &owner.namespace;
            let query =
                format!("avg({POOL_QUEUED}{{namespace=\"{namespace}\",{LABEL_POOL}=~\"{}\"}})", generations.join("|"));
            made.data = json!({"spec": {
                "scaleTargetRef": {
                    "apiVersion": names::API_VERSION,
                    "kind": owner.key.kind.as_str(),
                    "name": owner.key.name,
                },
                "minReplicaCount": min_replicas,
                "maxReplicaCount": max_replicas,
                "triggers": [{
                    "type": "prometheus",
                    // The mean of a worker already: it is held against the threshold as it is.
                    "metricType": "Value",
                    "metadata": {
                        "serverAddress": queue.server_address,
                        "query": query,
                        "threshold": queue.waiting.to_string(),
                    },
                }],
            }});
            Child::ScaledObject(Box::new(made))
        }
    }
}
