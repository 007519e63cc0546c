//! NetworkPolicies as what they mean: who reaches whom, on which port.
//!
//! A small model of the rules decides each connection; the flows that must work and those that must not are listed.

use serde_json::Value;

use super::helm::{Case, case};

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    Operator,
    Gateway,
    Job,
    Worker,
    Crds,
    Test,
    /// A pod of somebody else.
    Other(&'static str),
    ApiServer,
    Dns,
}
use End::{ApiServer, Crds, Dns, Gateway, Job, Operator, Other, Test, Worker};

impl End {
    /// Namespace and labels; nothing for what is no pod.
    fn pod(self) -> Option<(&'static str, Vec<(&'static str, &'static str)>)> {
        let own = |component| {
            let labels =
                [("name", "recmesh"), ("instance", "recmesh"), ("managed-by", "Helm"), ("component", component)];
            Some(("recmesh", labels.to_vec()))
        };
        let made = |component| {
            let labels = [("name", "recmesh"), ("managed-by", "recmesh-operator"), ("component", component)];
            Some(("shop", labels.to_vec()))
        };
        match self {
            Operator => own("operator"),
            Gateway => own("gateway"),
            Crds => own("crds"),
            Test => own("test"),
            Job => made("job"),
            Worker => made("worker"),
            Other(namespace) => Some((namespace, Vec::new())),
            Dns => Some(("kube-system", Vec::new())),
            ApiServer => None,
        }
    }

    fn label(self, key: &str) -> Option<&'static str> {
        let short = key.strip_prefix("app.kubernetes.io/")?;
        self.pod()?.1.iter().find(|(name, _)| *name == short).map(|(_, value)| *value)
    }
}

/// Whether labels, as a function, fit a selector.
fn fits<'a>(selector: &Value, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    labels.into_iter().all(|(key, value)| label(key) == value.as_str())
        && expressions.into_iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "the model knows In only");
            let values = expression["values"].as_array().unwrap();
            let got = label(expression["key"].as_str().unwrap());
            got.is_some_and(|got| values.iter().any(|value| value == got))
        })
}

/// Whether one rule's peers hold an end. `home` is the policy's namespace.
fn holds(peers: &Value, end: End, home: &str) -> bool {
    let Some(peers) = peers.as_array().filter(|peers| !peers.is_empty()) else { return true };
    peers.iter().any(|peer| match end.pod() {
        None => !peer["ipBlock"].is_null(),
        Some(_) if !peer["ipBlock"].is_null() => false,
        Some((namespace, _)) => {
            let place = match &peer["namespaceSelector"] {
                Value::Null => namespace == home,
                selector => fits(selector, |key| (key == "kubernetes.io/metadata.name").then_some(namespace)),
            };
            place && (peer["podSelector"].is_null() || fits(&peer["podSelector"], |key| end.label(key)))
        }
    })
}

/// Whether one direction at one end lets a connection pass.
fn passes(case: &Case, direction: &str, at: End, other: End, port: u64) -> bool {
    let Some((namespace, _)) = at.pod() else { return true };
    let policies: Vec<&Value> = case
        .of("NetworkPolicy")
        .filter(|policy| policy["metadata"]["namespace"] == namespace)
        .map(|policy| &policy["spec"])
        .filter(|spec| fits(&spec["podSelector"], |key| at.label(key)))
        .filter(|spec| spec["policyTypes"].as_array().unwrap().iter().any(|kind| kind == direction))
        .collect();
    let (rules, peers) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    policies.is_empty()
        || policies.iter().flat_map(|spec| spec[rules].as_array().into_iter().flatten()).any(|rule| {
            let ports = rule["ports"].as_array().unwrap();
            ports.iter().any(|open| open["port"] == port) && holds(&rule[peers], other, namespace)
        })
}

fn reaches(case: &Case, from: End, to: End, port: u64) -> bool {
    passes(case, "Egress", from, to, port) && passes(case, "Ingress", to, from, port)
}

#[test]
fn exactly_the_flows_that_are_needed_pass() {
    // Policies of jobs and workers stand in the namespaces that are known.
    for name in ["namespaced", "object-store"] {
        let Some(case) = case(name) else { return };
        let shop = name == "namespaced";
        let mut flows = vec![
            (Test, Dns, 53),
            (Operator, Job, 8081),
            (Operator, Worker, 8081),
            (Operator, Gateway, 8081),
            (Gateway, Worker, 9000),
            (Test, Gateway, 8080),
            (Test, Gateway, 8081),
            (Test, Operator, 8081),
            (Other("ingress"), Gateway, 8080),
        ];
        for from in [Operator, Gateway, Crds] {
            flows.extend([(from, ApiServer, 443), (from, ApiServer, 6443), (from, Dns, 53)]);
        }
        if shop {
            flows.extend([(Other("web"), Gateway, 8080), (Other("monitoring"), Gateway, 8080)]);
            for to in [Operator, Gateway, Worker, Job] {
                flows.push((Other("monitoring"), to, 8081));
            }
        }
        let ends = [Operator, Gateway, Job, Worker, Crds, Test, Other("ingress"), Other("web"), Other("monitoring")];
        for from in ends {
            for to in ends.into_iter().chain([ApiServer, Dns]) {
                for port in [53, 443, 6443, 8080, 8081, 9000] {
                    let outsiders = matches!(from, Other(_)) && matches!(to, Other(_) | ApiServer | Dns);
                    // In a namespace that the chart does not know of, pods of the operator are as open as any.
                    let unknown = |end: End| !shop && matches!(end, Job | Worker);
                    if outsiders || unknown(to) || unknown(from) {
                        continue;
                    }
                    let wanted = flows.iter().any(|flow| format!("{flow:?}") == format!("{:?}", (from, to, port)));
                    assert_eq!(reaches(case, from, to, port), wanted, "{name}: {from:?} to {to:?}:{port}");
                }
            }
        }
    }
}

#[test]
fn without_an_object_store_jobs_and_workers_call_nobody() {
    let Some(case) = case("namespaced") else { return };
    for policy in case.of("NetworkPolicy").filter(|policy| policy["metadata"]["namespace"] == "shop") {
        assert!(policy["spec"]["egress"].is_null(), "{policy}");
    }
    let Some(case) = self::case("object-store") else { return };
    let made = case.one("NetworkPolicy", "recmesh-recmesh-made");
    assert_eq!(made["spec"]["egress"][1]["ports"][0]["port"], 9000);
    assert_eq!(made["spec"]["egress"][1]["to"][0]["ipBlock"]["cidr"], "10.20.0.0/16");
}
