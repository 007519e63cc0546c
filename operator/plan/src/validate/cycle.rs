//! Resources that are made from each other in a circle: a tokenizer from a model's item table, the model from the
//! tokenizer's IDs.

use std::collections::BTreeSet;

use recmesh_contract::config::{ItemVectors, TokenizerAlgorithm};
use recmesh_crds::{Kind, Located, Resource};

use super::scope::Scope;

/// Objects to every circle once, at the first tokenizer of it.
pub(super) fn refuse(scope: &mut Scope<'_>) {
    let mut told: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    for start in scope.all {
        let mut way: Vec<&Located> = vec![start];
        // Each resource is made from at most one other of these, so following them finds the circle or an end.
        while let Some(next) = way.last().and_then(|at| made_from(scope, at)) {
            if std::ptr::eq(next, start) {
                let names: Vec<String> = way.iter().map(|at| format!("{}/{}", at.kind(), at.name)).collect();
                if start.kind() == Kind::Tokenizer && told.insert(names.iter().cloned().collect()) {
                    let circle = format!("{} → {}", names.join(" → "), names[0]);
                    let message =
                        format!("a circle: {circle}; take item vectors from a model that does not use this tokenizer");
                    scope.refuse(start, "/spec/algorithm/rqKMeans/vectors/model/modelRef/name", message);
                }
                break;
            }
            if way.iter().any(|at| std::ptr::eq(*at, next)) {
                break;
            }
            way.push(next);
        }
    }
}

fn made_from<'a>(scope: &Scope<'a>, at: &'a Located) -> Option<&'a Located> {
    match &at.resource {
        Resource::Tokenizer(tokenizer) => match &tokenizer.spec.algorithm {
            TokenizerAlgorithm::RqKMeans(parameters) => match &parameters.vectors {
                ItemVectors::Model(model) => scope.find(Kind::RetrievalModel, &model.model_ref.name),
                _ => None,
            },
            TokenizerAlgorithm::Atomic(_) => None,
        },
        Resource::RetrievalModel(model) => scope.find(Kind::Tokenizer, &model.spec.tokenizer_ref.as_ref()?.name),
        _ => None,
    }
}
