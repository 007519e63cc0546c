//! The seven kinds of resources, as far as watches and status need them: one trait, so nothing is written seven times.
//!
//! In: a kind's type. Out: its cache, its status as JSON. It decides nothing.

use kube::{
    Resource,
    core::{NamespaceResourceScope, ObjectMeta},
};
use recmesh_crds::{
    COMPLETE, Dataset, EvaluationJob, Kind, Pipeline, READY, RankingModel, RetrievalModel, Tokenizer, TrainingJob,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::Caches;
use crate::{cache::Cache, outcome::Subject};

/// A kind of resource.
pub trait Declared:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Which one.
    const KIND: Kind;

    /// Its cache.
    fn cache(caches: &Caches) -> &Cache<Self>;

    /// Its status as JSON; null without one.
    fn status(&self) -> Value;

    /// A status as it reads after the API server has had it: what the type leaves out is left out. One that does not
    /// fit the type is left as it is, for the API server to judge.
    fn canonical(status: Value) -> Value;

    /// What says which object this is.
    fn subject(&self) -> Subject {
        subject(Self::KIND, self.meta())
    }
}

/// The subject of an object of this kind.
#[must_use]
pub fn subject(kind: Kind, meta: &ObjectMeta) -> Subject {
    Subject { kind, namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}

/// The condition that sums a kind up.
#[must_use]
pub fn roll_up(kind: Kind) -> &'static str {
    match kind {
        Kind::TrainingJob | Kind::EvaluationJob => COMPLETE,
        Kind::Dataset | Kind::Tokenizer | Kind::RetrievalModel | Kind::RankingModel | Kind::Pipeline => READY,
    }
}

macro_rules! declared {
    ($($kind:ident, $status:ident, $cache:ident;)*) => {
        $(impl Declared for $kind {
            const KIND: Kind = Kind::$kind;

            fn cache(caches: &Caches) -> &Cache<Self> {
                &caches.$cache
            }

            fn status(&self) -> Value {
                serde_json::to_value(&self.status).unwrap_or_default()
            }

            fn canonical(status: Value) -> Value {
                match serde_json::from_value::<recmesh_crds::$status>(status.clone()) {
                    Ok(typed) => serde_json::to_value(typed).unwrap_or(status),
                    Err(_) => status,
                }
            }
        })*
    };
}

declared! {
    Dataset, DatasetStatus, datasets;
    Tokenizer, TokenizerStatus, tokenizers;
    RetrievalModel, RetrievalModelStatus, retrieval_models;
    RankingModel, RankingModelStatus, ranking_models;
    TrainingJob, TrainingJobStatus, training_jobs;
    EvaluationJob, EvaluationJobStatus, evaluation_jobs;
    Pipeline, PipelineStatus, pipelines;
}

/// Runs an expression with `$of` as the type of a kind.
macro_rules! with_kind {
    ($kind:expr, $of:ident => $body:expr) => {
        match $kind {
            recmesh_crds::Kind::Dataset => {
                type $of = recmesh_crds::Dataset;
                $body
            }
            recmesh_crds::Kind::Tokenizer => {
                type $of = recmesh_crds::Tokenizer;
                $body
            }
            recmesh_crds::Kind::RetrievalModel => {
                type $of = recmesh_crds::RetrievalModel;
                $body
            }
            recmesh_crds::Kind::RankingModel => {
                type $of = recmesh_crds::RankingModel;
                $body
            }
            recmesh_crds::Kind::TrainingJob => {
                type $of = recmesh_crds::TrainingJob;
                $body
            }
            recmesh_crds::Kind::EvaluationJob => {
                type $of = recmesh_crds::EvaluationJob;
                $body
            }
            recmesh_crds::Kind::Pipeline => {
                type $of = recmesh_crds::Pipeline;
                $body
            }
        }
    };
}
pub(crate) use with_kind;
