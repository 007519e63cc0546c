//! What serves together: models, tokenizer and catalog of one pipeline, versioned as one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Version;

/// The versions that answer a pipeline's requests; a request never mixes two releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The pipeline's name and a digest of what follows: `<pipeline>@<12 hex digits>`.
    pub name: String,
    /// `<resource>@<version>` by stage: `retrieve`, `rank`, `fallback`.
    pub models: BTreeMap<String, String>,
    /// `<resource>@<version>` of the tokenizer.
    pub tokenizer: String,
    /// Digest of the catalog file, as `sha256:<hex>`.
    pub catalog: String,
}

impl Release {
    /// Names a release after everything in it.
    #[must_use]
    pub fn new(pipeline: &str, models: BTreeMap<String, String>, tokenizer: String, catalog: String) -> Self {
        let mut parts: Vec<&[u8]> = vec![tokenizer.as_bytes(), catalog.as_bytes()];
        for (stage, model) in &models {
            parts.push(stage.as_bytes());
            parts.push(model.as_bytes());
        }
        let name = format!("{pipeline}@{}", Version::of(parts));
        Self { name, models, tokenizer, catalog }
    }
}
