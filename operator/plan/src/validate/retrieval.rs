//! A retrieval model: sizes that divide, a tokenizer of the same data set, a job that trains it.

use recmesh_contract::config::{CodeLoss, LazyDecoder, PoolParams, Quantization, RetrievalAlgorithm, SasRec};
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
        RetrievalAlgorithm::SasRec(parameters) => {
            sasrec(scope, at, parameters);
            // The largest that the schema lets through just fits.
            let SasRec { dim, ffn, .. } = *parameters;
            inner(scope, at, "/spec/algorithm/sasRec/ffn", ("dim", dim), ffn, spec.quantization.as_ref());
        }
        RetrievalAlgorithm::LazyDecoder(parameters) => {
            lazy_decoder(scope, at, parameters);
            let LazyDecoder { d_model, ffn, .. } = *parameters;
            inner(scope, at, "/spec/algorithm/lazyDecoder/ffn", ("dModel", d_model), ffn, spec.quantization.as_ref());
        }
        RetrievalAlgorithm::Popularity(_) | RetrievalAlgorithm::ItemKnn(_) | RetrievalAlgorithm::Transitions(_) => {
            counted(scope, at, &spec.algorithm, &spec.pool);
        }
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

/// Objects to a feed-forward layer whose second map has more inputs than its format takes.
fn inner(
    scope: &mut Scope<'_>,
    at: &Located,
    pointer: &str,
    (name, width): (&str, u32),
    ffn: u32,
    quantization: Option<&Quantization>,
) {
    let Some(most) = quantization.and_then(|how| how.format.most_inputs()) else { return };
    let inputs = u64::from(width) * u64::from(ffn);
    if inputs > u64::from(most) {
        let message = format!(
            "{name} {width} times ffn {ffn} makes layers of {inputs} inputs, and int8 takes at most {most}: \
             lower ffn to {}, or write quantization: {{format: e4m3}}",
            most / width
        );
        scope.refuse(at, pointer, message);
    }
}

/// Objects to threads of a model whose work is not shared.
fn counted(scope: &mut Scope<'_>, at: &Located, algorithm: &RetrievalAlgorithm, pool: &PoolParams) {
    let arm = arm(algorithm);
    if pool.threads > 1 {
        let message = format!("{arm} computes on one thread: remove threads, or give more engines");
        scope.refuse(at, "/spec/pool/threads", message);
    }
    if pool.pinned {
        scope.refuse(at, "/spec/pool/pinned", format!("the threads of {arm} are not bound to cores: remove pinned"));
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
