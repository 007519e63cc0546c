//! A column of strings: all bytes end to end, and where each begins.
//!
//! In: strings in order. Out: `get(i)` without copies. UTF-8 and borders are checked when the file is opened.

use std::{ops::Range, path::Path};

use crate::{Column, Section, SectionError, SectionFile, Tag};

/// Gathers strings for writing.
#[derive(Clone, Debug)]
pub struct StringsWriter {
    blob: Vec<u8>,
    offsets: Vec<u64>,
}

impl Default for StringsWriter {
    fn default() -> Self {
        Self { blob: Vec::new(), offsets: vec![0] }
    }
}

impl StringsWriter {
    /// Appends one string.
    pub fn push(&mut self, text: &str) {
        self.blob.extend_from_slice(text.as_bytes());
        self.offsets.push(self.blob.len() as u64);
    }

    /// How many strings it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String `i`, `i < len()`.
    #[must_use]
    pub fn get(&self, i: usize) -> &str {
        let bytes = &self.blob[self.span(i)];
        // Whole strings went in, so whole strings come out.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Where string `i` lies among the bytes.
    pub(crate) fn span(&self, i: usize) -> Range<usize> {
        self.offsets[i] as usize..self.offsets[i + 1] as usize
    }

    /// The two sections to write.
    #[must_use]
    pub fn sections(&self, blob: Tag, offsets: Tag) -> [Section<'_>; 2] {
        [Section { tag: blob, bytes: &self.blob }, Section::of(offsets, &self.offsets)]
    }
}

/// A checked column of strings in an open file.
#[derive(Clone, Copy, Debug)]
pub struct Strings {
    blob: Column<u8>,
    offsets: Column<u64>,
}

impl Strings {
    /// Finds and checks the column.
    ///
    /// # Errors
    /// When a section is missing, there are not `rows` strings, or one is no UTF-8.
    pub fn open(file: &SectionFile, blob: Tag, offsets: Tag, rows: usize) -> Result<Self, SectionError> {
        let bytes = file.column::<u8>(blob)?;
        let text = check_text(file.path(), blob, file.get(bytes))?;
        let strings = Self { blob: bytes, offsets: file.offsets(offsets, rows, text.len())? };
        match file.get(strings.offsets).iter().position(|&at| !text.is_char_boundary(at as usize)) {
            None => Ok(strings),
            Some(row) => {
                Err(SectionError::section(file.path(), offsets, format!("string {row} begins inside a letter")))
            }
        }
    }

    /// String `i` of the file it was opened in, `i` below the number of rows.
    #[must_use]
    #[inline]
    pub fn get<'a>(&self, file: &'a SectionFile, i: usize) -> &'a str {
        let bytes = &self.bytes(file)[self.span(file, i)];
        // Checked when opened; checking a short string again costs less than an unsafe block.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The bytes of all strings, end to end.
    #[inline]
    pub(crate) fn bytes<'a>(&self, file: &'a SectionFile) -> &'a [u8] {
        file.get(self.blob)
    }

    /// Where string `i` lies among the bytes.
    #[inline]
    pub(crate) fn span(&self, file: &SectionFile, i: usize) -> Range<usize> {
        let offsets = file.get(self.offsets);
        offsets[i] as usize..offsets[i + 1] as usize
    }
}

fn check_text<'a>(path: &Path, tag: Tag, bytes: &'a [u8]) -> Result<&'a str, SectionError> {
    std::str::from_utf8(bytes).map_err(|error| SectionError::section(path, tag, format!("not UTF-8: {error}")))
}
