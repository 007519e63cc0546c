//! What is known of the cluster: caches that watches keep, and what jobs and gateways told when they were asked.
//!
//! Written by the watches and the pollers; read by the pure steps, which never wait for anything. In tests the same
//! caches are filled by hand.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::runtime::reflector::Store;
use recmesh_contract::{JobReport, config::RoutesReport};
use recmesh_crds::{Dataset, EvaluationJob, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob};

use crate::OperatorConfig;

/// Everything known.
#[derive(Clone)]
pub struct World {
    /// What the process was told.
    pub config: Arc<OperatorConfig>,
    /// Data sets.
    pub datasets: Store<Dataset>,
    /// Tokenizers.
    pub tokenizers: Store<Tokenizer>,
    /// Retrieval models.
    pub retrieval_models: Store<RetrievalModel>,
    /// Ranking models.
    pub ranking_models: Store<RankingModel>,
    /// Training jobs.
    pub training_jobs: Store<TrainingJob>,
    /// Evaluation jobs.
    pub evaluation_jobs: Store<EvaluationJob>,
    /// Pipelines.
    pub pipelines: Store<Pipeline>,
    /// What we made, whole: only objects that bear our `managed-by` label.
    pub children: Children,
    /// What jobs and gateways told.
    pub told: Told,
}

/// Objects of our own making.
#[derive(Clone)]
pub struct Children {
    /// Jobs of resources.
    pub jobs: Store<Job>,
    /// Pods of jobs and workers.
    pub pods: Store<Pod>,
    /// Workloads of pools.
    pub deployments: Store<Deployment>,
    /// Workloads of pools with user affinity.
    pub stateful_sets: Store<StatefulSet>,
    /// Services of pools and of training jobs.
    pub services: Store<Service>,
    /// Pools' configurations and pipelines' routes.
    pub config_maps: Store<ConfigMap>,
    /// Pools' disruption budgets.
    pub budgets: Store<PodDisruptionBudget>,
    /// Models' autoscalers.
    pub autoscalers: Store<HorizontalPodAutoscaler>,
}

/// What jobs and gateways told when they were last asked.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    reports: HashMap<(String, String), JobReport>,
    gateways: Arc<BTreeMap<String, Option<RoutesReport>>>,
}

impl Told {
    /// The last report of a running `Job`.
    #[must_use]
    pub fn report(&self, namespace: &str, job: &str) -> Option<JobReport> {
        self.read(|answers| answers.reports.get(&(namespace.to_owned(), job.to_owned())).cloned())
    }

    /// Notes a report; whether it is another than before.
    pub fn put_report(&self, namespace: &str, job: &str, report: JobReport) -> bool {
        self.read(|answers| {
            let key = (namespace.to_owned(), job.to_owned());
            let before = answers.reports.insert(key, report.clone());
            before.as_ref() != Some(&report)
        })
    }

    /// Forgets a job that is gone.
    pub fn forget(&self, namespace: &str, job: &str) {
        self.read(|answers| answers.reports.remove(&(namespace.to_owned(), job.to_owned())));
    }

    /// What each ready gateway told, by its address; `None` for one that did not answer.
    #[must_use]
    pub fn gateways(&self) -> Arc<BTreeMap<String, Option<RoutesReport>>> {
        self.read(|answers| Arc::clone(&answers.gateways))
    }

    /// Notes what all ready gateways told; whether anything is another than before.
    pub fn put_gateways(&self, gateways: BTreeMap<String, Option<RoutesReport>>) -> bool {
        self.read(|answers| {
            let changed = *answers.gateways != gateways;
            answers.gateways = Arc::new(gateways);
            changed
        })
    }

    fn read<T>(&self, with: impl FnOnce(&mut Answers) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
