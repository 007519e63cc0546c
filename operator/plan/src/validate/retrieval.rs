//! A retrieval model: sizes that divide, a tokenizer of the same data set, a job that trains it.

use recmesh_contract::config::{CodeLoss, LazyDecoder, RetrievalAlgorithm, SasRec};
use recmesh_crds::{Kind, Located, ModelKind, RetrievalModelSpec};

use super::{facts::Facts, scope::Scope, training::Claims};
use crate::{JobKey, Retrieval};

/// How manifests name an algorithm.
pub(super) fn arm(algorithm: &RetrievalAlgorithm) -> &'static str {
    match algorithm {
        RetrievalAlgorithm::Popularity(_) => "popularity",
        RetrievalAlgorithm::ItemKnn(_) => "itemKnn",
        RetrievalAlgorithm::Transitions(_) => "transitions",
        RetrievalAlgorithm::SasRec(_) => "sasRec",
        RetrievalAlgorithm::LazyDecoder(_) => "lazyDecoder",
    }
}

/// The meaning of a retrieval model.
pub(super) fn retrieval(
    scope: &mut Scope<'_>,
    at: &Located,
    spec: &RetrievalModelSpec,
    trained: &Claims,
) -> Option<Retrieval> {
    let dataset = scope.dataset(at, "/spec/datasetRef", &spec.dataset_ref.name);
    if let Some((name, params)) = &dataset
        && !Facts::of(params).interactions
    {
        let message = format!("{name} holds examples, which have no items: name a data set of interactions");
        scope.refuse(at, "/spec/datasetRef/name", message);
    }
    match &spec.algorithm {
        RetrievalAlgorithm::SasRec(parameters) => sasrec(scope, at, parameters),
        RetrievalAlgorithm::LazyDecoder(parameters) => lazy_decoder(scope, at, parameters),
        RetrievalAlgorithm::Popularity(_) | RetrievalAlgorithm::ItemKnn(_) | RetrievalAlgorithm::Transitions(_) => {}
    }
    let tokenizer = match &spec.tokenizer_ref {
        None => None,
        Some(reference) => {
            let (name, tokenizer) = scope.tokenizer(at, "/spec/tokenizerRef", &reference.name)?;
            if tokenizer.dataset_ref.name != spec.dataset_ref.name {
                let message = format!(
                    "{name} tokenizes the items of {}, but the model learns from {}: use one data set",
                    tokenizer.dataset_ref.name, spec.dataset_ref.name
                );
                scope.refuse(at, "/spec/tokenizerRef/name", message);
            }
            Some(name)
        }
    };
    let name = scope.name(at)?;
    let made_by = match trained.get(&(ModelKind::RetrievalModel, at.name.clone())) {
        _ if spec.algorithm.counted() => JobKey { kind: Kind::RetrievalModel, name },
        Some(job) => JobKey { kind: Kind::TrainingJob, name: job.clone() },
        None => {
            let arm = arm(&spec.algorithm);
            let message =
                format!("{arm} is trained: add a TrainingJob with modelRef: {{kind: RetrievalModel, name: {name}}}");
            scope.refuse(at, &format!("/spec/algorithm/{arm}"), message);
            return None;
        }
    };
    let (dataset, _) = dataset?;
    let (algorithm, quantization) = (spec.algorithm.clone(), spec.quantization.clone());
    Some(Retrieval { dataset, tokenizer, algorithm, quantization, pool: spec.pool.clone(), made_by })
}

fn sasrec(scope: &mut Scope<'_>, at: &Located, parameters: &SasRec) {
    divides(scope, at, "/spec/algorithm/sasRec/heads", ("heads", parameters.heads), ("dim", parameters.dim));
}

fn lazy_decoder(scope: &mut Scope<'_>, at: &Located, parameters: &LazyDecoder) {
    let LazyDecoder { d_model, layers, heads, kv_groups, kv_layers, .. } = parameters;
    let here = "/spec/algorithm/lazyDecoder";
    divides(scope, at, &format!("{here}/heads"), ("heads", *heads), ("dModel", *d_model));
    divides(scope, at, &format!("{here}/kvGroups"), ("kvGroups", *kv_groups), ("heads", *heads));
    if parameters.loss == CodeLoss::Children && !parameters.decode.renormalise {
        let message = "must be true with loss: children, whose codes off the trie get no meaning".to_owned();
        scope.refuse(at, &format!("{here}/decode/renormalise"), message);
    }
    if kv_layers > layers {
        let message = format!("kvLayers {kv_layers} is more than layers {layers}: no layer would read the rest");
        scope.refuse(at, &format!("{here}/kvLayers"), message);
    }
}

fn divides(scope: &mut Scope<'_>, at: &Located, pointer: &str, small: (&str, u32), large: (&str, u32)) {
    if !large.1.is_multiple_of(small.1) {
        let near: Vec<String> =
            (1..=large.1.min(64)).filter(|n| large.1.is_multiple_of(*n)).map(|n| n.to_string()).collect();
        let message =
            format!("{} {} must divide {} {}: take one of {}", small.0, small.1, large.0, large.1, near.join(", "));
        scope.refuse(at, pointer, message);
    }
}
