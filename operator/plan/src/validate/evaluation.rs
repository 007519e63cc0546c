//! Evaluation jobs: a part that exists, settings that the kind of model reads, gates on metrics that will be reported.

use std::collections::BTreeSet;

use recmesh_contract::config::{EvaluationParams, EvaluationSplit, Split};
use recmesh_crds::{EvaluationJobSpec, Located, Resource, nearest};

use super::{facts::Facts, scope::Scope};
use crate::Evaluation;

/// The meaning of an evaluation job.
pub(super) fn evaluation(scope: &mut Scope<'_>, at: &Located, spec: &EvaluationJobSpec) -> Option<Evaluation> {
    let params = &spec.evaluation;
    let (model, resource) = scope.model(at, "/spec/modelRef", &spec.model_ref)?;
    let (dataset, metrics) = match resource {
        Resource::RetrievalModel(model) => (&model.spec.dataset_ref.name, retrieval_metrics(params)),
        Resource::RankingModel(model) => {
            for (field, read) in
                [("k", "cut-offs are"), ("masking", "masking is"), ("shuffledControl", "the shuffled control is")]
            {
                let pointer = format!("/spec/{field}");
                if at.written(&pointer) {
                    let message =
                        format!("{read} for retrieval models, {} is a ranking model: remove it", spec.model_ref.name);
                    scope.refuse(at, &pointer, message);
                }
            }
            let tasks = model.spec.ranking.tasks.iter().map(|task| task.name.as_str());
            // GAUC compares rows of one user. Examples have no users, and leave-one-out holds out a single row of each
            // where every row is a target.
            let grouped = scope.params_of(&model.spec.dataset_ref.name).is_none_or(|params| {
                let single = matches!(params.split, Split::LeaveOneOut(_)) && params.history.is_none();
                Facts::of(params).interactions && !single
            });
            (&model.spec.dataset_ref.name, ranking_metrics(tasks, grouped))
        }
        _ => return None,
    };
    if let Some(declared) = scope.params_of(dataset)
        && !Facts::of(declared).has(params.split)
    {
        let (part, other) = match params.split {
            EvaluationSplit::Validation => ("validation", "test"),
            EvaluationSplit::Test => ("test", "validation"),
        };
        let message = format!("data set {dataset} has no {part} part: write split: {other}, or give it one");
        scope.refuse(at, "/spec/split", message);
    }
    let mut cuts = BTreeSet::new();
    for (i, k) in params.k.iter().enumerate() {
        if !cuts.insert(k) {
            scope.refuse(at, &format!("/spec/k/{i}"), format!("{k} is a cut-off already: remove one"));
        }
    }
    gates(scope, at, params, &metrics);
    Some(Evaluation { model, params: params.clone() })
}

fn retrieval_metrics(params: &EvaluationParams) -> Vec<String> {
    let ranked = |suffix: &str| -> Vec<String> {
        let named = |k: &u32| ["recall", "ndcg", "mrr"].map(|name| format!("{name}@{k}{suffix}"));
        params.k.iter().flat_map(named).collect()
    };
    let mut metrics = ranked("");
    metrics.extend(params.k.iter().map(|k| format!("itemCoverage@{k}")));
    metrics.push("illegalIdRate".to_owned());
    if params.shuffled_control {
        metrics.extend(ranked("/control"));
    }
    metrics
}

fn ranking_metrics<'a>(tasks: impl Iterator<Item = &'a str>, grouped: bool) -> Vec<String> {
    let names: &[&str] = if grouped { &["auc", "gauc", "logloss"] } else { &["auc", "logloss"] };
    tasks.flat_map(|task| names.iter().map(move |name| format!("{name}/{task}"))).collect()
}

fn gates(scope: &mut Scope<'_>, at: &Located, params: &EvaluationParams, metrics: &[String]) {
    let mut seen = BTreeSet::new();
    for (i, gate) in params.gates.iter().enumerate() {
        let here = format!("/spec/gates/{i}");
        if !metrics.contains(&gate.metric) {
            let meant = nearest(&gate.metric, metrics.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            let message = format!("{} will not be reported; {meant}these will: {}", gate.metric, metrics.join(", "));
            scope.refuse(at, &format!("{here}/metric"), message);
        }
        if !seen.insert(&gate.metric) {
            scope.refuse(at, &format!("{here}/metric"), format!("{} has a gate already: merge the two", gate.metric));
        }
        if let (Some(min), Some(max)) = (gate.min, gate.max)
            && min > max
        {
            scope.refuse(at, &format!("{here}/min"), format!("min {min} is above max {max}: no value passes"));
        }
    }
}
