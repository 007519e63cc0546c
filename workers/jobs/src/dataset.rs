//! The Dataset job: read or plant rows, split them, write them with the users' histories.

use std::path::Path;

use recmesh_contract::{ArtifactId, config::DatasetParams};
use recmesh_data::{Dataset, Interactions};
use recmesh_store::Histories;

use crate::{
    JobError,
    run::{Bench, Made, open},
};

/// The file of histories in a data set's artifact.
pub const HISTORIES: &str = "histories.bin";

/// Prepares a data set into `out`.
pub(crate) fn make(params: &DatasetParams, folder: &Path, out: &Path, bench: &Bench<'_>) -> Result<Made, JobError> {
    let (dataset, summary) = recmesh_data::prepare(params, folder, bench.reporter)?;
    dataset.save(out)?;
    if let Dataset::Interactions(interactions) = &dataset {
        let users =
            (0..interactions.users.len()).map(|user| (interactions.users.id(user), interactions.sequences.of(user)));
        Histories::write(&out.join(HISTORIES), users)?;
    }
    let message = (summary.bad_rows > 0).then(|| {
        let first = summary.first_bad.iter().map(|row| format!("line {}: {}", row.line, row.reason));
        format!("{} unreadable rows left out; {}", summary.bad_rows, first.collect::<Vec<_>>().join("; "))
    });
    Ok(Made { metrics: summary.metrics(), message })
}

/// Loads interactions, for jobs that need them.
pub(crate) fn interactions(id: &ArtifactId, job: &'static str, bench: &Bench<'_>) -> Result<Interactions, JobError> {
    match any(id, bench)? {
        Dataset::Interactions(interactions) => Ok(interactions),
        Dataset::Examples(_) => {
            Err(JobError::WrongData { dataset: id.clone(), holds: "examples", job, needs: "interactions" })
        }
    }
}

/// Loads either sort of data set.
pub(crate) fn any(id: &ArtifactId, bench: &Bench<'_>) -> Result<Dataset, JobError> {
    Ok(Dataset::load(open(id, bench)?.path())?)
}
