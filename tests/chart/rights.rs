//! Rights: named one by one, no more than what a process calls, and only where it works.

use serde_json::Value;

use super::helm::{Case, NAMESPACE, case, cases};

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Every rule of a case with the role that holds it.
fn rules(case: &Case) -> Vec<(String, &Value)> {
    let roles = case.of("Role").chain(case.of("ClusterRole"));
    let rules =
        |role: &'_ Value| format!("{} {} {}", role["kind"], role["metadata"]["namespace"], role["metadata"]["name"]);
    roles.flat_map(|role| role["rules"].as_array().unwrap().iter().map(move |rule| (rules(role), rule))).collect()
}

#[test]
fn nothing_is_granted_by_a_star() {
    for case in cases() {
        for (role, rule) in rules(case) {
            for part in ["apiGroups", "resources", "verbs"] {
                let names = strings(&rule[part]);
                assert!(
                    !names.is_empty() && names.iter().all(|name| !name.contains('*')),
                    "{}: {role}: {rule}",
                    case.name
                );
            }
            for verb in strings(&rule["verbs"]) {
                assert!(!["escalate", "bind", "impersonate"].contains(&verb), "{}: {role}: {rule}", case.name);
            }
            for resource in strings(&rule["resources"]) {
                let dangerous =
                    ["secrets", "pods/exec", "pods/log", "nodes", "serviceaccounts", "serviceaccounts/token"];
                assert!(!dangerous.contains(&resource), "{}: {role}: {rule}", case.name);
            }
        }
    }
}

#[test]
fn the_operator_never_writes_what_people_declare() {
    for case in cases() {
        for (role, rule) in rules(case).iter().filter(|(role, _)| role.contains("-operator")) {
            if strings(&rule["apiGroups"]) != ["recmesh.dev"] {
                continue;
            }
            for resource in strings(&rule["resources"]) {
                let allowed: &[&str] = match resource.split_once('/') {
                    None => &["get", "list", "watch"],
                    Some((_, "status")) => &["patch"],
                    Some(_) => &[],
                };
                assert_eq!(strings(&rule["verbs"]), allowed, "{}: {role}: {resource}", case.name);
            }
        }
    }
}

#[test]
fn the_gateway_only_reads() {
    for case in cases() {
        for (role, rule) in rules(case).iter().filter(|(role, _)| role.contains("-gateway")) {
            assert_eq!(strings(&rule["verbs"]), ["list", "watch"], "{}: {role}", case.name);
            let resources = strings(&rule["resources"]);
            assert!(
                resources == ["configmaps"] || resources == ["endpointslices"],
                "{}: {role}: {resources:?}",
                case.name
            );
        }
    }
}

#[test]
fn watched_namespaces_bound_the_rights() {
    let Some(case) = case("namespaced") else { return };
    let cluster: Vec<&str> =
        case.of("ClusterRoleBinding").map(|binding| binding["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(cluster, ["recmesh-recmesh-crds"], "only the Job that applies definitions acts on the whole cluster");
    let mut bound: Vec<(String, String)> = case
        .of("RoleBinding")
        .map(|binding| (binding["metadata"]["namespace"].clone(), binding["subjects"][0].clone()))
        .map(|(namespace, subject)| {
            assert_eq!(subject["namespace"], NAMESPACE);
            (namespace.as_str().unwrap().to_owned(), subject["name"].as_str().unwrap().to_owned())
        })
        .collect();
    bound.sort();
    let expected = [
        ("news", "recmesh-gateway"),
        ("news", "recmesh-operator"),
        ("recmesh", "recmesh-operator"),
        ("shop", "recmesh-gateway"),
        ("shop", "recmesh-operator"),
    ];
    assert_eq!(bound, expected.map(|(namespace, account)| (namespace.to_owned(), account.to_owned())));
    let gateway = &case.one("Deployment", "recmesh-gateway")["spec"]["template"]["spec"]["containers"][0];
    let arguments = strings(&gateway["args"]);
    assert!(arguments.contains(&"--namespace=shop") && arguments.contains(&"--namespace=news"), "{arguments:?}");
    assert!(arguments.contains(&"--default-namespace=shop"), "{arguments:?}");
}

#[test]
fn the_account_of_workers_has_no_rights() {
    for case in cases() {
        let worker = case.values.pointer("/serviceAccount/worker").and_then(Value::as_str).unwrap_or("recmesh-worker");
        let bindings = case.of("RoleBinding").chain(case.of("ClusterRoleBinding"));
        for binding in bindings {
            assert_ne!(binding["subjects"][0]["name"], worker, "{}", case.name);
            assert_ne!(binding["subjects"][0]["name"], "default", "{}", case.name);
        }
    }
}

#[test]
fn each_role_is_bound_and_each_binding_has_its_role() {
    for case in cases() {
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut roles: Vec<String> = case.of("ClusterRole").chain(case.of("Role")).map(name).collect();
        // Those for people are bound by the cluster's own roles, which collect them.
        roles.retain(|role| !role.ends_with("-view") && !role.ends_with("-edit"));
        let bindings = case.of("ClusterRoleBinding").chain(case.of("RoleBinding"));
        let mut bound: Vec<String> =
            bindings.map(|binding| binding["roleRef"]["name"].as_str().unwrap().to_owned()).collect();
        roles.sort();
        bound.sort();
        assert_eq!(roles, bound, "{}", case.name);
    }
}
