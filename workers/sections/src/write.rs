//! Writes a section file. In: named byte arrays. Out: the file under its name, and its digest. Never reads.

use std::{io::Write, path::Path};

use sha2::{Digest, Sha256};

use crate::{Flaw, Format, SectionError, Tag, atomic};

/// Every section begins at a multiple of this, so that any number type can be read in place.
pub const ALIGNMENT: usize = 64;
/// Magic, version, number of sections, file length, eight zero bytes.
pub const HEADER: usize = 32;
/// Tag, offset, length.
pub const TABLE_ROW: usize = 24;
/// SHA-256 at the end.
pub const DIGEST: usize = 32;
/// More sections than any file has; keeps a hostile table small.
pub const MAX_SECTIONS: usize = 64;

/// A section to write.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its name; unique in the file.
    pub tag: Tag,
    /// Its bytes, numbers little-endian.
    pub bytes: &'a [u8],
}

impl<'a> Section<'a> {
    /// A section of numbers.
    #[must_use]
    pub fn of<T: bytemuck::NoUninit>(tag: Tag, numbers: &'a [T]) -> Self {
        Self { tag, bytes: bytemuck::cast_slice(numbers) }
    }
}

/// Writes a file of sections atomically and returns its digest as `sha256:<hex>`: SHA-256 of everything but the last
/// 32 bytes, which hold it. Same sections, same bytes.
///
/// # Errors
/// When the file cannot be written, or has more than 64 sections.
pub fn write(path: &Path, format: &Format, sections: &[Section<'_>]) -> Result<String, SectionError> {
    if sections.len() > MAX_SECTIONS {
        let problem = format!("{} sections, at most {MAX_SECTIONS} are possible", sections.len());
        return Err(SectionError::Damaged { path: path.to_owned(), flaw: Flaw::Table { problem } });
    }
    let mut head = Vec::new();
    let mut end = HEADER + sections.len() * TABLE_ROW;
    let mut table = Vec::new();
    for section in sections {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + section.bytes.len();
        table.extend_from_slice(&section.tag);
        table.extend_from_slice(&(start as u64).to_le_bytes());
        table.extend_from_slice(&(section.bytes.len() as u64).to_le_bytes());
    }
    head.extend_from_slice(&format.magic);
    head.extend_from_slice(&format.newest.to_le_bytes());
    head.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    head.extend_from_slice(&((end + DIGEST) as u64).to_le_bytes());
    head.extend_from_slice(&[0; 8]);
    head.extend_from_slice(&table);

    let mut hash = Sha256::new();
    let mut digest = [0; DIGEST];
    atomic::write_atomic_with(path, |file| {
        let mut at = 0usize;
        for bytes in std::iter::once(head.as_slice()).chain(sections.iter().map(|section| section.bytes)) {
            let padding = [0; ALIGNMENT];
            let padding = &padding[..at.next_multiple_of(ALIGNMENT) - at];
            for part in [padding, bytes] {
                hash.update(part);
                file.write_all(part)?;
                at += part.len();
            }
        }
        digest.copy_from_slice(&hash.finalize_reset());
        file.write_all(&digest)
    })?;
    Ok(digest_text(&digest))
}

pub(crate) fn digest_text(digest: &[u8]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
