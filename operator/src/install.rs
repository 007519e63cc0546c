//! Puts the custom resource definitions into a cluster, or takes them away: `recmesh crds --apply`, which the chart runs
//! before anything else, and `--delete`, which it runs at its end where it is asked to.
//!
//! In: the definitions of this version. Out: the same in the cluster, established, so that resources can be made. They
//! are applied server-side: a definition may be larger than what client-side apply can remember. A definition of a
//! newer version stays: it only has more than an older one, and putting the older one back would cut stored resources.

use std::{fmt, future::Future, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        conditions,
        wait::{self, await_condition},
    },
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    clients,
    failure::{Action, Failure},
    fence::{Fence, Throttled},
    names,
};

/// The annotation with the version whose definition it is.
const VERSION: &str = "recmesh.dev/version";
/// Time between two tries while the API server is not ready for them.
const AGAIN: Duration = Duration::from_millis(500);

/// Why definitions are not there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No way to the API server.
    #[error("no way to the API server: {0}; set KUBECONFIG, or run it in the cluster")]
    Client(#[from] kube::Error),
    /// A definition is not taken.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// It took too long.
    #[error("{what} was not done within {} s: {last}", .limit.as_secs())]
    Late {
        /// What.
        what: String,
        /// How long it was waited for.
        limit: Duration,
        /// The last trouble.
        last: String,
    },
}

/// A definition that is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The definition.
    pub name: String,
    /// Its version there, where that is newer than ours and so was left as it is.
    pub newer: Option<String>,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.newer {
            None => write!(f, "customresourcedefinition/{} applied", self.name),
            Some(newer) => write!(f, "customresourcedefinition/{} left as it is: of version {newer}", self.name),
        }
    }
}

/// Applies every definition and waits until each is established.
///
/// # Errors
/// See [`InstallError`].
pub async fn install(limit: Duration) -> Result<Vec<Installed>, InstallError> {
    let client = clients::fenced(clients::place().await?, &Fence::open())?;
    install_with(client, limit).await
}

/// The same with a client.
///
/// # Errors
/// See [`InstallError`].
pub async fn install_with(client: Client, limit: Duration) -> Result<Vec<Installed>, InstallError> {
    let cluster = Definitions::of(client, limit);
    let mut applied = Vec::new();
    for definition in recmesh_crds::all() {
        let name = definition.name_any();
        let found = cluster.ask("applying", &name, || cluster.api.get_opt(&name)).await?;
        if let Some(there) = found.and_then(|found| found.annotations().get(VERSION).cloned())
            && number(&there) > number(env!("CARGO_PKG_VERSION"))
        {
            applied.push(Installed { name, newer: Some(there) });
            continue;
        }
        let document = Patch::Apply(document(&definition));
        let params = PatchParams::apply(names::OPERATOR).force();
        cluster.ask("applying", &name, || cluster.api.patch(&name, &params, &document)).await?;
        applied.push(Installed { name, newer: None });
    }
    for Installed { name, .. } in &applied {
        let established = await_condition(cluster.api.clone(), name, conditions::is_crd_established());
        cluster.see("establishing", name, established, "the API server has not established it").await?;
    }
    Ok(applied)
}

/// Deletes every definition, and with it every resource of its kind, and waits until each is gone.
///
/// # Errors
/// See [`InstallError`].
pub async fn remove(limit: Duration) -> Result<Vec<String>, InstallError> {
    let client = clients::fenced(clients::place().await?, &Fence::open())?;
    remove_with(client, limit).await
}

