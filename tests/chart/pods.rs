//! What every pod of the chart is held to: restricted security, a read-only root, resources, probes, its own rights only.

use serde_json::Value;

use super::helm::{Case, case, cases};

/// Pod templates and pods with the name of what they belong to.
fn pods(case: &Case) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for object in &case.objects {
        let name = format!("{}: {}/{}", case.name, object["kind"].as_str().unwrap(), object["metadata"]["name"]);
        match object["kind"].as_str() {
            Some("Pod") => found.push((name, &object["spec"])),
            Some("Deployment" | "Job") => found.push((name, &object["spec"]["template"]["spec"])),
            _ => {}
        }
    }
    found
}

fn containers(pod: &Value) -> &Vec<Value> {
    pod["containers"].as_array().unwrap()
}

#[test]
fn pods_are_restricted() {
    for case in cases().iter().filter(|case| case.name != "loose") {
        for (name, pod) in pods(case) {
            let security = &pod["securityContext"];
            assert_eq!(security["runAsNonRoot"], true, "{name}");
            assert_eq!(security["runAsUser"], 65532, "{name}");
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            for forbidden in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
                assert!(pod[forbidden].is_null(), "{name}: {forbidden}");
            }
            for volume in pod["volumes"].as_array().into_iter().flatten() {
                let kinds: Vec<&String> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
                assert!(
                    kinds.iter().all(|kind| ["configMap", "emptyDir"].contains(&kind.as_str())),
                    "{name}: {kinds:?}"
                );
            }
            for container in containers(pod) {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
                assert!(security["capabilities"]["add"].is_null(), "{name}");
            }
        }
    }
}

#[test]
fn containers_say_what_they_use() {
    for case in cases() {
        for (name, pod) in pods(case) {
            for container in containers(pod) {
                for amount in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                    assert!(container["resources"].pointer(amount).is_some(), "{name}: {amount}");
                }
                if name.contains("Deployment") {
                    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez", "{name}");
                    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz", "{name}");
                    let ports = container["ports"].as_array().unwrap();
                    assert!(
                        ports.iter().any(|port| port["name"] == "admin" && port["containerPort"] == 8081),
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn tokens_are_mounted_only_where_the_api_server_is_asked() {
    for case in cases() {
        for account in case.of("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{}: {account}", case.name);
        }
        for (name, pod) in pods(case) {
            let asks = !name.contains("Pod/");
            assert_eq!(pod["automountServiceAccountToken"], asks, "{name}");
        }
    }
}

#[test]
fn two_gateways_stay_while_they_are_replaced() {
    let Some(case) = case("default") else { return };
    let gateway = &case.one("Deployment", "recmesh-gateway")["spec"];
    assert_eq!(gateway["replicas"], 2);
    assert_eq!(gateway["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let budget = &case.one("PodDisruptionBudget", "recmesh-gateway")["spec"];
    assert_eq!(budget["selector"], gateway["selector"]);
    for service in ["recmesh-gateway", "recmesh-gateway-admin"] {
        let selector = &case.one("Service", service)["spec"]["selector"];
        assert_eq!(selector, &gateway["selector"]["matchLabels"], "{service}");
    }
}

#[test]
fn a_changed_configuration_replaces_operators() {
    let cases = cases();
    let sums: Vec<&Value> = cases
        .iter()
        .flat_map(|case| case.of("Deployment"))
        .map(|deployment| &deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"])
        .filter(|sum| !sum.is_null())
        .collect();
    let mut different = sums.clone();
    different.dedup();
    assert_eq!(sums.len(), cases.len());
    assert!(cases.is_empty() || different.len() >= 4, "{different:?}");
}

#[test]
fn definitions_are_applied_before_and_removed_only_when_asked() {
    let hooks = |name: &str| -> Option<Vec<String>> {
        let case = case(name)?;
        let jobs = case.of("Job").map(|job| {
            let hook = job["metadata"]["annotations"]["helm.sh/hook"].as_str().unwrap();
            let arguments = &job["spec"]["template"]["spec"]["containers"][0]["args"];
            format!("{hook}: {} {}", arguments[0].as_str().unwrap(), arguments[1].as_str().unwrap())
        });
        Some(jobs.collect())
    };
    let Some(plain) = hooks("default") else { return };
    assert_eq!(plain, ["pre-install,pre-upgrade: crds --apply"]);
    assert_eq!(hooks("bare").unwrap(), Vec::<String>::new());
    let mut both = hooks("object-store").unwrap();
    both.sort();
    assert_eq!(both, ["post-delete: crds --delete", "pre-install,pre-upgrade: crds --apply"]);
}
