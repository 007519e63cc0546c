//! The chart, installed as the documentation says, with a volume that the test makes. In: nothing. Out: a namespace that
//! enforces restricted pods, a release in it, resources of a smaller quickstart that serve; and the way back.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::PathBuf,
    time::{Duration, Instant},
};

use kube::{ResourceExt, api::DeleteParams, runtime::watcher};
use serde_json::{Value, json};

use super::pods;
use crate::harness::{Cluster, Object, RELEASE, Space, Told, documents, helm, is};

/// The namespace, as in the documentation.
pub const NAMESPACE: &str = "recmesh";
/// The claim for artifacts.
pub const CLAIM: &str = "recmesh-store";
/// User and group of our processes.
const USER: u32 = 65532;
/// How long work on the node may take, training included.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Labels of operator pods.
pub const OPERATORS: &str = "app.kubernetes.io/component=operator";
/// Labels of gateway pods.
pub const GATEWAYS: &str = "app.kubernetes.io/component=gateway";
/// Labels of the small quickstart's retriever's workers.
pub const RETRIEVERS: &str =
    "app.kubernetes.io/component=worker,recmesh.dev/kind=RetrievalModel,recmesh.dev/name=retriever";

/// The namespace with whatever is in it.
pub struct Installation {
    /// The namespace.
    pub space: Space,
}

impl Installation {
    /// A namespace with the claim and nothing else, and no release.
    pub async fn none() -> Self {
        let space = Space::kept(NAMESPACE, &[("pod-security.kubernetes.io/enforce", "restricted")]).await;
        let it = Self { space };
        if it.is_installed() {
            it.delete_resources().await;
            it.helm(&["uninstall", RELEASE, "--wait", "--timeout", "2m"]).good();
        }
        for claim in it.space.list("PersistentVolumeClaim", "").await {
            it.space.api("PersistentVolumeClaim").delete(&claim.name_any(), &DeleteParams::default()).await.unwrap();
            it.space.gone("PersistentVolumeClaim", &claim.name_any()).await;
        }
        it.volume().await;
        it
    }

    /// The small quickstart serves, from two workers of each pool and two gateways.
    pub async fn serving() -> Self {
        let space = Space::kept(NAMESPACE, &[("pod-security.kubernetes.io/enforce", "restricted")]).await;
        let it = Self { space };
        if it.is_installed() {
            return it.small().await;
        }
        let it = Self::none().await;
        it.install().good();
        it.small().await
    }

    async fn small(self) -> Self {
        let began = Instant::now();
        for document in small() {
            self.space.apply_object(document).await;
        }
        self.served(|_| true).await;
        println!("\nmeasured: the small quickstart serves {:.0} s after kubectl apply", began.elapsed().as_secs_f64());
        self
    }

    /// `helm install`, as the documentation says.
    pub fn install(&self) -> Told {
        self.helm(&[
            "install",
            RELEASE,
            "charts/recmesh",
            "--set",
            &format!("store.claim={CLAIM}"),
            "--wait",
            "--timeout",
            "3m",
        ])
    }

    /// Runs helm in the namespace.
    pub fn helm(&self, words: &[&str]) -> Told {
        let mut all = words.to_vec();
        all.extend(["--namespace", NAMESPACE]);
        helm(&all)
    }

    fn is_installed(&self) -> bool {
        self.helm(&["status", RELEASE]).code == Some(0)
    }

    /// A folder of this machine as a volume, and the claim that is bound to it.
    async fn volume(&self) {
        let name = format!("{NAMESPACE}-{CLAIM}");
        let volumes = self.space.cluster.all("PersistentVolume");
        if volumes.get_opt(&name).await.unwrap().is_some() {
            volumes.delete(&name, &DeleteParams::default()).await.unwrap();
            self.space.kubectl().run(&["wait", "--for=delete", &format!("pv/{name}"), "--timeout=60s"]).good();
        }
        let folder = self.volume_folder();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        chown(&folder, Some(USER), Some(USER)).unwrap();
        self.space.claim(CLAIM, folder.to_str().unwrap()).await;
    }

