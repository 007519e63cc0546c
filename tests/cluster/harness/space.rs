//! A namespace for one test. In: manifests and questions. Out: objects as the API server has them. Deleted with the
//! test, also when it fails.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Cluster, Kubectl, Object, Process,
    cluster::{condition, resource},
    wait::{Held, until},
};

/// How long anything may take that needs only the API server and controllers.
pub const SOON: Duration = Duration::from_secs(60);

/// Who applies manifests in tests.
pub const USER: &str = "cluster-test";

/// A namespace of one test.
pub struct Space {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace's name.
    pub name: String,
    folder: TempDir,
    logs: RefCell<BTreeSet<PathBuf>>,
    stays: bool,
}

impl Space {
    /// A fresh namespace whose name begins with `label`, in a cluster that serves our kinds.
    pub async fn new(label: &str) -> Self {
        Self::labelled(label, &[]).await
    }

    /// The same with labels on the namespace: `pod-security.kubernetes.io/enforce`.
    pub async fn labelled(label: &str, labels: &[(&str, &str)]) -> Self {
        let cluster = Cluster::connect().await;
        let mut namespace = Object::new("", &resource("Namespace"));
        namespace.metadata = ObjectMeta {
            generate_name: Some(format!("{label}-")),
            labels: Some(labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()),
            ..ObjectMeta::default()
        };
        let made = cluster.all("Namespace").create(&PostParams::default(), &namespace).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { cluster, name: made.name_any(), folder, logs: RefCell::default(), stays: false }
    }

