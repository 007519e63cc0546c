//! The running cluster: its folders, a client with all rights, and any kind's API by the kind's name.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Once, OnceLock},
};

use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    config::{KubeConfigOptions, Kubeconfig},
};

use super::Kubectl;

/// Any object, its body as JSON.
pub type Object = DynamicObject;

/// Kinds that the suites name, with the group and version of each; the core group is empty.
const KINDS: [(&str, &str, &str); 25] = [
    ("Dataset", "recmesh.dev", "v1alpha1"),
    ("Tokenizer", "recmesh.dev", "v1alpha1"),
    ("RetrievalModel", "recmesh.dev", "v1alpha1"),
    ("RankingModel", "recmesh.dev", "v1alpha1"),
    ("TrainingJob", "recmesh.dev", "v1alpha1"),
    ("EvaluationJob", "recmesh.dev", "v1alpha1"),
    ("Pipeline", "recmesh.dev", "v1alpha1"),
    ("Namespace", "", "v1"),
    ("Node", "", "v1"),
    ("Pod", "", "v1"),
    ("Service", "", "v1"),
    ("ConfigMap", "", "v1"),
    ("Secret", "", "v1"),
    ("PersistentVolumeClaim", "", "v1"),
    ("PersistentVolume", "", "v1"),
    ("Deployment", "apps", "v1"),
    ("StatefulSet", "apps", "v1"),
    ("ReplicaSet", "apps", "v1"),
    ("Job", "batch", "v1"),
    ("PodDisruptionBudget", "policy", "v1"),
    ("HorizontalPodAutoscaler", "autoscaling", "v2"),
    ("EndpointSlice", "discovery.k8s.io", "v1"),
    ("Lease", "coordination.k8s.io", "v1"),
    ("CustomResourceDefinition", "apiextensions.k8s.io", "v1"),
    ("Event", "events.k8s.io", "v1"),
];

/// Our own kinds, in the order of reference.
pub const OURS: [&str; 7] =
    ["Dataset", "Tokenizer", "RetrievalModel", "RankingModel", "TrainingJob", "EvaluationJob", "Pipeline"];

/// What kubectl calls them.
pub const PLURALS: [&str; 7] =
    ["datasets", "tokenizers", "retrievalmodels", "rankingmodels", "trainingjobs", "evaluationjobs", "pipelines"];

/// The cluster that the environment names.
#[derive(Clone)]
pub struct Cluster {
    /// A client with all rights.
    pub client: Client,
}

impl Cluster {
    /// The cluster as it is, without our kinds.
    pub async fn bare() -> Self {
        let path = Self::kubeconfig();
        let file = Kubeconfig::read_from(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        config.read_timeout = None;
        Self { client: Client::try_from(config).unwrap() }
    }

    /// The cluster with our kinds served.
    pub async fn connect() -> Self {
        static KINDS_SERVED: Once = Once::new();
        KINDS_SERVED.call_once(serve_kinds);
        Self::bare().await
    }

    /// The kubeconfig with all rights.
    pub fn kubeconfig() -> PathBuf {
        variable("KUBECONFIG")
    }

    /// The folder of everything that this cluster keeps.
    pub fn folder() -> PathBuf {
        variable("CLUSTER_DIR")
    }

    /// The folder of the API server's logs, with the audit log.
    pub fn logs() -> PathBuf {
        Self::folder().join("log")
    }

    /// A program that the cluster was built with: `kubectl`, `helm`, `ctr`.
    pub fn program(name: &str) -> PathBuf {
        variable("CLUSTER_HOME").join("bin").join(name)
    }

    /// A file of the repository.
    pub fn file(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    /// A kind's API in a namespace.
    pub fn namespaced(&self, kind: &str, namespace: &str) -> Api<Object> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    /// A kind's API over the whole cluster.
    pub fn all(&self, kind: &str) -> Api<Object> {
        Api::all_with(self.client.clone(), &resource(kind))
    }
}

/// The API resource of a kind.
pub fn resource(kind: &str) -> ApiResource {
    let (kind, group, version) =
        KINDS.into_iter().find(|known| known.0 == kind).unwrap_or_else(|| panic!("name {kind} in harness/cluster.rs"));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// A condition's status and reason, both empty while it is not written.
pub fn condition<'a>(object: &'a Object, kind: &str) -> (&'a str, &'a str) {
    let conditions = object.data.pointer("/status/conditions").and_then(|list| list.as_array());
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.map_or(("", ""), |condition| {
        (condition["status"].as_str().unwrap_or_default(), condition["reason"].as_str().unwrap_or_default())
    })
}

/// Applies our definitions and waits until the API server serves them.
fn serve_kinds() {
    let kubectl = Kubectl::current();
    let folder = Cluster::file("crds/yaml");
    let folder = folder.to_str().unwrap();
    kubectl.run(&["apply", "--server-side", "--force-conflicts", "-f", folder]).good();
    await_kinds(&kubectl);
}

/// Waits until the API server serves our definitions. Established comes first; a moment later they are in discovery.
pub fn await_kinds(kubectl: &Kubectl) {
    let folder = Cluster::file("crds/yaml");
    let folder = folder.to_str().unwrap();
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=60s", "-f", folder]).good();
    // An endpoint may still answer 503 for a second or two, and nothing can be watched that tells when it is over. The
    // question's own round trip is the pace.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    for plural in PLURALS {
        loop {
            let told = kubectl.run(&["get", &format!("{plural}.recmesh.dev"), "--all-namespaces"]);
            if told.code == Some(0) {
                break;
            }
            assert!(std::time::Instant::now() < until, "{plural} are not served: {}", told.err);
        }
    }
}

fn variable(name: &'static str) -> PathBuf {
    static MISSING: OnceLock<()> = OnceLock::new();
    env::var_os(name).map(PathBuf::from).unwrap_or_else(|| {
        MISSING.get_or_init(|| eprintln!("these suites need a cluster: run `make test-cluster`"));
        panic!("{name} is not set; `make test-cluster` starts a cluster and sets it")
    })
}
