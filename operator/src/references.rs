//! Which resources a resource names, field by field.
//!
//! In: a spec. Out: references as they are written; whether they lead anywhere is dereferencing's business. The same
//! list, read backwards, tells who must be looked at again when a resource changes.

use recmesh_contract::config::{ItemVectors, TokenizerAlgorithm};
use recmesh_crds::{
    EvaluationJob, Kind, ModelKind, ModelRef, Pipeline, RankingModel, RetrievalModel, StageRef, Tokenizer, TrainingJob,
};

use crate::terms::Key;

/// A field and the resource that it names.
pub type Reference = (&'static str, Key);

/// The kind of a model.
#[must_use]
pub fn model_kind(kind: ModelKind) -> Kind {
    match kind {
        ModelKind::RetrievalModel => Kind::RetrievalModel,
        ModelKind::RankingModel => Kind::RankingModel,
    }
}

fn model_ref(reference: &ModelRef) -> Reference {
    ("spec.modelRef.name", Key::new(model_kind(reference.kind), reference.name.as_str()))
}

/// The retrieval model whose item table a tokenizer clusters.
#[must_use]
pub fn vectors(tokenizer: &Tokenizer) -> Option<&str> {
    match &tokenizer.spec.algorithm {
        TokenizerAlgorithm::RqKMeans(parameters) => match &parameters.vectors {
            ItemVectors::Model(model) => Some(&model.model_ref.name),
            ItemVectors::Collaborative(_) | ItemVectors::Content(_) | ItemVectors::File(_) => None,
        },
        TokenizerAlgorithm::Atomic(_) => None,
    }
}

/// What a tokenizer names.
#[must_use]
pub fn of_tokenizer(tokenizer: &Tokenizer) -> Vec<Reference> {
    let dataset = ("spec.datasetRef.name", Key::new(Kind::Dataset, tokenizer.spec.dataset_ref.name.as_str()));
    let vectors = vectors(tokenizer)
        .map(|model| ("spec.algorithm.rqKMeans.vectors.model.modelRef.name", Key::new(Kind::RetrievalModel, model)));
    [dataset].into_iter().chain(vectors).collect()
}

/// What a retrieval model names.
#[must_use]
pub fn of_retrieval_model(model: &RetrievalModel) -> Vec<Reference> {
    let dataset = ("spec.datasetRef.name", Key::new(Kind::Dataset, model.spec.dataset_ref.name.as_str()));
    let tokenizer = model.spec.tokenizer_ref.as_ref();
    let tokenizer = tokenizer.map(|at| ("spec.tokenizerRef.name", Key::new(Kind::Tokenizer, at.name.as_str())));
    [dataset].into_iter().chain(tokenizer).collect()
}

/// What a ranking model names.
#[must_use]
pub fn of_ranking_model(model: &RankingModel) -> Vec<Reference> {
    vec![("spec.datasetRef.name", Key::new(Kind::Dataset, model.spec.dataset_ref.name.as_str()))]
}

/// What a training job names.
#[must_use]
pub fn of_training_job(job: &TrainingJob) -> Vec<Reference> {
    vec![model_ref(&job.spec.model_ref)]
}

/// What an evaluation job names.
#[must_use]
pub fn of_evaluation_job(job: &EvaluationJob) -> Vec<Reference> {
    vec![model_ref(&job.spec.model_ref)]
}

/// What a pipeline names: the owners of its pools.
#[must_use]
pub fn of_pipeline(pipeline: &Pipeline) -> Vec<Reference> {
    let spec = &pipeline.spec;
    let stage = |path, kind, stage: &StageRef| (path, Key::new(kind, stage.model_ref.name.as_str()));
    let mut all = vec![
        ("spec.tokenizerRef.name", Key::new(Kind::Tokenizer, spec.tokenizer_ref.name.as_str())),
        stage("spec.retrieve.modelRef.name", Kind::RetrievalModel, &spec.retrieve),
    ];
    all.extend(spec.rank.as_ref().map(|rank| stage("spec.rank.modelRef.name", Kind::RankingModel, rank)));
    all.extend(spec.fallback.as_ref().map(|it| stage("spec.fallback.modelRef.name", Kind::RetrievalModel, it)));
    all
}
