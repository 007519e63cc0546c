//! Opens a section file: maps it, checks it whole, hands out typed columns.
//!
//! In: a path and the format that is wanted. Out: a file whose columns can be read without checks or copies, cheap to
//! clone. Never writes, never trusts a length or an offset from the file.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::{
    Flaw, SectionError, Tag, map,
    write::{ALIGNMENT, DIGEST, HEADER, MAX_SECTIONS, TABLE_ROW, digest_text},
};

/// What a kind of file is called and which versions of it are read.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// For people: `catalog`.
    pub kind: &'static str,
    /// The first eight bytes.
    pub magic: [u8; 8],
    /// Oldest version that is read.
    pub oldest: u32,
    /// The version that is written, and the newest that is read.
    pub newest: u32,
}

/// An open file; clones share one mapping.
#[derive(Clone, Debug)]
pub struct SectionFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    map: Mmap,
    version: u32,
    digest: String,
    table: Vec<(Tag, usize, usize)>,
}

/// Where a column of numbers lies in the file that gave it out; only that file can read it.
#[derive(Debug)]
pub struct Column<T> {
    start: usize,
    end: usize,
    kind: PhantomData<T>,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Column<T> {}

impl SectionFile {
    /// Opens and checks the file at `path`: kind, version, length, digest, section table.
    ///
    /// # Errors
    /// When it cannot be read or is not such a file, whole; the error names the file and the flaw.
    pub fn open(path: &Path, format: &Format) -> Result<Self, SectionError> {
        let map = map::map(path)?;
        match check(&map, format) {
            Ok((version, digest, table)) => {
                Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), map, version, digest, table }) })
            }
            Err(flaw) => Err(SectionError::Damaged { path: path.to_owned(), flaw }),
        }
    }

    /// The path it was opened at.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The format version it was written in.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.inner.version
    }

    /// The digest of its contents, as `sha256:<hex>`.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// The column that a section holds.
    ///
    /// # Errors
    /// When there is no such section or its length is no multiple of the number's.
    pub fn column<T: bytemuck::AnyBitPattern>(&self, tag: Tag) -> Result<Column<T>, SectionError> {
        let (_, start, end) = self
            .inner
            .table
            .iter()
            .find(|(name, ..)| *name == tag)
            .copied()
            .ok_or_else(|| SectionError::section(self.path(), tag, "it is missing"))?;
        if bytemuck::try_cast_slice::<u8, T>(&self.inner.map[start..end]).is_err() {
            let problem = format!("{} bytes are no whole number of {}-byte values", end - start, size_of::<T>());
            return Err(SectionError::section(self.path(), tag, problem));
        }
        Ok(Column { start, end, kind: PhantomData })
    }

    /// The numbers of a column that this file gave out.
    #[must_use]
    #[inline]
    pub fn get<T: bytemuck::AnyBitPattern>(&self, column: Column<T>) -> &[T] {
        bytemuck::cast_slice(&self.inner.map[column.start..column.end])
    }

    /// A column of row offsets: `rows + 1` numbers, from 0 to `total`, never falling.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn offsets(&self, tag: Tag, rows: usize, total: usize) -> Result<Column<u64>, SectionError> {
        let column = self.column::<u64>(tag)?;
        let offsets = self.get(column);
        let problem = if offsets.len() != rows + 1 {
            format!("{} offsets for {rows} rows", offsets.len())
        } else if offsets[0] != 0 || offsets[rows] != total as u64 {
            format!("offsets run from {} to {}, expected 0 to {total}", offsets[0], offsets[rows])
        } else if let Some(row) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            format!("offsets fall at row {row}")
        } else {
            return Ok(column);
        };
        Err(SectionError::section(self.path(), tag, problem))
    }
}

type Checked = (u32, String, Vec<(Tag, usize, usize)>);

fn check(bytes: &[u8], format: &Format) -> Result<Checked, Flaw> {
    let found = bytes.len() as u64;
    if bytes.len() < HEADER + DIGEST {
        return Err(Flaw::Length { found, expected: (HEADER + DIGEST) as u64 });
    }
    if bytes[..8] != format.magic {
        return Err(Flaw::NotThisKind { kind: format.kind });
    }
    let version = u32_at(bytes, 8);
    if !(format.oldest..=format.newest).contains(&version) {
        return Err(Flaw::Version { found: version, oldest: format.oldest, newest: format.newest });
    }
    let expected = u64_at(bytes, 16);
    if expected != found {
        return Err(Flaw::Length { found, expected });
    }
    let (body, digest) = bytes.split_at(bytes.len() - DIGEST);
    if Sha256::digest(body).as_slice() != digest {
        return Err(Flaw::Digest);
    }
    let table = table(body, u32_at(bytes, 12) as usize).map_err(|problem| Flaw::Table { problem })?;
    Ok((version, digest_text(digest), table))
}

/// Reads the table; the writer puts sections in table order with the least padding, and nothing else is taken.
fn table(body: &[u8], count: usize) -> Result<Vec<(Tag, usize, usize)>, String> {
    let mut end = HEADER + count * TABLE_ROW;
    if count > MAX_SECTIONS || end > body.len() {
        return Err(format!("{count} sections do not fit"));
    }
    let mut rows: Vec<(Tag, usize, usize)> = Vec::with_capacity(count);
    for row in body[HEADER..end].chunks_exact(TABLE_ROW) {
        let mut tag = [0; 8];
        tag.copy_from_slice(&row[..8]);
        let (offset, length) = (u64_at(row, 8), u64_at(row, 16));
        let name = String::from_utf8_lossy(&tag);
        let start = end.next_multiple_of(ALIGNMENT);
        if offset != start as u64 {
            return Err(format!("section {name:?} begins at byte {offset}, expected {start}"));
        }
        let room = body
            .len()
            .checked_sub(start)
            .ok_or_else(|| format!("section {name:?} begins at byte {start}, beyond the end"))?;
        end = usize::try_from(length)
            .ok()
            .filter(|&length| length <= room)
            .map(|length| start + length)
            .ok_or_else(|| format!("section {name:?} has {length} bytes where {room} are left"))?;
        if rows.iter().any(|(other, ..)| *other == tag) {
            return Err(format!("section {name:?} is there twice"));
        }
        rows.push((tag, start, end));
    }
    if end != body.len() {
        return Err(format!("{} bytes belong to no section", body.len() - end));
    }
    Ok(rows)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}