    /// The folder behind the claim.
    pub fn volume_folder(&self) -> PathBuf {
        Cluster::folder().join("volumes").join(NAMESPACE)
    }

    /// Where callers ask: the gateways' Service.
    pub async fn address(&self) -> SocketAddr {
        let service = self.space.get("Service", &format!("{RELEASE}-gateway")).await;
        let spec = &service.data["spec"];
        let port = spec["ports"][0]["port"].as_u64().unwrap();
        format!("{}:{port}", spec["clusterIP"].as_str().unwrap()).parse().unwrap()
    }

    /// Waits until the pipelines are ready, `home` with a release that is as wished; returns that release's name.
    pub async fn served(&self, wished: impl Fn(&str) -> bool) -> String {
        let all = watcher::Config::default();
        let what = "all are ready, home with the wished release";
        let held = self
            .space
            .watch("Pipeline", all, what, PATIENCE, |held| {
                held.get("home").is_some_and(|home| wished(release(home)))
                    && held.values().all(|pipeline| is(pipeline, "Ready", "True"))
            })
            .await;
        release(&held["home"]).to_owned()
    }

    /// Changes fields of a resource of the small quickstart by the pointers of JSON.
    pub async fn change(&self, kind: &str, name: &str, changes: &[(&str, Value)]) {
        let mut document = manifest(kind, name);
        for (field, value) in changes {
            set(&mut document, field, value.clone());
        }
        self.space.apply_object(document).await;
    }

    /// Deletes every resource of ours, and waits until what was made for them is gone.
    async fn delete_resources(&self) {
        let kubectl = self.space.kubectl();
        kubectl.run(&["delete", "recmesh", "--all", "--wait", "--timeout=60s"]).good();
        pods::when(&self.space, "recmesh.dev/name", "all are gone", |held| held.is_empty()).await;
    }
}

/// The release that a pipeline's status tells; empty while there is none.
pub fn release(pipeline: &Object) -> &str {
    pipeline.data.pointer("/status/release/name").and_then(Value::as_str).unwrap_or_default()
}

/// The quickstart without its baseline and evaluations, with two workers of each pool, trained for one epoch, with a
/// longer deadline; and a second pipeline, so that answers can come from the wrong one.
pub fn small() -> Vec<Value> {
    let text = fs::read_to_string(Cluster::file("examples/quickstart.yaml")).unwrap();
    let mut all = documents(&text);
    all.retain(|document| {
        let name = document["metadata"]["name"].as_str().unwrap();
        document["kind"] != "EvaluationJob" && !name.contains("baseline")
    });
    for document in &mut all {
        match document["kind"].as_str().unwrap() {
            "Tokenizer" | "RetrievalModel" | "RankingModel" => set(document, "/spec/replicas", json!(2)),
            "TrainingJob" => set(document, "/spec/epochs", json!(1)),
            // Sixteen callers, training and the cluster itself share one machine: what is lost is meant to be lost by
            // what happens, not by waiting for a processor.
            "Pipeline" => set(document, "/spec/deadline", json!("5s")),
            _ => {}
        }
    }
    let mut plain = all.iter().find(|document| document["kind"] == "Pipeline").unwrap().clone();
    plain["metadata"]["name"] = json!("plain");
    let spec = plain["spec"].as_object_mut().unwrap();
    for field in ["rank", "fallback", "weights"] {
        spec.remove(field);
    }
    spec.insert("retrieve".to_owned(), json!({"modelRef": {"name": "popular"}}));
    all.push(plain);
    all
}

/// A resource of the small quickstart.
fn manifest(kind: &str, name: &str) -> Value {
    let found = small().into_iter().find(|document| document["kind"] == kind && document["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("the quickstart has no {kind} {name}"))
}

/// Sets a field and what leads to it.
fn set(document: &mut Value, field: &str, value: Value) {
    let mut at = document;
    for part in field.split('/').skip(1) {
        if at.is_null() {
            *at = json!({});
        }
        at = at.as_object_mut().unwrap().entry(part).or_insert(Value::Null);
    }
    *at = value;
}
