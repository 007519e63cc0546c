//! A cluster that does what an API server, a kubelet and gateways do, as far as the steps can see, and nothing by itself.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::{Job, JobCondition, JobStatus},
        core::v1::{ConfigMap, Pod, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::runtime::{
    reflector::{Lookup, Store, store::Writer},
    watcher::Event,
};
use recmesh_contract::{
    ArtifactId, ArtifactKind, JobReport, JobState, Name, Resources, Version,
    config::{JobConfig, JobWork, ReleaseState, RouteFile, RoutesReport},
};
use recmesh_crds::{
    Dataset, EvaluationJob, Kind, Pipeline, RankingModel, Resource, RetrievalModel, Tokenizer, TrainingJob, parse,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    OperatorConfig,
    here::{name_of, one, read_route},
    outcome::{Child, ChildKind, ChildRef, Outcome, Subject},
    steps::{affected, reconcile},
    world::{Children, Told, World},
};

pub const NAMESPACE: &str = "shop";
pub const CONFIG: &str = "
image: {reference: registry.example/recmesh:0.1.0}
store: {claim: recmesh-store}
gateway: {namespace: recmesh, service: recmesh-gateway-admin, url: http://recmesh-gateway.recmesh}
";

macro_rules! writers {
    ($($field:ident: $kind:ty),* $(,)?) => {
        #[derive(Default)]
        pub struct Writers { $($field: Writer<$kind>),* }
        $(impl Kept for $kind {
            fn writer(writers: &mut Writers) -> &mut Writer<Self> { &mut writers.$field }
        })*
    };
}

/// What a store of the world keeps.
pub trait Kept:
    kube::Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + 'static
{
    fn writer(writers: &mut Writers) -> &mut Writer<Self>;
}

writers! {
    datasets: Dataset, tokenizers: Tokenizer, retrieval_models: RetrievalModel, ranking_models: RankingModel,
    training_jobs: TrainingJob, evaluation_jobs: EvaluationJob, pipelines: Pipeline, jobs: Job, pods: Pod,
    deployments: Deployment, stateful_sets: StatefulSet, services: Service, config_maps: ConfigMap,
    budgets: PodDisruptionBudget, autoscalers: HorizontalPodAutoscaler,
}

pub struct Cluster {
    pub world: World,
    writers: Writers,
    clock: i64,
    /// Whether every look is taken twice, to see that it comes to the same.
    pub twice: bool,
    /// Every deletion so far.
    pub deleted: Vec<ChildRef>,
    /// Every event so far, as `reason`.
    pub told: Vec<&'static str>,
}

impl Cluster {
    /// A cluster without anything.
    pub fn new(config: &str) -> Self {
        let config: OperatorConfig = serde_yaml::from_str(config).unwrap();
        let writers = Writers::default();
        let w = &writers;
        let world = World {
            config: Arc::new(config),
            datasets: w.datasets.as_reader(),
            tokenizers: w.tokenizers.as_reader(),
            retrieval_models: w.retrieval_models.as_reader(),
            ranking_models: w.ranking_models.as_reader(),
            training_jobs: w.training_jobs.as_reader(),
            evaluation_jobs: w.evaluation_jobs.as_reader(),
            pipelines: w.pipelines.as_reader(),
            children: Children {
                jobs: w.jobs.as_reader(),
                pods: w.pods.as_reader(),
                deployments: w.deployments.as_reader(),
                stateful_sets: w.stateful_sets.as_reader(),
                services: w.services.as_reader(),
                config_maps: w.config_maps.as_reader(),
                budgets: w.budgets.as_reader(),
                autoscalers: w.autoscalers.as_reader(),
            },
            told: Told::default(),
        };
        Self { world, writers, clock: 0, twice: false, deleted: Vec::new(), told: Vec::new() }
    }

    /// A cluster with these manifests, and a configuration in which everything is there.
    pub fn with(manifests: &str) -> Self {
        let mut cluster = Self::new(CONFIG);
        cluster.apply(manifests);
        cluster
    }

    /// `kubectl apply`.
    pub fn apply(&mut self, manifests: &str) {
        for located in parse(&[("a.yaml".to_owned(), manifests.to_owned())]).unwrap() {
            match located.resource {
                Resource::Dataset(it) => self.declare(it),
                Resource::Tokenizer(it) => self.declare(it),
                Resource::RetrievalModel(it) => self.declare(it),
                Resource::RankingModel(it) => self.declare(it),
                Resource::TrainingJob(it) => self.declare(it),
                Resource::EvaluationJob(it) => self.declare(it),
                Resource::Pipeline(it) => self.declare(it),
            }
        }
    }

    fn declare<K: Kept>(&mut self, mut it: K) {
        self.clock += 1;
        let meta = it.meta_mut();
        meta.namespace = Some(NAMESPACE.to_owned());
        meta.uid = Some(format!("uid-{}", self.clock));
        meta.generation = Some(1);
        meta.creation_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::from_second(self.clock).unwrap()));
        self.put(it);
    }

    /// Stores an object as it is.
    pub fn put<K: Kept>(&mut self, it: K) {
        K::writer(&mut self.writers).apply_watcher_event(&Event::Apply(it));
    }

    pub fn get<K: Kept>(&mut self, name: &str) -> Option<K> {
        let store: Store<K> = K::writer(&mut self.writers).as_reader();
        one(&store, NAMESPACE, name).map(|it| it.as_ref().clone())
    }

    pub fn all<K: Kept>(&mut self) -> Vec<K> {
        let mut all: Vec<K> =
            K::writer(&mut self.writers).as_reader().state().iter().map(|it| it.as_ref().clone()).collect();
        all.sort_by_key(|it| name_of(it).to_owned());
        all
    }

    /// Changes the spec of a resource.
    pub fn edit<K: Kept>(&mut self, name: &str, change: impl FnOnce(&mut K)) {
        let mut it: K = self.get(name).unwrap();
        change(&mut it);
        let generation = it.meta().generation.unwrap_or(0) + 1;
        it.meta_mut().generation = Some(generation);
        self.put(it);
    }

    pub fn delete<K: Kept>(&mut self, name: &str) {
        if let Some(it) = self.get::<K>(name) {
            K::writer(&mut self.writers).apply_watcher_event(&Event::Delete(it));
        }
    }

    pub fn reconcile(&self, kind: Kind, name: &str) -> Outcome {
        reconcile(&self.world, &subject(kind, name)).unwrap()
    }

    /// One look at a resource, carried out. Whether anything was another than before.
    pub fn look(&mut self, subject: &Subject) -> bool {
        let Some(outcome) = reconcile(&self.world, subject) else { return false };
        if self.twice {
            let again = reconcile(&self.world, subject).unwrap();
            assert_eq!(shown(&outcome), shown(&again), "the same world twice gives the same outcome");
        }
        self.carry_out(subject, outcome)
    }

    pub fn carry_out(&mut self, subject: &Subject, outcome: Outcome) -> bool {
        let mut changed = false;
        for child in outcome.apply {
            changed |= self.apply_child(child);
        }
        for child in outcome.delete {
            changed |= self.delete_child(&child);
        }
        self.told.extend(outcome.notices.iter().map(|notice| notice.reason));
        if let Some(status) = outcome.status {
            changed |= self.write_status(subject, status);
        }
        changed
    }

    /// Looks at everything until nothing changes any more. How often each resource's status was written.
    pub fn settle(&mut self) -> BTreeMap<Subject, usize> {
        let mut writes = BTreeMap::new();
        for round in 0.. {
            assert!(round < 30, "it never comes to rest: {:?}", self.told);
            let mut changed = false;
            for subject in self.subjects() {
                if self.look(&subject) {
                    *writes.entry(subject).or_default() += 1;
                    changed = true;
                }
            }
            if !changed {
                return writes;
            }
        }
        writes
    }

    /// Looks only at what has changed and what that affects, as controllers do.
    pub fn follow(&mut self, first: Vec<Subject>) {
        let mut queue: Vec<Subject> = first;
        for _ in 0..2000 {
            let Some(subject) = queue.pop() else { return };
            if self.look(&subject) {
                let others = affected(&self.world, &subject);
                queue.extend(others.into_iter().chain([subject]).filter(|it| !queue.contains(it)).collect::<Vec<_>>());
            }
        }
        panic!("it never comes to rest");
    }

    pub fn subjects(&mut self) -> Vec<Subject> {
        fn of<K: Kept>(cluster: &mut Cluster, kind: Kind) -> Vec<Subject> {
            cluster.all::<K>().iter().map(|it| subject(kind, name_of(it))).collect()
        }
        let mut all = of::<Dataset>(self, Kind::Dataset);
        all.extend(of::<Tokenizer>(self, Kind::Tokenizer));
        all.extend(of::<RetrievalModel>(self, Kind::RetrievalModel));
        all.extend(of::<RankingModel>(self, Kind::RankingModel));
        all.extend(of::<TrainingJob>(self, Kind::TrainingJob));
        all.extend(of::<EvaluationJob>(self, Kind::EvaluationJob));
        all.extend(of::<Pipeline>(self, Kind::Pipeline));
        all
    }

    fn apply_child(&mut self, child: Child) -> bool {
        match child {
            Child::Job(mut it) => {
                it.status = self.get::<Job>(name_of(it.as_ref())).and_then(|old| old.status);
                self.store(*it)
            }
            Child::Deployment(mut it) => {
                let old = self.get::<Deployment>(name_of(it.as_ref()));
                let same = old.as_ref().is_some_and(|old| old.spec == it.spec);
                let generation = old.as_ref().and_then(|old| old.metadata.generation).unwrap_or(0);
                it.metadata.generation = Some(if same { generation } else { generation + 1 });
                it.status = old.and_then(|old| old.status);
                self.store(*it)
            }
            Child::StatefulSet(mut it) => {
                let old = self.get::<StatefulSet>(name_of(it.as_ref()));
                let same = old.as_ref().is_some_and(|old| old.spec == it.spec);
                let generation = old.as_ref().and_then(|old| old.metadata.generation).unwrap_or(0);
                it.metadata.generation = Some(if same { generation } else { generation + 1 });
                it.status = old.and_then(|old| old.status);
                self.store(*it)
            }
            Child::Service(it) => self.store(*it),
            Child::ConfigMap(it) => self.store(*it),
            Child::PodDisruptionBudget(it) => self.store(*it),
            Child::HorizontalPodAutoscaler(it) => self.store(*it),
            Child::ScaledObject(_) => false,
        }
    }

    fn store<K: Kept + PartialEq>(&mut self, it: K) -> bool {
        let changed = self.get::<K>(name_of(&it)).as_ref() != Some(&it);
        self.put(it);
        changed
    }

    fn delete_child(&mut self, child: &ChildRef) -> bool {
        self.deleted.push(child.clone());
        let name = child.name.as_str();
        match child.kind {
            ChildKind::Job => {
                self.delete::<Job>(name);
                let pods = self.all::<Pod>();
                for pod in pods.iter().filter(|pod| name_of(*pod).starts_with(&format!("{name}-0"))) {
                    self.delete::<Pod>(name_of(pod));
                }
            }
            ChildKind::Deployment => self.delete::<Deployment>(name),
            ChildKind::StatefulSet => self.delete::<StatefulSet>(name),
            ChildKind::Service => self.delete::<Service>(name),
            ChildKind::ConfigMap => self.delete::<ConfigMap>(name),
            ChildKind::PodDisruptionBudget => self.delete::<PodDisruptionBudget>(name),
            ChildKind::HorizontalPodAutoscaler => self.delete::<HorizontalPodAutoscaler>(name),
            ChildKind::ScaledObject => {}
        }
        true
    }

    fn write_status(&mut self, subject: &Subject, status: Value) -> bool {
        fn with<K: Kept + serde::Serialize>(cluster: &mut Cluster, name: &str, mut status: Value) -> bool {
            let old: K = cluster.get(name).unwrap();
            for condition in status["conditions"].as_array_mut().unwrap() {
                condition["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
            }
            let mut whole = serde_json::to_value(&old).unwrap();
            let before = whole["status"].take();
            whole["status"] = status;
            let new: K = serde_json::from_value(whole).unwrap();
            let changed = serde_json::to_value(&new).unwrap()["status"] != before;
            cluster.put(new);
            changed
        }
        let name = subject.name.as_str();
        match subject.kind {
            Kind::Dataset => with::<Dataset>(self, name, status),
            Kind::Tokenizer => with::<Tokenizer>(self, name, status),
            Kind::RetrievalModel => with::<RetrievalModel>(self, name, status),
            Kind::RankingModel => with::<RankingModel>(self, name, status),
            Kind::TrainingJob => with::<TrainingJob>(self, name, status),
            Kind::EvaluationJob => with::<EvaluationJob>(self, name, status),
            Kind::Pipeline => with::<Pipeline>(self, name, status),
        }
    }

    /// The status of a resource, as JSON.
    pub fn status(&mut self, kind: Kind, name: &str) -> Value {
        fn of<K: Kept + serde::Serialize>(cluster: &mut Cluster, name: &str) -> Value {
            serde_json::to_value(cluster.get::<K>(name).unwrap()).unwrap()["status"].clone()
        }
        match kind {
            Kind::Dataset => of::<Dataset>(self, name),
            Kind::Tokenizer => of::<Tokenizer>(self, name),
            Kind::RetrievalModel => of::<RetrievalModel>(self, name),
            Kind::RankingModel => of::<RankingModel>(self, name),
            Kind::TrainingJob => of::<TrainingJob>(self, name),
            Kind::EvaluationJob => of::<EvaluationJob>(self, name),
            Kind::Pipeline => of::<Pipeline>(self, name),
        }
    }

    /// The reason and message of a condition; of the roll-up where none is named.
    pub fn condition(&mut self, kind: Kind, name: &str, of: &str) -> Option<(String, String, String)> {
        let status = self.status(kind, name);
        let found = status["conditions"].as_array()?.iter().find(|it| it["type"] == of)?.clone();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }

    /// Every Job that is there and not done runs to its end.
    pub fn finish_jobs(&mut self) -> usize {
        let open: Vec<Job> = self.all::<Job>().into_iter().filter(|job| !done(job)).collect();
        for job in &open {
            self.end_job(name_of(job), 0, &report(job));
        }
        open.len()
    }

    /// A Job's pod ends with a message; the Job is complete or has failed.
    pub fn end_job(&mut self, name: &str, code: i32, message: &str) {
        self.put_pod(
            &format!("{name}-0-abcde"),
            &[("batch.kubernetes.io/job-name", name)],
            json!({
                "phase": if code == 0 { "Succeeded" } else { "Failed" },
                "containerStatuses": [{
                    "name": "job", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code, "message": message,
                        "finishedAt": "2026-01-01T00:00:00Z"}},
                }],
            }),
        );
        let mut job: Job = self.get(name).unwrap();
        let type_ = if code == 0 { "Complete" } else { "Failed" }.to_owned();
        let condition = JobCondition { type_, status: "True".to_owned(), ..JobCondition::default() };
        job.status = Some(JobStatus { conditions: Some(vec![condition]), ..JobStatus::default() });
        self.put(job);
    }

    pub fn put_pod(&mut self, name: &str, labels: &[(&str, &str)], status: Value) {
        let mut labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        labels.insert("app.kubernetes.io/managed-by", "recmesh-operator");
        // Its controller is not ours: a ReplicaSet, a StatefulSet, a Job.
        let controller = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "", "controller": true});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, "ownerReferences": [controller]},
            "spec": {"containers": []},
            "status": status,
        });
        self.put::<Pod>(serde_json::from_value(pod).unwrap());
    }

    /// Every workload has all its workers ready.
    pub fn start_workers(&mut self) {
        for mut it in self.all::<Deployment>() {
            let replicas = it.spec.replicas;
            it.status = Some(
                serde_json::from_value(json!({
                    "observedGeneration": it.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
                    "readyReplicas": replicas,
                }))
                .unwrap(),
            );
            self.put(it);
        }
        for mut it in self.all::<StatefulSet>() {
            let replicas = it.spec.replicas;
            it.status = Some(
                serde_json::from_value(json!({
                    "observedGeneration": it.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
                    "readyReplicas": replicas,
                }))
                .unwrap(),
            );
            self.put(it);
        }
    }

    pub fn routes(&mut self) -> Vec<RouteFile> {
        self.all::<ConfigMap>().iter().filter_map(read_route).collect()
    }

    pub fn route(&mut self, pipeline: &str) -> RouteFile {
        self.routes().into_iter().find(|it| it.pipeline.as_str() == pipeline).unwrap()
    }

    /// A gateway reads all routes: it sends requests to what is current, and has warmed what is ready.
    pub fn gateway(&mut self, address: &str) {
        let mut report = RoutesReport::default();
        for file in self.routes() {
            for (route, serving) in [(&file.current, true), (&file.candidate, false)] {
                let Some(route) = route else { continue };
                let waiting: BTreeMap<Name, String> = file
                    .pools
                    .iter()
                    .filter(|(pool, _)| crate::steps::rollout::pools_of(route).any(|it| it == *pool))
                    .filter(|(_, place)| !self.ready(place.service.as_str()))
                    .map(|(pool, _)| (pool.clone(), "no worker is ready".to_owned()))
                    .collect();
                report.releases.push(ReleaseState {
                    namespace: NAMESPACE.to_owned(),
                    pipeline: file.pipeline.clone(),
                    release: route.release.name.clone(),
                    serving,
                    warmed: waiting.is_empty(),
                    waiting,
                });
            }
        }
        let mut all = self.world.told.gateways().as_ref().clone();
        all.insert(address.to_owned(), Some(report));
        self.world.told.put_gateways(all);
    }

    fn ready(&mut self, workload: &str) -> bool {
        let some = |ready: Option<i32>| ready.unwrap_or(0) > 0;
        let deployment = self.get::<Deployment>(workload).and_then(|it| it.status);
        let stateful = self.get::<StatefulSet>(workload).and_then(|it| it.status);
        deployment.is_some_and(|it| some(it.ready_replicas)) || stateful.is_some_and(|it| some(it.ready_replicas))
    }

    /// Everybody does what they should until nothing is left to do.
    pub fn run(&mut self) {
        for _ in 0..30 {
            self.settle();
            let jobs = self.finish_jobs();
            self.start_workers();
            self.gateway("10.0.0.1");
            self.gateway("10.0.0.2");
            let writes = self.settle();
            if jobs == 0 && writes.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

pub fn subject(kind: Kind, name: &str) -> Subject {
    Subject { kind, namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

pub fn done(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| status.conditions.is_some())
}

/// What a Job is told.
pub fn told(job: &Job) -> JobConfig {
    let annotations = job.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().annotations.as_ref().unwrap();
    serde_json::from_str(&annotations["recmesh.dev/config"]).unwrap()
}

/// What a Job would report: versions are digests of what it is told.
pub fn report(job: &Job) -> String {
    let config = told(job);
    let kind = match &config.work {
        JobWork::Dataset { .. } => ArtifactKind::Dataset,
        JobWork::Tokenizer { .. } => ArtifactKind::Tokenizer,
        JobWork::Count { .. } | JobWork::TrainRetrieval { .. } => ArtifactKind::RetrievalModel,
        JobWork::TrainRanking { .. } => ArtifactKind::RankingModel,
        JobWork::Evaluate { .. } => ArtifactKind::Evaluation,
    };
    let metric = |name: &str, value: f64| json!({"name": name, "value": value});
    let version = Version::of([b"made", config.digest().as_str().as_bytes()]);
    let report = JobReport {
        kind: "x".to_owned(),
        name: config.name.clone(),
        state: JobState::Complete,
        produced: Some(ArtifactId { kind, name: config.name.clone(), version: version.clone() }),
        metrics: serde_json::from_value(json!([
            metric("rows", 1000.0),
            metric("users", 100.0),
            metric("items", 60.0),
            metric("badRows", 0.0),
            metric("ndcg@10", 0.25),
        ]))
        .unwrap(),
        omitted: 0,
        digest: (kind == ArtifactKind::Tokenizer).then(|| format!("sha256:{version}")),
        progress: None,
        quantization: super::quantized::quantized(&config.work),
        resources: Resources { wall_seconds: 2.0, cpu_seconds: 3.0, peak_bytes: 4096 },
        message: None,
    };
    serde_json::to_string(&report).unwrap()
}

/// A child as YAML shows it.
pub fn object(child: &Child) -> Value {
    let of = |kind: &str, version: &str, value: Value| {
        let mut whole = json!({"apiVersion": version, "kind": kind});
        for (key, part) in value.as_object().unwrap() {
            whole[key] = part.clone();
        }
        whole
    };
    let json = |value: serde_json::Result<Value>| value.unwrap();
    match child {
        Child::Job(it) => of("Job", "batch/v1", json(serde_json::to_value(it))),
        Child::Deployment(it) => of("Deployment", "apps/v1", json(serde_json::to_value(it))),
        Child::StatefulSet(it) => of("StatefulSet", "apps/v1", json(serde_json::to_value(it))),
        Child::Service(it) => of("Service", "v1", json(serde_json::to_value(it))),
        Child::ConfigMap(it) => of("ConfigMap", "v1", json(serde_json::to_value(it))),
        Child::PodDisruptionBudget(it) => of("PodDisruptionBudget", "policy/v1", json(serde_json::to_value(it))),
        Child::HorizontalPodAutoscaler(it) => {
            of("HorizontalPodAutoscaler", "autoscaling/v2", json(serde_json::to_value(it)))
        }
        Child::ScaledObject(it) => json(serde_json::to_value(it)),
    }
}

/// Everything of an outcome.
pub fn shown(outcome: &Outcome) -> Value {
    json!({
        "apply": outcome.apply.iter().map(object).collect::<Vec<_>>(),
        "delete": outcome.delete.iter().map(|it| format!("{:?}/{}", it.kind, it.name)).collect::<Vec<_>>(),
        "status": outcome.status,
        "events": outcome.notices.iter().map(|it| format!("{}: {}", it.reason, it.note)).collect::<Vec<_>>(),
        "poll": outcome.poll.as_ref().map(ToString::to_string),
        "again": outcome.again.map(|it| it.as_secs()),
    })
}

/// Without digests and without what jobs are told: a default that changes elsewhere changes neither objects nor statuses.
pub fn stable(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let told = key == "recmesh.dev/config" && value.as_str().is_some_and(|it| it.starts_with('{'));
                (without_digests(key), if told { json!("what the job is told") } else { stable(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(stable).collect(),
        Value::String(text) => json!(without_digests(text)),
        other => other.clone(),
    }
}

/// Digests of eight and twelve hexadecimal digits become as many `x`.
fn without_digests(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = word.chars().all(|c| c.is_ascii_hexdigit()) && word.chars().any(|c| c.is_ascii_digit());
        let digest = hex && (word.len() == 8 || word.len() == 12);
        parts.push(if digest { part.replace(word, &"x".repeat(word.len())) } else { part.to_owned() });
    }
    parts.concat()
}
