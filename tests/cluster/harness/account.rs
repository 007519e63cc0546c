//! A ServiceAccount that exists. In: its name. Out: a kubeconfig that bears its token and so has its rights, no others.

use std::path::PathBuf;

use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use kube::{Api, api::PostParams, config::Kubeconfig};
use serde_json::json;

use super::{Cluster, Space};

/// A ServiceAccount of a test's namespace.
#[derive(Clone)]
pub struct Account {
    /// `system:serviceaccount:<namespace>:<name>`, as the audit log has it.
    pub user: String,
    /// Acts with the account's rights.
    pub kubeconfig: PathBuf,
}

impl Account {
    /// The account's token, good for an hour, in a kubeconfig.
    pub async fn of(space: &Space, name: &str) -> Self {
        let accounts: Api<ServiceAccount> = Api::namespaced(space.cluster.client.clone(), &space.name);
        let request = TokenRequest::default();
        let answer: TokenRequest =
            accounts.create_subresource("token", name, &PostParams::default(), &request).await.unwrap();
        let admin = Kubeconfig::read_from(Cluster::kubeconfig()).unwrap();
        let cluster = &admin.clusters[0].name;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": admin.clusters,
            "users": [{"name": name, "user": {"token": answer.status.unwrap().token}}],
            "contexts": [{"name": "test", "context": {"cluster": cluster, "user": name, "namespace": space.name}}],
            "current-context": "test",
        });
        Self {
            user: format!("system:serviceaccount:{}:{name}", space.name),
            kubeconfig: space.write(&format!("{name}.kubeconfig"), &config.to_string()),
        }
    }
}
