//! The Dataset job: read or plant rows, split them, write them with the users' histories.

use std::{fs, io::ErrorKind, path::Path};

use recmesh_contract::{ArtifactId, config::DatasetParams};
use recmesh_data::{Dataset, Interactions, SHOWN_BAD_ROWS};
use recmesh_store::{Histories, StoreError, write_atomic};

use crate::{
    JobError,
    run::{Bench, Made, open},
};

/// The file of histories in a data set's artifact.
pub const HISTORIES: &str = "histories.bin";

/// The file that tells of rows that were left out; there only when there were some.
const LEFT_OUT: &str = "left-out.txt";

/// Prepares a data set into `out`.
pub(crate) fn make(params: &DatasetParams, folder: &Path, out: &Path, bench: &Bench<'_>) -> Result<Made, JobError> {
    let (dataset, summary) = recmesh_data::prepare(params, folder, bench.reporter)?;
    dataset.save(out)?;
    if let Dataset::Interactions(interactions) = &dataset {
        let users =
            (0..interactions.users.len()).map(|user| (interactions.users.id(user), interactions.sequences.of(user)));
        Histories::write(&out.join(HISTORIES), users)?;
    }
    if summary.bad_rows > 0 {
        let first: Vec<String> = summary.first_bad.iter().take(SHOWN_BAD_ROWS).map(ToString::to_string).collect();
        let text = format!("{} bad rows left out, among them\n{}", summary.bad_rows, first.join("\n"));
        write_atomic(&out.join(LEFT_OUT), text.as_bytes())?;
    }
    Ok(Made { metrics: summary.metrics(), message: left_out(out)?, quantization: None })
}

/// What a data set's artifact tells of the rows that were left out: how many, then the first of them, one a line.
pub(crate) fn left_out(artifact: &Path) -> Result<Option<String>, JobError> {
    let path = artifact.join(LEFT_OUT);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { path, verb: "read", source }.into()),
        Ok(text) => Ok(Some(text)),
    }
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
