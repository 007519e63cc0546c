//! What the operator sees of the cluster: one cache a kind, filled by one watch a namespace.
//!
//! ```text
//! API server ─► stream (streaming list, backoff) ─► readable? ─► slim ─► Cache ─► Triggers ─► queues
//!                                                      └─► Unreadable ─► a condition that says so
//! ```
//!
//! Of our own making only what bears our label is watched. The caches are the whole memory of the operator: it can be
//! stopped at any moment. Nothing here writes.

pub mod declared;
pub mod feed;
pub mod made;
pub mod unreadable;

use futures_util::FutureExt;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::runtime::reflector::store::WriterDropped;
use recmesh_crds::{Dataset, EvaluationJob, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob};

use crate::{
    OperatorConfig,
    cache::Cache,
    world::{Children, Told, World},
};

/// Every cache. Clones share them.
#[derive(Clone)]
#[allow(missing_docs)] // each is the kind it names
pub struct Caches {
    pub datasets: Cache<Dataset>,
    pub tokenizers: Cache<Tokenizer>,
    pub retrieval_models: Cache<RetrievalModel>,
    pub ranking_models: Cache<RankingModel>,
    pub training_jobs: Cache<TrainingJob>,
    pub evaluation_jobs: Cache<EvaluationJob>,
    pub pipelines: Cache<Pipeline>,
    pub jobs: Cache<Job>,
    pub pods: Cache<Pod>,
    pub deployments: Cache<Deployment>,
    pub stateful_sets: Cache<StatefulSet>,
    pub services: Cache<Service>,
    pub config_maps: Cache<ConfigMap>,
    pub budgets: Cache<PodDisruptionBudget>,
    pub autoscalers: Cache<HorizontalPodAutoscaler>,
    /// The gateways' addresses; only watched where there are gateways.
    pub slices: Cache<EndpointSlice>,
}

/// Runs an expression for every cache that the steps read.
macro_rules! every {
    ($caches:expr, $cache:ident => $body:expr) => {
        [
            {
                let $cache = &$caches.datasets;
                $body
            },
            {
                let $cache = &$caches.tokenizers;
                $body
            },
            {
                let $cache = &$caches.retrieval_models;
                $body
            },
            {
                let $cache = &$caches.ranking_models;
                $body
            },
            {
                let $cache = &$caches.training_jobs;
                $body
            },
            {
                let $cache = &$caches.evaluation_jobs;
                $body
            },
            {
                let $cache = &$caches.pipelines;
                $body
            },
            {
                let $cache = &$caches.jobs;
                $body
            },
            {
                let $cache = &$caches.pods;
                $body
            },
            {
                let $cache = &$caches.deployments;
                $body
            },
            {
                let $cache = &$caches.stateful_sets;
                $body
            },
            {
                let $cache = &$caches.services;
                $body
            },
            {
                let $cache = &$caches.config_maps;
                $body
            },
            {
                let $cache = &$caches.budgets;
                $body
            },
            {
                let $cache = &$caches.autoscalers;
                $body
            },
        ]
    };
}

impl Caches {
    /// Empty caches of the namespaces that are watched.
    #[must_use]
    pub fn new(config: &OperatorConfig) -> Self {
        let of = &config.watch_namespaces;
        let gateways: Vec<String> = config.gateway.iter().map(|gateway| gateway.namespace.clone()).collect();
        Self {
            datasets: Cache::new(of),
            tokenizers: Cache::new(of),
            retrieval_models: Cache::new(of),
            ranking_models: Cache::new(of),
            training_jobs: Cache::new(of),
            evaluation_jobs: Cache::new(of),
            pipelines: Cache::new(of),
            jobs: Cache::new(of),
            pods: Cache::new(of),
            deployments: Cache::new(of),
            stateful_sets: Cache::new(of),
            services: Cache::new(of),
            config_maps: Cache::new(of),
            budgets: Cache::new(of),
            autoscalers: Cache::new(of),
            slices: Cache::new(&gateways),
        }
    }

    /// The same as the pure steps read it.
    #[must_use]
    pub fn world(&self, config: OperatorConfig) -> World {
        World {
            config: config.into(),
            datasets: self.datasets.store(),
            tokenizers: self.tokenizers.store(),
            retrieval_models: self.retrieval_models.store(),
            ranking_models: self.ranking_models.store(),
            training_jobs: self.training_jobs.store(),
            evaluation_jobs: self.evaluation_jobs.store(),
            pipelines: self.pipelines.store(),
            children: Children {
                jobs: self.jobs.store(),
                pods: self.pods.store(),
                deployments: self.deployments.store(),
                stateful_sets: self.stateful_sets.store(),
                services: self.services.store(),
                config_maps: self.config_maps.store(),
                budgets: self.budgets.store(),
                autoscalers: self.autoscalers.store(),
            },
            told: Told::default(),
        }
    }

    /// Ends when every cache holds its first whole list; nothing is reconciled before.
    ///
    /// # Errors
    /// When the process is ending.
    pub async fn complete(&self) -> Result<(), WriterDropped> {
        for cache in every!(self, cache => cache.complete().boxed()) {
            cache.await?;
        }
        Ok(())
    }

    /// Whether every cache holds its first whole list.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        every!(self, cache => cache.is_complete()).into_iter().all(|complete| complete)
    }
}
