//! One namespace of the world: what a resource can refer to, and what was made for it.
//!
//! In: the caches. Out: resources and objects by name or by owner, always in the order of their names. Decides nothing.

use std::sync::Arc;

use k8s_openapi::{
    api::{batch::v1::Job, core::v1::ConfigMap, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    runtime::reflector::{Lookup, ObjectRef, Store},
};
use recmesh_contract::config::{RouteFile, WorkerConfig};
use recmesh_crds::{
    Dataset, EvaluationJob, Kind, ModelKind, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob,
};

use crate::{OperatorConfig, names, world::World};

/// One namespace of the world.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    /// Everything known.
    pub world: &'a World,
    /// The namespace.
    pub namespace: &'a str,
}

/// The object of a name.
pub fn one<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace))
}

/// Every object of a namespace, by name.
fn all<K>(store: &Store<K>, namespace: &str, which: impl Fn(&K) -> bool) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
{
    let mut found = store.state_filter(|object| object.meta().namespace.as_deref() == Some(namespace) && which(object));
    found.sort_by(|a, b| a.meta().name.cmp(&b.meta().name));
    found
}

/// The value of a label.
#[must_use]
pub fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// The name of an object.
#[must_use]
pub fn name_of<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

impl<'a> Here<'a> {
    /// What the process was told.
    #[must_use]
    pub fn config(&self) -> &'a OperatorConfig {
        &self.world.config
    }

    /// A data set.
    #[must_use]
    pub fn dataset(&self, name: &str) -> Option<Arc<Dataset>> {
        one(&self.world.datasets, self.namespace, name)
    }

    /// A tokenizer.
    #[must_use]
    pub fn tokenizer(&self, name: &str) -> Option<Arc<Tokenizer>> {
        one(&self.world.tokenizers, self.namespace, name)
    }

    /// A retrieval model.
    #[must_use]
    pub fn retrieval_model(&self, name: &str) -> Option<Arc<RetrievalModel>> {
        one(&self.world.retrieval_models, self.namespace, name)
    }

    /// A ranking model.
    #[must_use]
    pub fn ranking_model(&self, name: &str) -> Option<Arc<RankingModel>> {
        one(&self.world.ranking_models, self.namespace, name)
    }

    /// A training job.
    #[must_use]
    pub fn training_job(&self, name: &str) -> Option<Arc<TrainingJob>> {
        one(&self.world.training_jobs, self.namespace, name)
    }

    /// An evaluation job.
    #[must_use]
    pub fn evaluation_job(&self, name: &str) -> Option<Arc<EvaluationJob>> {
        one(&self.world.evaluation_jobs, self.namespace, name)
    }

    /// A pipeline.
    #[must_use]
    pub fn pipeline(&self, name: &str) -> Option<Arc<Pipeline>> {
        one(&self.world.pipelines, self.namespace, name)
    }

    /// The names of every resource of a kind.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Vec<String> {
        fn of<K>(store: &Store<K>, namespace: &str) -> Vec<String>
        where
            K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
        {
            all(store, namespace, |_| true).iter().map(|object| name_of(object.as_ref()).to_owned()).collect()
        }
        let world = self.world;
        match kind {
            Kind::Dataset => of(&world.datasets, self.namespace),
            Kind::Tokenizer => of(&world.tokenizers, self.namespace),
            Kind::RetrievalModel => of(&world.retrieval_models, self.namespace),
            Kind::RankingModel => of(&world.ranking_models, self.namespace),
            Kind::TrainingJob => of(&world.training_jobs, self.namespace),
            Kind::EvaluationJob => of(&world.evaluation_jobs, self.namespace),
            Kind::Pipeline => of(&world.pipelines, self.namespace),
        }
    }

    /// Tokenizers that meet a condition.
    pub fn tokenizers(&self, which: impl Fn(&Tokenizer) -> bool) -> Vec<Arc<Tokenizer>> {
        all(&self.world.tokenizers, self.namespace, which)
    }

    /// Retrieval models that meet a condition.
    pub fn retrieval_models(&self, which: impl Fn(&RetrievalModel) -> bool) -> Vec<Arc<RetrievalModel>> {
        all(&self.world.retrieval_models, self.namespace, which)
    }

    /// Ranking models that meet a condition.
    pub fn ranking_models(&self, which: impl Fn(&RankingModel) -> bool) -> Vec<Arc<RankingModel>> {
        all(&self.world.ranking_models, self.namespace, which)
    }

    /// Evaluation jobs that meet a condition.
    pub fn evaluation_jobs(&self, which: impl Fn(&EvaluationJob) -> bool) -> Vec<Arc<EvaluationJob>> {
        all(&self.world.evaluation_jobs, self.namespace, which)
    }

    /// Pipelines that meet a condition.
    pub fn pipelines(&self, which: impl Fn(&Pipeline) -> bool) -> Vec<Arc<Pipeline>> {
        all(&self.world.pipelines, self.namespace, which)
    }

    /// The training jobs that name a model, the oldest first: that one trains it.
    #[must_use]
    pub fn trainers(&self, kind: ModelKind, model: &str) -> Vec<Arc<TrainingJob>> {
        let names = |job: &TrainingJob| {
            job.spec.model_ref.kind == kind
                && job.spec.model_ref.name == model
                && job.metadata.deletion_timestamp.is_none()
        };
        let mut found = all(&self.world.training_jobs, self.namespace, names);
        found.sort_by_key(|job| job.metadata.creation_timestamp.clone());
        found
    }

    /// The Jobs of a resource.
    #[must_use]
    pub fn jobs(&self, kind: Kind, name: &str) -> Vec<Arc<Job>> {
        all(&self.world.children.jobs, self.namespace, |job| belongs(&job.metadata, kind, name))
    }

    /// A Job that is not being deleted, or one that is.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<Arc<Job>> {
        one(&self.world.children.jobs, self.namespace, name)
    }

    /// Whether there is a Service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> bool {
        one(&self.world.children.services, self.namespace, name).is_some()
    }

    /// Whether there is an autoscaler of this name.
    #[must_use]
    pub fn autoscaler(&self, name: &str) -> bool {
        one(&self.world.children.autoscalers, self.namespace, name).is_some()
    }

    /// Workers of a workload: how many there should be, and how many of its template of now are ready.
    #[must_use]
    pub fn ready_workers(&self, workload: &str, stable: bool) -> Option<(i32, i32)> {
        let children = &self.world.children;
        if stable {
            let it = one(&children.stateful_sets, self.namespace, workload)?;
            let wanted = it.spec.replicas.unwrap_or(1);
            let status = it.status.clone().unwrap_or_default();
            let seen = status.observed_generation >= it.metadata.generation;
            let (all, updated) = (status.replicas, status.updated_replicas.unwrap_or(0));
            return Some((wanted, updated_ready(seen, all, updated, status.ready_replicas)));
        }
        let it = one(&children.deployments, self.namespace, workload)?;
        let wanted = it.spec.replicas.unwrap_or(1);
        let status = it.status.clone().unwrap_or_default();
        let seen = status.observed_generation >= it.metadata.generation;
        let (all, updated) = (status.replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
        Some((wanted, updated_ready(seen, all, updated, status.ready_replicas)))
    }

    /// The pods of a Job.
    #[must_use]
    pub fn pods_of_job(&self, job: &str) -> Vec<Arc<Pod>> {
        all(&self.world.children.pods, self.namespace, |pod| label(&pod.metadata, names::JOB_NAME) == Some(job))
    }

    /// The pods of a resource's workers.
    #[must_use]
    pub fn workers(&self, kind: Kind, name: &str) -> Vec<Arc<Pod>> {
        all(&self.world.children.pods, self.namespace, |pod| works_for(&pod.metadata, kind, name))
    }

    /// The names of the objects of a resource's pools, kind by kind.
    #[must_use]
    pub fn pool_objects(&self, kind: Kind, name: &str) -> PoolObjects {
        fn of<K>(store: &Store<K>, namespace: &str, kind: Kind, name: &str) -> Vec<String>
        where
            K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + 'static,
        {
            let found = all(store, namespace, |object| works_for(object.meta(), kind, name));
            found.iter().map(|object| name_of(object.as_ref()).to_owned()).collect()
        }
        let children = &self.world.children;
        PoolObjects {
            deployments: of(&children.deployments, self.namespace, kind, name),
            stateful_sets: of(&children.stateful_sets, self.namespace, kind, name),
            services: of(&children.services, self.namespace, kind, name),
            config_maps: of(&children.config_maps, self.namespace, kind, name),
            budgets: of(&children.budgets, self.namespace, kind, name),
        }
    }

    /// What the workers of a resource are told, each with the ConfigMap that tells them.
    #[must_use]
    pub fn told_workers(&self, kind: Kind, name: &str) -> Vec<(Arc<ConfigMap>, WorkerConfig)> {
        let maps = all(&self.world.children.config_maps, self.namespace, |map| works_for(&map.metadata, kind, name));
        maps.into_iter()
            .filter_map(|map| {
                let config = serde_json::from_str(map.data.as_ref()?.get(names::CONFIG_FILE)?).ok()?;
                Some((map, config))
            })
            .collect()
    }

    /// The ConfigMaps of all routes.
    #[must_use]
    pub fn routes(&self) -> Vec<Arc<ConfigMap>> {
        let routes = |map: &ConfigMap| label(&map.metadata, names::ROUTED).is_some();
        all(&self.world.children.config_maps, self.namespace, routes)
    }

    /// What gateways are told of a pipeline.
    #[must_use]
    pub fn route(&self, pipeline: &str) -> Option<RouteFile> {
        let map = one(&self.world.children.config_maps, self.namespace, &names::route(pipeline))?;
        label(&map.metadata, names::ROUTED)?;
        read_route(&map)
    }
}