    /// The namespace of this name, which is made where it is missing and stays for the tests after this one.
    pub async fn kept(name: &str, labels: &[(&str, &str)]) -> Self {
        let cluster = Cluster::bare().await;
        let mut namespace = Object::new(name, &resource("Namespace"));
        namespace.metadata.labels = Some(labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
        let applied = PatchParams::apply(USER);
        cluster.all("Namespace").patch(name, &applied, &Patch::Apply(&namespace)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { cluster, name: name.to_owned(), folder, logs: RefCell::default(), stays: true }
    }

    /// A folder of this test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts `recmesh <words>`; its log is shown where waiting fails.
    pub fn start(&self, name: &str, kubeconfig: &Path, words: &[&str]) -> Process {
        let process = Process::start(name, self.folder(), kubeconfig, words);
        self.logs.borrow_mut().insert(process.log_file().to_owned());
        process
    }

    /// A kind's API here.
    pub fn api(&self, kind: &str) -> Api<Object> {
        self.cluster.namespaced(kind, &self.name)
    }

    /// A claim of this name, bound to a volume that is a folder of the node.
    pub async fn claim(&self, name: &str, folder: &str) {
        let volume = format!("{}-{name}", self.name);
        let manifest = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": volume, "labels": {"test": self.name}},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": folder, "type": "DirectoryOrCreate"},
                "claimRef": {"namespace": self.name, "name": name},
            },
        });
        let volumes = self.cluster.all("PersistentVolume");
        volumes.patch(&volume, &PatchParams::apply(USER), &Patch::Apply(&manifest)).await.unwrap();
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": volume,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        self.apply_object(claim).await;
        let bound = |claim: Option<&Object>| claim.is_some_and(|claim| claim.data["status"]["phase"] == "Bound");
        self.when("PersistentVolumeClaim", name, "is bound", bound).await;
    }

    /// kubectl of the cluster's minor version, here.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::current().within(&self.name)
    }

    /// Applies every document of a YAML stream by server-side apply.
    pub async fn apply(&self, manifests: &str) {
        for document in documents(manifests) {
            self.apply_object(document).await;
        }
    }

    /// Applies a file of the repository.
    pub async fn apply_file(&self, path: &str) {
        self.apply(&fs::read_to_string(Cluster::file(path)).unwrap()).await;
    }

    /// Applies one object by server-side apply.
    pub async fn apply_object(&self, document: Value) -> Object {
        let kind = document["kind"].as_str().unwrap().to_owned();
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        let applied = self.api(&kind).patch(&name, &PatchParams::apply(USER), &Patch::Apply(&document)).await;
        applied.unwrap_or_else(|e| panic!("{kind} {name}: {e}"))
    }

    /// An object as it is.
    pub async fn get(&self, kind: &str, name: &str) -> Object {
        self.api(kind).get(name).await.unwrap_or_else(|e| panic!("{kind} {name}: {e}"))
    }

    /// Every object of a kind, by labels (empty: all).
    pub async fn list(&self, kind: &str, labels: &str) -> Vec<Object> {
        self.api(kind).list(&ListParams::default().labels(labels)).await.unwrap().items
    }

    /// Waits until `met` is true of one object (`None` while there is none) and returns it.
    pub async fn when(&self, kind: &str, name: &str, what: &str, met: impl Fn(Option<&Object>) -> bool) -> Object {
        let selection = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut held = self.watch(kind, selection, &format!("{name}: {what}"), SOON, |held| met(held.get(name))).await;
        held.remove(name).unwrap_or_else(|| Object::new(name, &resource(kind)))
    }

    /// Waits until `met` is true of all objects of a kind with these labels (empty: all), and returns them.
    pub async fn when_all(&self, kind: &str, labels: &str, what: &str, met: impl FnMut(&Held) -> bool) -> Held {
        let config = watcher::Config::default();
        let selection = if labels.is_empty() { config } else { config.labels(labels) };
        self.watch(kind, selection, what, SOON, met).await
    }

    /// Waits until a condition has this status for the object's newest generation.
    pub async fn condition(&self, kind: &str, name: &str, of: &str, status: &str) -> Object {
        let met = |object: Option<&Object>| object.is_some_and(|object| is(object, of, status));
        self.when(kind, name, &format!("{of} is {status}"), met).await
    }

    /// Waits until the object is ready in its newest generation.
    pub async fn ready(&self, kind: &str, name: &str) -> Object {
        self.condition(kind, name, "Ready", "True").await
    }

    /// Waits until there is no such object.
    pub async fn gone(&self, kind: &str, name: &str) {
        self.when(kind, name, "is gone", |object| object.is_none()).await;
    }

    /// Follows a selection until `met`; fails at the deadline with everything that may tell why.
    pub async fn watch(
        &self,
        kind: &str,
        selection: watcher::Config,
        what: &str,
        deadline: Duration,
        met: impl FnMut(&Held) -> bool,
    ) -> Held {
        match until(self.api(kind), selection, deadline, met).await {
            Ok(held) => held,
            Err(held) => panic!("{kind} {what}: not within {deadline:?}\n{}", self.told(&held).await),
        }
    }

    /// What may tell why something did not come: the objects, the namespace's events, the ends of our logs.
    async fn told(&self, held: &Held) -> String {
        let mut text = String::new();
        for object in held.values().take(5) {
            let mut object = object.clone();
            object.metadata.managed_fields = None;
            text += &format!("--- as it is:\n{}", serde_yaml::to_string(&object).unwrap_or_default());
        }
        text += &format!("--- {} objects in all; events:\n", held.len());
        let mut events = self.list("Event", "").await;
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone());
        for event in events.iter().rev().take(20).rev() {
            let word = |field: &str| event.data.pointer(field).and_then(Value::as_str).unwrap_or_default();
            let (kind, name) = (word("/regarding/kind"), word("/regarding/name"));
            text += &format!("{kind} {name}: {} {}: {}\n", word("/type"), word("/reason"), word("/note"));
        }
        for log in self.logs.borrow().iter() {
            let written = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = written.lines().collect();
            text += &format!("--- end of {}:\n", log.display());
            text += &lines[lines.len().saturating_sub(40)..].join("\n");
            text.push('\n');
        }
        text
    }

    /// Deletes the namespace and waits until it is gone with everything in it.
    pub async fn end(self) {
        self.kubectl().run(&["delete", "namespace", &self.name, "--wait=false"]).good();
        let selection = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let gone = until(self.cluster.all("Namespace"), selection, SOON, |held| held.is_empty()).await;
        if let Err(held) = gone {
            panic!("namespace {} is not gone: {}", self.name, self.told(&held).await);
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let mine = format!("test={}", self.name);
        for words in [
            ["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"],
            ["delete", "persistentvolume", "--selector", &mine, "--wait=false"],
        ] {
            let _ = self.kubectl().command(&words).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// Whether a condition has a status for the object's newest generation.
pub fn is(object: &Object, of: &str, status: &str) -> bool {
    let conditions = object.data.pointer("/status/conditions").and_then(|list| list.as_array());
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == of);
    let seen = found.and_then(|condition| condition["observedGeneration"].as_i64());
    condition(object, of).0 == status && seen == object.metadata.generation
}

/// The documents of a YAML stream.
pub fn documents(manifests: &str) -> Vec<Value> {
    let parsed = serde_yaml::Deserializer::from_str(manifests).map(|document| Value::deserialize(document).unwrap());
    parsed.filter(|document| !document.is_null()).collect()
}
