//! A tokenizer: item vectors that its data set can give.

use recmesh_contract::config::{
    DatasetParams, EntityFormat, ItemVectors, RetrievalAlgorithm, Source, TokenizerAlgorithm, VectorFile,
};
use recmesh_crds::{Located, TokenizerSpec};

use super::{facts::Facts, files, scope::Scope};
use crate::Tokenizer;

const VECTORS: &str = "/spec/algorithm/rqKMeans/vectors";

/// The meaning of a tokenizer.
pub(super) fn tokenizer(scope: &mut Scope<'_>, at: &Located, spec: &TokenizerSpec) -> Option<Tokenizer> {
    let dataset = scope.dataset(at, "/spec/datasetRef", &spec.dataset_ref.name);
    if let Some((name, params)) = &dataset
        && !Facts::of(params).interactions
    {
        scope.refuse(
            at,
            "/spec/datasetRef/name",
            format!("{name} holds examples, which have no items: name a data set of interactions"),
        );
    }
    let vectors = match &spec.algorithm {
        TokenizerAlgorithm::Atomic(_) => None,
        TokenizerAlgorithm::RqKMeans(parameters) => match &parameters.vectors {
            ItemVectors::Collaborative(_) => None,
            ItemVectors::File(file) => {
                vector_file(scope, at, file);
                None
            }
            ItemVectors::Content(_) => {
                if let Some((name, params)) = &dataset
                    && !described(params)
                {
                    let message = format!(
                        "{name} tells nothing of its items: give its source items with text, attributes or attributeMap"
                    );
                    scope.refuse(at, &format!("{VECTORS}/content"), message);
                }
                None
            }
            ItemVectors::Model(model) => Some(model_vectors(scope, at, &model.model_ref.name, &spec.dataset_ref.name)?),
        },
    };
    let (dataset, _) = dataset?;
    Some(Tokenizer { dataset, algorithm: spec.algorithm.clone(), vectors })
}

/// Whether a data set's items have text or attributes.
fn described(params: &DatasetParams) -> bool {
    match &params.source {
        Source::Planted(_) => true,
        Source::Examples(_) => false,
        Source::Interactions(source) => source.items.as_ref().is_some_and(|items| {
            !items.text.is_empty()
                || !items.attributes.is_empty()
                || items.attribute_map.is_some()
                || matches!(items.format, EntityFormat::JsonMap(_))
        }),
    }
}

/// A file of vectors in one of the two formats that are read.
fn vector_file(scope: &mut Scope<'_>, at: &Located, file: &VectorFile) {
    files::path(scope, at, &format!("{VECTORS}/file/path"), &file.path);
    files::optional(scope, at, &format!("{VECTORS}/file/ids"), file.ids.as_ref());
    if !file.path.ends_with(".npy") && !file.path.ends_with(".safetensors") {
        let message = format!("{} ends neither in .npy nor in .safetensors: give a file that does", file.path);
        scope.refuse(at, &format!("{VECTORS}/file/path"), message);
    }
}

/// The model whose item table is clustered.
fn model_vectors(scope: &mut Scope<'_>, at: &Located, name: &str, dataset: &str) -> Option<recmesh_contract::Name> {
    let here = format!("{VECTORS}/model/modelRef");
    let (name, model) = scope.retrieval(at, &here, name)?;
    let field = format!("{here}/name");
    let tabled = match &model.algorithm {
        RetrievalAlgorithm::SasRec(_) => true,
        RetrievalAlgorithm::LazyDecoder(decoder) => decoder.item_embedding,
        RetrievalAlgorithm::Popularity(_) | RetrievalAlgorithm::ItemKnn(_) | RetrievalAlgorithm::Transitions(_) => {
            false
        }
    };
    if !tabled {
        scope.refuse(
            at,
            &field,
            format!("{name} has no item table: name a sasRec model, or a lazyDecoder with itemEmbedding"),
        );
    }
    if model.dataset_ref.name != dataset {
        let message =
            format!("{name} learns from {}, not from {dataset}: its items are other items", model.dataset_ref.name);
        scope.refuse(at, &field, message);
    }
    Some(name)
}
