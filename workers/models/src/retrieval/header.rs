//! The header of every retrieval model's folder: which algorithm, over how many items, for which catalog.
//!
//! In: the model when it is saved. Out: the same when it is loaded, held against the catalog it is to serve with.

use std::path::Path;

use recmesh_catalog::Catalog;
use recmesh_contract::config::RetrievalAlgorithm;
use serde::{Deserialize, Serialize};

use crate::{ModelError, weights};

/// Name of the item table in the weights of every model that has one.
pub(super) const ITEM_TABLE: &str = "item";

/// What `model.json` says of a retrieval model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Header {
    /// The algorithm with its parameters.
    pub algorithm: RetrievalAlgorithm,
    /// Items the model knows.
    pub items: usize,
    /// The catalog whose semantic IDs the weights belong to; none for models over item indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Codes>,
}

/// The semantic IDs that a model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Codes {
    /// The catalog's digest.
    pub digest: String,
    /// Codes per level.
    pub codebooks: Vec<u32>,
}

impl Header {
    /// Reads a folder's header and holds it against the catalog to serve with.
    pub(super) fn load(dir: &Path, catalog: Option<&Catalog>) -> Result<Self, ModelError> {
        let header: Self = weights::load_header(dir)?;
        if let Some(catalog) = catalog {
            if catalog.len() != header.items {
                return Err(ModelError::Mismatch(format!(
                    "{}: the model knows {} items, the catalog has {}; serve it with a catalog of its own data set",
                    dir.display(),
                    header.items,
                    catalog.len()
                )));
            }
            if let Some(codes) = &header.catalog
                && (codes.digest != catalog.digest() || codes.codebooks != catalog.codebooks())
            {
                return Err(ModelError::Mismatch(format!(
                    "{}: the model was trained on the semantic IDs of catalog {}, this is {}; train it again or serve \
                     it with that catalog",
                    dir.display(),
                    codes.digest,
                    catalog.digest()
                )));
            }
        }
        Ok(header)
    }
}
