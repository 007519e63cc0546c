//! Pipelines: stages over one data set and one catalog, weights of tasks that exist.

use recmesh_contract::config::RankingParams;
use recmesh_crds::{Kind, Located, PipelineSpec, Resource, RetrievalModelSpec, nearest};

use super::{facts::Facts, retrieval::arm, scope::Scope};
use crate::Pipeline;

/// The meaning of a pipeline.
pub(super) fn pipeline(scope: &mut Scope<'_>, at: &Located, spec: &PipelineSpec) -> Option<Pipeline> {
    let tokenizer = scope.tokenizer(at, "/spec/tokenizerRef", &spec.tokenizer_ref.name);
    let retrieve = scope.retrieval(at, "/spec/retrieve/modelRef", &spec.retrieve.model_ref.name);
    let rank = spec.rank.as_ref().map(|stage| scope.ranking(at, "/spec/rank/modelRef", &stage.model_ref.name));
    let fallback =
        spec.fallback.as_ref().map(|stage| scope.retrieval(at, "/spec/fallback/modelRef", &stage.model_ref.name));

    let items = tokenizer.as_ref().map(|(name, tokenizer)| (name.as_str(), tokenizer.dataset_ref.name.as_str()));
    if let Some((name, model)) = &retrieve {
        same_items(scope, at, "retrieve", (name.as_str(), &model.dataset_ref.name), items);
        same_ids(scope, at, spec, name.as_str(), model);
    }
    if let Some(Some((name, dataset, params))) = &rank {
        let examples = scope.params_of(dataset).is_some_and(|params| !Facts::of(params).interactions);
        if examples {
            let message = format!("{name} ranks rows of examples, not items: name a ranking model over interactions");
            scope.refuse(at, "/spec/rank/modelRef/name", message);
        } else {
            same_items(scope, at, "rank", (name.as_str(), dataset), items);
        }
        weights(scope, at, spec, name.as_str(), params);
    }
    if let Some(Some((name, model))) = &fallback {
        if !model.algorithm.counted() {
            let message = format!(
                "{name} is {}, which may fail like any trained model: name one with popularity, itemKnn or transitions",
                arm(&model.algorithm)
            );
            scope.refuse(at, "/spec/fallback/modelRef/name", message);
        }
        if model_name(spec) == name.as_str() {
            scope.refuse(
                at,
                "/spec/fallback/modelRef/name",
                "it is the model that it should stand in for: name another, or remove fallback",
            );
        }
        same_items(scope, at, "fallback", (name.as_str(), &model.dataset_ref.name), items);
    }
    if spec.route.deadline.0 == 0 {
        scope.refuse(at, "/spec/deadline", "no request can be answered in no time: give more than 0ms");
    }
    if spec.rank.is_none() && at.written("/spec/candidates") {
        scope.refuse(at, "/spec/candidates", "candidates go to a rank stage, and there is none: add it or remove them");
    }
    ages(scope, at, spec);
    Some(Pipeline {
        tokenizer: tokenizer?.0,
        retrieve: retrieve?.0,
        rank: match rank {
            Some(stage) => Some(stage?.0),
            None => None,
        },
        fallback: match fallback {
            Some(stage) => Some(stage?.0),
            None => None,
        },
        route: spec.route.clone(),
    })
}

fn model_name(spec: &PipelineSpec) -> &str {
    &spec.retrieve.model_ref.name
}

/// Item `i` of the model must be item `i` of the catalog.
fn same_items(scope: &mut Scope<'_>, at: &Located, stage: &str, model: (&str, &str), tokenizer: Option<(&str, &str)>) {
    let (Some((tokenizer, items)), (model, learned)) = (tokenizer, model) else { return };
    if items != learned {
        let message = format!(
            "{model} learns from data set {learned}, but tokenizer {tokenizer} holds the items of {items}: use one data set"
        );
        scope.refuse(at, &format!("/spec/{stage}/modelRef/name"), message);
    }
}

fn same_ids(scope: &mut Scope<'_>, at: &Located, spec: &PipelineSpec, name: &str, model: &RetrievalModelSpec) {
    if let Some(own) = &model.tokenizer_ref
        && *own != spec.tokenizer_ref
    {
        let message =
            format!("{name} decodes the IDs of tokenizer {}, not of {}: name {0}", own.name, spec.tokenizer_ref.name);
        scope.refuse(at, "/spec/tokenizerRef/name", message);
    }
}

/// A batch that waits as long as a request may take answers nobody.
fn ages(scope: &mut Scope<'_>, at: &Located, spec: &PipelineSpec) {
    let stages = [(Kind::RetrievalModel, Some(&spec.retrieve)), (Kind::RankingModel, spec.rank.as_ref())]
        .into_iter()
        .chain([(Kind::RetrievalModel, spec.fallback.as_ref())]);
    for (kind, stage) in stages {
        let Some(stage) = stage else { continue };
        let age = match scope.find(kind, &stage.model_ref.name).map(|found| &found.resource) {
            Some(Resource::RetrievalModel(model)) => model.spec.pool.max_batch_age,
            Some(Resource::RankingModel(model)) => model.spec.pool.max_batch_age,
            _ => continue,
        };
        if age >= spec.route.deadline && spec.route.deadline.0 > 0 {
            let message = format!(
                "batches of {} wait {age} for other requests, but a request has {} in all: \
                 raise the deadline or lower the model's pool.maxBatchAge",
                stage.model_ref.name, spec.route.deadline
            );
            scope.refuse(at, "/spec/deadline", message);
        }
    }
}

fn weights(scope: &mut Scope<'_>, at: &Located, spec: &PipelineSpec, name: &str, params: &RankingParams) {
    let tasks: Vec<&str> = params.tasks.iter().map(|task| task.name.as_str()).collect();
    for task in spec.route.weights.keys() {
        if !tasks.contains(&task.as_str()) {
            let meant =
                nearest(task, tasks.iter().copied()).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            let message = format!("{name} has no task {task}; {meant}it has: {}", tasks.join(", "));
            let pointer = format!("/spec/weights/{}", task.replace('~', "~0").replace('/', "~1"));
            scope.refuse(at, &pointer, message);
        }
    }
}