/// The same with a client.
///
/// # Errors
/// See [`InstallError`].
pub async fn remove_with(client: Client, limit: Duration) -> Result<Vec<String>, InstallError> {
    let cluster = Definitions::of(client, limit);
    let mut gone = Vec::new();
    for definition in recmesh_crds::all() {
        let name = definition.name_any();
        let found = cluster.ask("deleting", &name, || cluster.api.get_opt(&name)).await?;
        let Some(uid) = found.and_then(|found| found.uid()) else { continue };
        let params = DeleteParams::background();
        let delete = || async {
            match cluster.api.delete(&name, &params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                answer => answer.map(|_| true),
            }
        };
        if cluster.ask("deleting", &name, delete).await? {
            gone.push((name, uid));
        }
    }
    for (name, uid) in &gone {
        let deleted = await_condition(cluster.api.clone(), name, conditions::is_deleted(uid));
        cluster.see("deleting", name, deleted, "resources of its kind are still being deleted").await?;
    }
    Ok(gone.into_iter().map(|(name, _)| name).collect())
}

/// The definitions in a cluster, and until when something may be done to them.
struct Definitions {
    api: Api<CustomResourceDefinition>,
    deadline: Instant,
    limit: Duration,
}

impl Definitions {
    fn of(client: Client, limit: Duration) -> Self {
        Self { api: Api::all(client), deadline: Instant::now() + limit, limit }
    }

    fn late(&self, doing: &str, name: &str, last: String) -> InstallError {
        InstallError::Late { what: format!("{doing} {name}"), limit: self.limit, last }
    }

    /// Tries until it works, is refused, or is late.
    async fn ask<T, F>(&self, doing: &str, name: &str, ask: impl FnMut() -> F) -> Result<T, InstallError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        trying(self.deadline, ask).await.map_err(|Last { error, late }| {
            let failure = Failure::new(format!("CustomResourceDefinition {name}"), error);
            if late { self.late(doing, name, failure.to_string()) } else { failure.into() }
        })
    }

    /// Waits until the cluster shows it; `last` is what is known of it while it does not.
    async fn see<T>(
        &self,
        doing: &str,
        name: &str,
        seen: impl Future<Output = Result<T, wait::Error>>,
        last: &str,
    ) -> Result<(), InstallError> {
        match timeout_at(self.deadline, seen).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.late(doing, name, error.to_string())),
            Err(_) => Err(self.late(doing, name, last.to_owned())),
        }
    }
}

/// What ended the tries.
struct Last {
    error: kube::Error,
    late: bool,
}

/// Tries until it works, until it is refused, or until the deadline: an API server that has just started, or is loaded,
/// answers 429 and 503.
async fn trying<T, F>(deadline: Instant, mut ask: impl FnMut() -> F) -> Result<T, Last>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    loop {
        let error = match timeout_at(deadline, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(Last { error: kube::Error::Service("no answer in time".into()), late: true }),
        };
        let (failure, error) = sorted(error);
        let wait = match failure {
            Action::Await => return Err(Last { error, late: false }),
            Action::After(wait) => wait,
            Action::Soon | Action::Backoff => AGAIN,
        };
        if Instant::now() + wait >= deadline {
            return Err(Last { error, late: true });
        }
        sleep(wait).await;
    }
}

/// When to try again; never what is refused.
fn sorted(error: kube::Error) -> (Action, kube::Error) {
    let action = match &error {
        kube::Error::Api(status) => match status.code {
            409 | 429 | 500.. => Action::Backoff,
            _ => Action::Await,
        },
        kube::Error::Service(source) => match source.downcast_ref::<Throttled>() {
            Some(throttled) => Action::After(throttled.0),
            None => Action::Backoff,
        },
        kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => Action::Backoff,
        _ => Action::Await,
    };
    (action, error)
}

/// A definition as it is applied: with its version, and without the status, which is the API server's.
fn document(definition: &CustomResourceDefinition) -> Value {
    let mut document = serde_json::to_value(definition).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.remove("status");
    }
    if let Some(meta) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
        annotations[VERSION] = json!(env!("CARGO_PKG_VERSION"));
        let labels = meta.entry("labels").or_insert_with(|| json!({}));
        labels[names::APP] = json!(names::RECMESH);
    }
    document
}

/// A version as numbers; what is none is older than everything.
fn number(version: &str) -> Vec<u64> {
    version.split(['-', '+']).next().unwrap_or("").split('.').map_while(|part| part.parse().ok()).collect()
}
