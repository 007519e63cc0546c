//! A checked document to its typed resource.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::explain::Finding;
use crate::{Kind, Resource};

/// The resource that a document describes.
///
/// # Errors
/// What only the Rust type refuses, such as a duration too long for a number of milliseconds.
pub(crate) fn typed(kind: Kind, document: Value) -> Result<Resource, Finding> {
    Ok(match kind {
        Kind::Dataset => Resource::Dataset(read(document)?),
        Kind::Tokenizer => Resource::Tokenizer(read(document)?),
        Kind::RetrievalModel => Resource::RetrievalModel(read(document)?),
        Kind::RankingModel => Resource::RankingModel(read(document)?),
        Kind::TrainingJob => Resource::TrainingJob(read(document)?),
        Kind::EvaluationJob => Resource::EvaluationJob(read(document)?),
        Kind::Pipeline => Resource::Pipeline(read(document)?),
    })
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T, Finding> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            let part = segment.to_string();
            pointer.push('/');
            pointer.push_str(part.trim_start_matches('[').trim_end_matches(']'));
        }
        Finding { pointer, message: error.inner().to_string(), shape: true }
    })
}
