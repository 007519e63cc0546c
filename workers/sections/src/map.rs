//! The one place that maps a file into memory. In: a path. Out: its bytes, read-only. Never writes.
#![allow(unsafe_code)] // Mapping a file is unsafe by nature; this stays as long as files are mapped.

use std::{fs::File, path::Path};

use memmap2::Mmap;

use crate::SectionError;

/// Maps the whole file at `path`.
///
/// # Errors
/// When it cannot be opened, is no regular file, or cannot be mapped.
pub fn map(path: &Path) -> Result<Mmap, SectionError> {
    let file = File::open(path).map_err(SectionError::io(path, "open"))?;
    let about = file.metadata().map_err(SectionError::io(path, "stat"))?;
    if !about.is_file() {
        return Err(SectionError::io(path, "map")(std::io::Error::other("not a regular file")));
    }
    // SAFETY: a mapping is sound while nobody changes or truncates the file. Section files are written under another
    // name and renamed into place; from then on nothing writes to them, and replacing or removing the name leaves the
    // mapped inode as it is.
    unsafe { Mmap::map(&file) }.map_err(SectionError::io(path, "map"))
}
