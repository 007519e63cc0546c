//! The digest of the files that a data set is read from.
//!
//! In: parameters and the folder. Out: one SHA-256 over lengths and contents, in the order of the manifest. Names and
//! times of files do not count, so a moved folder keeps its digest. Never parses anything.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use recmesh_contract::config::DatasetParams;
use sha2::{Digest, Sha256};

use crate::{DataError, locate};

/// SHA-256 over the files that a data set is read from, in hexadecimal; empty for a planted world.
///
/// # Errors
/// When a file cannot be read, or a path leaves the folder.
pub fn source_digest(params: &DatasetParams, folder: &Path) -> Result<String, DataError> {
    let files = locate::files(params, folder)?;
    if files.is_empty() {
        return Ok(String::new());
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    for path in files {
        let at = |source| DataError::Open { path: path.clone(), source };
        let mut file = File::open(&path).map_err(at)?;
        hash.update(file.metadata().map_err(at)?.len().to_le_bytes());
        loop {
            match file.read(&mut buffer).map_err(at)? {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
