//! Model folders: count one, load one of whatever algorithm, or read its item table.
//!
//! In: a folder with `model.json` and `model.safetensors`. Out: something that answers.

use std::path::Path;
use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::RetrievalAlgorithm;
use recmesh_contract::{ItemIndex, Recommend};

use super::header::{Header, ITEM_TABLE};
use super::{ItemKnn, LazyDecoder, Popularity, SasRec, Transitions};
use crate::{ModelError, quant, weights};

/// Counts a counting model from the train parts of sequences and writes its folder.
///
/// # Errors
/// When the algorithm is a trained one, an item is beyond `items`, or a file cannot be written.
pub fn count(
    algorithm: &RetrievalAlgorithm,
    sequences: &[&[ItemIndex]],
    items: usize,
    dir: &Path,
) -> Result<(), ModelError> {
    if let Some(item) = sequences.iter().copied().flatten().find(|&&item| item as usize >= items) {
        return Err(ModelError::Mismatch(format!("a sequence holds item {item}, but there are only {items} items")));
    }
    match algorithm {
        RetrievalAlgorithm::Popularity(_) => Popularity::count(sequences, items).save(dir),
        RetrievalAlgorithm::ItemKnn(params) => ItemKnn::count(params, sequences, items).save(dir),
        RetrievalAlgorithm::Transitions(params) => Transitions::count(params, sequences, items).save(dir),
        RetrievalAlgorithm::SasRec(_) | RetrievalAlgorithm::LazyDecoder(_) => {
            Err(ModelError::parameter("algorithm", "this model is trained, not counted; give it a TrainingJob"))
        }
    }
}

/// Loads a model's folder, ready to answer. With a catalog only its live items are answered; a model over semantic IDs
/// needs the catalog it was trained on. Where the folder tells that the model serves quantised, it does.
///
/// # Errors
/// When a file is missing, corrupted or does not fit the catalog; the message names it.
pub fn load(dir: &Path, catalog: Option<Arc<Catalog>>) -> Result<Box<dyn Recommend>, ModelError> {
    let header = Header::load(dir, catalog.as_deref())?;
    Ok(match &header.algorithm {
        RetrievalAlgorithm::Popularity(_) => Popularity::load(dir, &header)?.recommender(catalog),
        RetrievalAlgorithm::ItemKnn(params) => ItemKnn::load(dir, params, &header)?.recommender(catalog),
        RetrievalAlgorithm::Transitions(params) => Transitions::load(dir, params, &header)?.recommender(catalog),
        RetrievalAlgorithm::SasRec(params) => {
            quant::open(dir, SasRec::load(dir, params, &header)?)?.into_recommender(catalog)
        }
        RetrievalAlgorithm::LazyDecoder(params) => {
            let Some(catalog) = catalog else {
                return Err(ModelError::Mismatch(format!(
                    "{}: a model over semantic IDs needs the catalog of its tokenizer",
                    dir.display()
                )));
            };
            quant::open(dir, LazyDecoder::load(dir, params, catalog)?)?.into_recommender()
        }
    })
}

/// The item table of a saved trained model: rows, columns, row-major values.
///
/// # Errors
/// When the model has no item table, or its folder cannot be read.
pub fn item_vectors(dir: &Path) -> Result<(usize, usize, Vec<f32>), ModelError> {
    let header = Header::load(dir, None)?;
    let has_table = match &header.algorithm {
        RetrievalAlgorithm::SasRec(_) => true,
        RetrievalAlgorithm::LazyDecoder(params) => params.item_embedding,
        _ => false,
    };
    if !has_table {
        let reason = "this model has no item vectors; name a SASRec, or a lazy decoder with itemEmbedding";
        return Err(ModelError::Mismatch(format!("{}: {reason}", dir.display())));
    }
    let (rows, cols, values) = weights::load_arrays(dir)?.matrix(ITEM_TABLE)?;
    if rows != header.items {
        let file = dir.join(weights::ARRAYS);
        return Err(ModelError::corrupt(&file, format!("{rows} item vectors for {} items", header.items)));
    }
    Ok((rows, cols, values))
}
