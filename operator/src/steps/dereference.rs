//! A resource with all that it refers to, out of the caches of its own namespace.
//!
//! In: a resource by kind and name. Out: it, what it names, what these name, and for a trained model the job that
//! trains it; and the references that lead nowhere. Judges nothing.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use recmesh_crds::{
    Dataset, EvaluationJob, Kind, Located, ModelKind, Pipeline, RankingModel, Resource, RetrievalModel, Tokenizer,
    TrainingJob,
};

use crate::{
    here::Here,
    references::{self, Reference},
    terms::{Closure, Key, Missing},
};

/// Everything that a resource is made of.
#[must_use]
pub fn dereference(here: &Here<'_>, subject: &Key) -> Closure {
    let mut walk = Walk { here, seen: BTreeSet::new(), found: Vec::new(), missing: Vec::new() };
    walk.visit(subject, None);
    let Walk { mut found, missing, .. } = walk;
    // Of two training jobs for one model the older trains it: it must come first.
    found.sort_by(|a, b| {
        (a.located.kind(), &a.created, &a.located.name).cmp(&(b.located.kind(), &b.created, &b.located.name))
    });
    Closure { resources: found.into_iter().map(|found| found.located).collect(), missing }
}

struct Found {
    created: Option<Time>,
    located: Located,
}

struct Walk<'a, 'b> {
    here: &'a Here<'b>,
    seen: BTreeSet<Key>,
    found: Vec<Found>,
    missing: Vec<Missing>,
}

impl Walk<'_, '_> {
    /// Takes a resource in and follows what it names; `from` is who names it.
    fn visit(&mut self, key: &Key, from: Option<(&Key, &str)>) {
        if self.seen.contains(key) {
            return;
        }
        match self.read(key) {
            Some((found, names)) => {
                self.seen.insert(key.clone());
                self.found.push(found);
                for (path, next) in names {
                    self.visit(&next, Some((key, path)));
                }
                self.trainer(key);
            }
            None => {
                if let Some((from, path)) = from {
                    self.missing.push(Missing { from: from.clone(), path: path.to_owned(), to: key.clone() });
                }
            }
        }
    }

    /// The job that trains a model, if it is one that is trained.
    fn trainer(&mut self, model: &Key) {
        let kind = match model.kind {
            Kind::RankingModel => ModelKind::RankingModel,
            Kind::RetrievalModel => match self.here.retrieval_model(&model.name) {
                Some(found) if !found.spec.algorithm.counted() => ModelKind::RetrievalModel,
                _ => return,
            },
            _ => return,
        };
        match self.here.trainers(kind, &model.name).first() {
            Some(job) => {
                let key = Key::new(Kind::TrainingJob, job.metadata.name.clone().unwrap_or_default());
                self.visit(&key, Some((model, "")));
            }
            None => {
                let to = Key::new(Kind::TrainingJob, "");
                self.missing.push(Missing { from: model.clone(), path: "spec.algorithm".to_owned(), to });
            }
        }
    }

    /// A resource as manifests would give it, without its status, and what it names.
    fn read(&self, key: &Key) -> Option<(Found, Vec<Reference>)> {
        let Self { here, .. } = self;
        let name = key.name.as_str();
        let (created, resource, names) = match key.kind {
            Kind::Dataset => {
                let it = here.dataset(name)?;
                let resource = Resource::Dataset(Dataset::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, Vec::new())
            }
            Kind::Tokenizer => {
                let it = here.tokenizer(name)?;
                let resource = Resource::Tokenizer(Tokenizer::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, references::of_tokenizer(&it))
            }
            Kind::RetrievalModel => {
                let it = here.retrieval_model(name)?;
                let resource = Resource::RetrievalModel(RetrievalModel::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, references::of_retrieval_model(&it))
            }
            Kind::RankingModel => {
                let it = here.ranking_model(name)?;
                let resource = Resource::RankingModel(RankingModel::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, references::of_ranking_model(&it))
            }
            Kind::TrainingJob => {
                let it = here.training_job(name)?;
                let resource = Resource::TrainingJob(TrainingJob::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, references::of_training_job(&it))
            }
            Kind::EvaluationJob => {
                let it = here.evaluation_job(name)?;
                let resource = Resource::EvaluationJob(EvaluationJob::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, references::of_evaluation_job(&it))
            }
            Kind::Pipeline => {
                let it = here.pipeline(name)?;
                let resource = Resource::Pipeline(Pipeline::new(name, it.spec.clone()));
                (it.metadata.creation_timestamp.clone(), resource, references::of_pipeline(&it))
            }
        };
        let located = Located::stored(resource, here.namespace, name);
        Some((Found { created, located }, names))
    }
}
