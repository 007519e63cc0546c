//! Every custom resource definition, as the API server takes it.
//!
//! In: the derived definitions. Out: structural schemas with bounded integers, in a fixed order, as types and as YAML.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{
    Dataset, EvaluationJob, Kind, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob, schema::fit,
};

/// A kind's definition as JSON, and its schema.
pub(crate) struct Definition {
    pub(crate) json: Value,
    pub(crate) schema: Value,
}

static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| Kind::ALL.into_iter().map(define).collect());

/// The definition of a kind.
pub(crate) fn definition(kind: Kind) -> &'static Definition {
    &DEFINITIONS[kind as usize]
}

fn define(kind: Kind) -> Definition {
    let derived = match kind {
        Kind::Dataset => Dataset::crd(),
        Kind::Tokenizer => Tokenizer::crd(),
        Kind::RetrievalModel => RetrievalModel::crd(),
        Kind::RankingModel => RankingModel::crd(),
        Kind::TrainingJob => TrainingJob::crd(),
        Kind::EvaluationJob => EvaluationJob::crd(),
        Kind::Pipeline => Pipeline::crd(),
    };
    let mut json = serde_json::to_value(derived).unwrap_or_default();
    let mut schema = Value::Null;
    if let Some(node) = json.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        fit(node);
        // The derive's own sentence speaks of Rust; the spec's first sentence speaks to users.
        let described = node.pointer("/properties/spec/description").cloned();
        if let (Some(text), Value::Object(root)) = (described, &mut *node) {
            root.insert("description".into(), text);
        }
        schema = node.clone();
    }
    Definition { json, schema }
}

/// Every custom resource definition, in the order of [`Kind::ALL`].
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    Kind::ALL.into_iter().filter_map(|kind| serde_json::from_value(definition(kind).json.clone()).ok()).collect()
}

/// One definition as YAML, as committed in `crds/yaml`. From JSON: the typed definition writes every bound as `8.0`.
fn document(kind: Kind) -> String {
    serde_yaml::to_string(&definition(kind).json).unwrap_or_default()
}

/// Every definition as one YAML stream that `kubectl apply` takes.
#[must_use]
pub fn yaml() -> String {
    Kind::ALL.map(document).join("---\n")
}

#[cfg(test)]
mod tests;
