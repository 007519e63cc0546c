//! Who must be looked at again when a resource has changed, or come, or gone.
//!
//! In: the resource. Out: those that read its spec or its status in their own steps: what names it, what is made from
//! it, what is served with it. Others hear of it through the statuses of these.

use std::collections::BTreeSet;

use recmesh_crds::{Kind, ModelKind, Pipeline};

use crate::{
    here::{Here, label, name_of, owner},
    names,
    outcome::Subject,
    references,
    terms::Key,
    world::World,
};

/// The other resources to look at again.
#[must_use]
pub fn affected(world: &World, subject: &Subject) -> Vec<Subject> {
    let here = Here { world, namespace: &subject.namespace };
    let own = Key::new(subject.kind, subject.name.as_str());
    let mut all = Affected { here, found: BTreeSet::new() };
    all.by(&own);
    all.found.remove(&own);
    let subject_of = |Key { kind, name }| Subject { kind, namespace: subject.namespace.clone(), name };
    all.found.into_iter().map(subject_of).collect()
}

struct Affected<'a> {
    here: Here<'a>,
    found: BTreeSet<Key>,
}

impl Affected<'_> {
    fn by(&mut self, changed: &Key) {
        let name = changed.name.as_str();
        match changed.kind {
            Kind::Dataset => {
                let here = self.here;
                for it in here.tokenizers(|it| it.spec.dataset_ref.name == name) {
                    self.add(Kind::Tokenizer, name_of(it.as_ref()));
                }
                for it in here.retrieval_models(|it| it.spec.dataset_ref.name == name) {
                    self.model(ModelKind::RetrievalModel, name_of(it.as_ref()));
                }
                for it in here.ranking_models(|it| it.spec.dataset_ref.name == name) {
                    self.model(ModelKind::RankingModel, name_of(it.as_ref()));
                }
            }
            Kind::Tokenizer => {
                let reads = |it: &recmesh_crds::RetrievalModel| {
                    it.spec.tokenizer_ref.as_ref().is_some_and(|at| at.name == name)
                };
                for it in self.here.retrieval_models(reads) {
                    self.model(ModelKind::RetrievalModel, name_of(it.as_ref()));
                }
                self.pipelines(changed);
            }
            Kind::RetrievalModel => self.made(ModelKind::RetrievalModel, name),
            Kind::RankingModel => self.made(ModelKind::RankingModel, name),
            Kind::TrainingJob => {
                // One that is gone cannot be asked what it trained: every model may have been its own.
                let Some(job) = self.here.training_job(name) else {
                    for kind in [Kind::RetrievalModel, Kind::RankingModel, Kind::TrainingJob] {
                        for name in self.here.names(kind) {
                            self.add(kind, &name);
                        }
                    }
                    return;
                };
                let model = &job.spec.model_ref;
                self.made(model.kind, &model.name);
                self.add(references::model_kind(model.kind), &model.name);
            }
            Kind::EvaluationJob => {}
            Kind::Pipeline => {
                if let Some(pipeline) = self.here.pipeline(name) {
                    self.owners(&pipeline);
                }
                // Owners of what it served before: they let go of what it no longer needs.
                let served = self.here.route(name).map(|file| file.pools).unwrap_or_default();
                for map in &self.here.world.children.config_maps.state_filter(|map| {
                    map.metadata.namespace.as_deref() == Some(self.here.namespace)
                        && label(&map.metadata, names::COMPONENT) == Some(names::WORKER)
                        && (served.is_empty() || served.values().any(|place| place.service.as_str() == name_of(map)))
                }) {
                    if let Some((kind, name)) = owner(&map.metadata) {
                        self.add(kind, name);
                    }
                }
            }
        }
    }

    fn add(&mut self, kind: Kind, name: &str) {
        self.found.insert(Key::new(kind, name));
    }

    /// A model and the jobs that make and measure it.
    fn model(&mut self, kind: ModelKind, name: &str) {
        self.add(references::model_kind(kind), name);
        for job in self.here.trainers(kind, name) {
            self.add(Kind::TrainingJob, name_of(job.as_ref()));
        }
        let measures =
            |it: &recmesh_crds::EvaluationJob| it.spec.model_ref.kind == kind && it.spec.model_ref.name == name;
        for job in self.here.evaluation_jobs(measures) {
            self.add(Kind::EvaluationJob, name_of(job.as_ref()));
        }
    }

    /// What reads a model: its jobs, tokenizers with its vectors, pipelines.
    fn made(&mut self, kind: ModelKind, name: &str) {
        self.model(kind, name);
        if kind == ModelKind::RetrievalModel {
            for it in self.here.tokenizers(|it| references::vectors(it) == Some(name)) {
                self.add(Kind::Tokenizer, name_of(it.as_ref()));
            }
        }
        self.pipelines(&Key::new(references::model_kind(kind), name));
    }

    /// Pipelines that name a resource, and whatever else they serve: nobody's pools are known before everybody's are.
    fn pipelines(&mut self, named: &Key) {
        let names = |it: &Pipeline| references::of_pipeline(it).iter().any(|(_, key)| key == named);
        for pipeline in self.here.pipelines(names) {
            self.add(Kind::Pipeline, name_of(pipeline.as_ref()));
            self.owners(&pipeline);
        }
    }

    fn owners(&mut self, pipeline: &Pipeline) {
        self.found.extend(references::of_pipeline(pipeline).into_iter().map(|(_, key)| key));
    }
}
