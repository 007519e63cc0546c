//! The chart's rights and settings without its pods. In: values. Out: the accounts, roles and bindings that the chart
//! renders, applied, and the operator's configuration as the chart writes it.
//!
//! So our processes run outside pods with exactly the rights and settings that they have inside.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{Account, Cluster, Process, Space, Told, space::documents};

/// The release's name, and so the prefix of its objects.
pub const RELEASE: &str = "recmesh";

/// What the chart renders for a test's namespace, which is also the one that it watches.
pub struct Release {
    objects: Vec<Value>,
    config: PathBuf,
    operator: Account,
}

impl Release {
    /// Renders the chart with further values (`key=value`, as `helm --set` takes them) and applies its rights.
    pub async fn new(space: &Space, values: &[&str]) -> Self {
        let watched = format!("watchNamespaces={{{}}}", space.name);
        let mut words = vec!["template", RELEASE, "charts/recmesh", "--namespace", &space.name, "--set", &watched];
        for value in values {
            words.extend(["--set", value]);
        }
        let objects = documents(&helm(&words).good().out);
        for object in &objects {
            if matches!(object["kind"].as_str(), Some("ServiceAccount" | "Role" | "RoleBinding")) {
                // The chart's hooks and tests bring accounts of their own.
                if object.pointer("/metadata/annotations/helm.sh~1hook").is_none() {
                    space.kubectl().feed(&["apply", "-f", "-"], &serde_yaml::to_string(object).unwrap()).good();
                }
            }
        }
        let name = format!("{RELEASE}-operator");
        let settings =
            objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name);
        let config = settings.and_then(|map| map["data"]["operator.yaml"].as_str()).unwrap();
        let config = space.write("operator.yaml", config);
        let operator = Account::of(space, &name).await;
        Self { objects, config, operator }
    }

    /// The operator's account.
    pub fn operator(&self) -> &Account {
        &self.operator
    }

    /// What the chart renders.
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// Starts an operator with the chart's rights and settings.
    pub fn start(&self, space: &Space, name: &str) -> Process {
        self.start_as(space, name, &self.operator)
    }

    /// Starts an operator that bears another account's token, so that the audit log tells replicas apart. Its name is
    /// also what it writes into the lease, so each life of a replica needs another.
    pub fn start_as(&self, space: &Space, name: &str, account: &Account) -> Process {
        let admin = format!("127.0.0.1:{}", Process::free_port());
        let config = self.config.to_str().unwrap();
        let words = ["operator", "--config", config, "--admin", &admin, "--identity", name];
        space.start(name, &account.kubeconfig, &words)
    }

    /// A further account with the operator's rights.
    pub async fn twin(&self, space: &Space, name: &str) -> Account {
        let of = format!("{RELEASE}-operator");
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        space.kubectl().feed(&["apply", "-f", "-"], &serde_yaml::to_string(&account).unwrap()).good();
        for binding in &self.objects {
            if binding["kind"] == "RoleBinding" && binding["subjects"][0]["name"] == of {
                let mut binding = binding.clone();
                binding["metadata"]["name"] =
                    json!(format!("{}-{name}", binding["metadata"]["name"].as_str().unwrap()));
                binding["subjects"][0]["name"] = json!(name);
                space.kubectl().feed(&["apply", "-f", "-"], &serde_yaml::to_string(&binding).unwrap()).good();
            }
        }
        Account::of(space, name).await
    }
}

/// Runs helm in the repository's root.
pub fn helm(words: &[&str]) -> Told {
    let mut command = Command::new(Cluster::program("helm"));
    command.args(words).current_dir(Cluster::file("")).env("KUBECONFIG", Cluster::kubeconfig());
    command.output().unwrap().into()
}
