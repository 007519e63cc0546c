//! SHA-256 of files, read in pieces, and of bytes. In: a path, or pieces one after the other. Out: length and
//! hexadecimal digest. Never holds a whole file.

use std::{fs::File, io::Read, path::Path};

use sha2::{Digest, Sha256};

use crate::{Result, StoreError};

/// How much is read at once.
const PIECE: usize = 1 << 20;

/// Length in bytes and SHA-256 in hexadecimal of the file at `path`.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_file(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).map_err(StoreError::io(path, "open"))?;
    let mut piece = vec![0; PIECE];
    let mut hash = Sha256::new();
    let mut size = 0;
    loop {
        let read = file.read(&mut piece).map_err(StoreError::io(path, "read"))?;
        if read == 0 {
            return Ok((size, hex(&hash.finalize())));
        }
        hash.update(&piece[..read]);
        size += read as u64;
    }
}

/// The SHA-256 of bytes that come in pieces.
#[cfg(feature = "object-store")]
#[derive(Default)]
pub struct Sha256Pieces(Sha256);

#[cfg(feature = "object-store")]
impl Sha256Pieces {
    pub fn take(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub fn end(self) -> String {
        hex(&self.0.finalize())
    }
}

pub fn sha256_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