/// The route that a ConfigMap holds.
#[must_use]
pub fn read_route(map: &ConfigMap) -> Option<RouteFile> {
    serde_json::from_str(map.data.as_ref()?.get(names::ROUTE_FILE)?).ok()
}

/// Names of the objects of a resource's pools.
#[derive(Clone, Debug, Default)]
pub struct PoolObjects {
    /// Workloads.
    pub deployments: Vec<String>,
    /// Workloads with stable names.
    pub stateful_sets: Vec<String>,
    /// Services.
    pub services: Vec<String>,
    /// Configurations.
    pub config_maps: Vec<String>,
    /// Disruption budgets.
    pub budgets: Vec<String>,
}

/// Ready pods of the template of now, at least: the workload tells how many are ready, not which.
fn updated_ready(seen: bool, all: i32, updated: i32, ready: Option<i32>) -> i32 {
    let former = (all - updated).max(0);
    if seen { (ready.unwrap_or(0) - former).clamp(0, updated) } else { 0 }
}

/// The resource that an object is made for: its controller; of a pod, whose controller is a workload, what its labels
/// say. A label of anything else may have been changed by hand.
#[must_use]
pub fn owner(meta: &ObjectMeta) -> Option<(Kind, &str)> {
    let controller = meta.owner_references.iter().flatten().find(|it| it.controller == Some(true));
    match controller {
        Some(it) if it.api_version == names::API_VERSION => Some((Kind::parse(&it.kind)?, &it.name)),
        Some(_) => {
            let ours = label(meta, names::MANAGED_BY) == Some(names::OPERATOR);
            ours.then(|| Some((Kind::parse(label(meta, names::KIND)?)?, label(meta, names::NAME)?)))?
        }
        None => None,
    }
}

fn belongs(meta: &ObjectMeta, kind: Kind, name: &str) -> bool {
    owner(meta) == Some((kind, name))
}

fn works_for(meta: &ObjectMeta, kind: Kind, name: &str) -> bool {
    belongs(meta, kind, name) && label(meta, names::COMPONENT) == Some(names::WORKER)
}
