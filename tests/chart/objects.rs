//! Every rendered object is one that Kubernetes knows, field by field, with a name that it takes.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
    batch::v1::Job,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::helm::cases;

/// Through the typed struct and back: a field that Kubernetes does not know is lost on the way.
fn known<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object:#}"));
    serde_json::to_value(typed).unwrap()
}

/// Kinds of the Prometheus operator have no types here: the fields that are used, in full.
fn monitor(object: &Value) -> Value {
    let fields = [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/labels/*",
        "/spec/namespaceSelector/matchNames/*",
        "/spec/namespaceSelector/any",
        "/spec/selector/matchLabels/*",
        "/spec/selector/matchExpressions/*/key",
        "/spec/selector/matchExpressions/*/operator",
        "/spec/selector/matchExpressions/*/values/*",
        "/spec/endpoints/*/port",
        "/spec/endpoints/*/path",
        "/spec/endpoints/*/interval",
        "/spec/podMetricsEndpoints/*/port",
        "/spec/podMetricsEndpoints/*/path",
        "/spec/podMetricsEndpoints/*/interval",
    ];
    let mut leaves = Vec::new();
    walk(object, &mut Vec::new(), &mut leaves);
    for leaf in leaves {
        let fits = |field: &&str| -> bool {
            let wanted: Vec<&str> = field.split('/').skip(1).collect();
            wanted.len() == leaf.len() && wanted.iter().zip(&leaf).all(|(wanted, got)| *wanted == "*" || wanted == got)
        };
        assert!(fields.iter().any(fits), "unknown field {leaf:?} in {object:#}");
    }
    object.clone()
}

/// Paths to everything that is neither a map nor a list.
fn walk(value: &Value, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => return leaves.push(path.clone()),
    };
    for (key, value) in parts {
        path.push(key);
        walk(value, path, leaves);
        path.pop();
    }
}

#[test]
fn every_field_is_known_to_kubernetes() {
    for case in cases() {
        assert!(!case.objects.is_empty(), "{}", case.name);
        for object in &case.objects {
            let of = format!("{}/{}", object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            let back = match of.as_str() {
                "v1/ConfigMap" => known::<ConfigMap>(object),
                "v1/Pod" => known::<Pod>(object),
                "v1/Service" => known::<Service>(object),
                "v1/ServiceAccount" => known::<ServiceAccount>(object),
                "apps/v1/Deployment" => known::<Deployment>(object),
                "batch/v1/Job" => known::<Job>(object),
                "coordination.k8s.io/v1/Lease" => known::<Lease>(object),
                "policy/v1/PodDisruptionBudget" => known::<PodDisruptionBudget>(object),
                "networking.k8s.io/v1/NetworkPolicy" => known::<NetworkPolicy>(object),
                "rbac.authorization.k8s.io/v1/Role" => known::<Role>(object),
                "rbac.authorization.k8s.io/v1/RoleBinding" => known::<RoleBinding>(object),
                "rbac.authorization.k8s.io/v1/ClusterRole" => known::<ClusterRole>(object),
                "rbac.authorization.k8s.io/v1/ClusterRoleBinding" => known::<ClusterRoleBinding>(object),
                "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" => {
                    known::<ValidatingAdmissionPolicy>(object)
                }
                "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding" => {
                    known::<ValidatingAdmissionPolicyBinding>(object)
                }
                "monitoring.coreos.com/v1/ServiceMonitor" | "monitoring.coreos.com/v1/PodMonitor" => monitor(object),
                _ => panic!("{}: {of} is checked by nobody", case.name),
            };
            assert_eq!(&back, object, "{}: a field of {of} is unknown or has another form", case.name);
        }
    }
}

#[test]
fn a_misspelt_field_is_found() {
    let mut object = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": []}});
    assert_eq!(known::<Pod>(&object), object);
    object["spec"]["enableServiceLink"] = false.into();
    assert_ne!(known::<Pod>(&object), object);
}

#[test]
fn names_and_labels_are_such_that_kubernetes_takes() {
    let label = |text: &str| {
        let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
        let inside = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        text.len() <= 63 && inside && ends(text.chars().next()) && ends(text.chars().last())
    };
    for case in cases() {
        let mut seen = BTreeSet::new();
        for object in &case.objects {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap();
            assert!(label(name) && name == name.to_lowercase(), "{}: name {name}", case.name);
            for (key, value) in metadata["labels"].as_object().unwrap() {
                assert!(label(value.as_str().unwrap()), "{}: label {key}: {value}", case.name);
                assert!(!key.starts_with("recmesh.dev/"), "{}: {key} is the operator's", case.name);
            }
            let key = [&object["kind"], &metadata["namespace"], &metadata["name"]].map(ToString::to_string);
            assert!(seen.insert(key.clone()), "{}: {key:?} twice", case.name);
        }
    }
}

#[test]
fn long_release_names_still_fit() {
    let Some(helm) = super::helm::program() else { return };
    let long = "long.release-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let text = super::helm::template(&helm, long, &[]).unwrap();
    for object in super::helm::parse(&text) {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && !name.contains('.'), "{} {name}", object["kind"]);
    }
}
