//! A ranking model: tasks that its data set can answer, and a job that trains it.

use std::collections::BTreeSet;

use recmesh_contract::config::{
    DatasetParams, EntityFormat, EntitySource, Mmoe, Quantization, RankingAlgorithm, RankingParams, Source, Task,
};
use recmesh_crds::{Kind, Located, ModelKind, RankingModelSpec};

use super::{facts::Facts, scope::Scope, threshold::threshold, training::Claims};
use crate::{JobKey, Ranking};

/// Attributes of an item of every planted world; users have no more.
const PLANTED_ATTRIBUTES: usize = 2;

/// The meaning of a ranking model.
pub(super) fn ranking(
    scope: &mut Scope<'_>,
    at: &Located,
    spec: &RankingModelSpec,
    trained: &Claims,
) -> Option<Ranking> {
    let dataset = scope.dataset(at, "/spec/datasetRef", &spec.dataset_ref.name);
    let RankingParams { algorithm, tasks } = &spec.ranking;
    let mut names = BTreeSet::new();
    for (i, task) in tasks.iter().enumerate() {
        if !names.insert(&task.name) {
            scope.refuse(
                at,
                &format!("/spec/tasks/{i}/name"),
                format!("two tasks are called {}: rename one", task.name),
            );
        }
    }
    if tasks.iter().all(|task| task.weight == 0.0) {
        scope.refuse(at, "/spec/tasks", "every task has weight 0, so nothing would be learned: raise one");
    }
    if let Some((name, params)) = &dataset {
        let facts = Facts::of(params);
        for (i, task) in tasks.iter().enumerate() {
            self::task(scope, at, &format!("/spec/tasks/{i}"), task, name.as_str(), &facts);
        }
        let RankingAlgorithm::Mmoe(mmoe) = algorithm;
        let history = "/spec/algorithm/mmoe/historyLength";
        if !facts.interactions && at.written(history) {
            scope.refuse(at, history, format!("{name} holds examples, which have no histories: remove it"));
        }
        if let Some(quantization) = &spec.quantization {
            inputs(scope, at, mmoe, params, quantization);
        }
    }
    let name = scope.name(at)?;
    let Some(job) = trained.get(&(ModelKind::RankingModel, at.name.clone())) else {
        let message = format!("it is trained: add a TrainingJob with modelRef: {{kind: RankingModel, name: {name}}}");
        scope.refuse(at, "/spec/algorithm", message);
        return None;
    };
    let (dataset, _) = dataset?;
    let made_by = JobKey { kind: Kind::TrainingJob, name: job.clone() };
    let (params, quantization) = (spec.ranking.clone(), spec.quantization.clone());
    Some(Ranking { dataset, params, quantization, pool: spec.pool.clone(), made_by })
}

/// Objects to experts with more inputs than their format takes. A number enters beside its embedding. Of interactions, item
/// and user enter apart: the item, its popularity and the history twice beside attributes, and two values of the user.
fn inputs(scope: &mut Scope<'_>, at: &Located, mmoe: &Mmoe, dataset: &DatasetParams, quantization: &Quantization) {
    let Some(most) = quantization.format.most_inputs() else { return };
    let (numbers, embeddings) = match &dataset.source {
        Source::Examples(source) => (source.numeric.len(), source.numeric.len() + source.categorical.len()),
        Source::Interactions(source) => {
            (0, (4 + attributes(source.items.as_ref())).max(2 + attributes(source.users.as_ref())))
        }
        Source::Planted(_) => (0, 4 + PLANTED_ATTRIBUTES),
    };
    let count = numbers as u64 + embeddings as u64 * u64::from(mmoe.embedding);
    if count > u64::from(most) {
        let widest = u64::from(most).saturating_sub(numbers as u64) / (embeddings as u64).max(1);
        let message = format!(
            "{embeddings} embeddings of {} make experts of {count} inputs, and int8 takes at most {most}: \
             lower embedding to {widest}, or write quantization: {{format: e4m3}}",
            mmoe.embedding
        );
        scope.refuse(at, "/spec/algorithm/mmoe/embedding", message);
    }
}

/// Attributes of items or users.
fn attributes(source: Option<&EntitySource>) -> usize {
    let Some(source) = source else { return 0 };
    let own = match source.format {
        EntityFormat::JsonMap(_) => 1,
        _ => source.attributes.len(),
    };
    own + usize::from(source.attribute_map.is_some())
}

/// Objects to a task that the data set cannot answer.
fn task(scope: &mut Scope<'_>, at: &Located, here: &str, task: &Task, dataset: &str, facts: &Facts) {
    if facts.interactions {
        if task.label.is_some() {
            let message = format!(
                "{dataset} holds interactions: say when the answer is yes, as in when: {{column: rating, atLeast: 4}}"
            );
            scope.refuse(at, &format!("{here}/label"), message);
        } else if let Some(when) = &task.when {
            threshold(scope, at, &format!("{here}/when"), when, facts);
        } else {
            let message = format!(
                "say when the answer is yes, as in when: {{column: rating, atLeast: 4}}; {dataset}: {}",
                facts.columns()
            );
            scope.refuse(at, &format!("{here}/when"), message);
        }
        return;
    }
    if task.when.is_some() {
        let message = format!("{dataset} holds examples: name one of its labels in label, and remove when");
        scope.refuse(at, &format!("{here}/when"), message);
        return;
    }
    let (field, label) = match &task.label {
        Some(label) => ("label", label),
        None => ("name", &task.name),
    };
    if let Some(labels) = &facts.labels
        && !labels.contains(label)
    {
        let message = format!("{label} is no label of {dataset}; it has: {}", labels.join(", "));
        scope.refuse(at, &format!("{here}/{field}"), message);
    }
}
