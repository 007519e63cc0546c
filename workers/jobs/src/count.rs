//! Counting models: made from the data set alone.

use std::path::Path;

use recmesh_contract::{ArtifactId, config::RetrievalAlgorithm};

use crate::{
    JobError, dataset,
    run::{Bench, Made},
};

/// Counts a model into `out` from the train part of every sequence.
pub(crate) fn make(
    algorithm: &RetrievalAlgorithm,
    from: &ArtifactId,
    out: &Path,
    bench: &Bench<'_>,
) -> Result<Made, JobError> {
    let data = dataset::interactions(from, "a counting model", bench)?;
    let sequences: Vec<&[u32]> = (0..data.sequences.users()).map(|user| data.sequences.train(user)).collect();
    recmesh_models::retrieval::count(algorithm, &sequences, data.items.len(), out)?;
    Ok(Made { metrics: Vec::new(), message: None, quantization: None })
}
