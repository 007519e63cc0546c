//! Writes a catalog. In: items in index order. Out: one file, written atomically, and its digest.
//!
//! Same items, same bytes. Refuses what could not be served: no items, two items with one id, codes that are in no
//! codebook. Equal semantic IDs are allowed: such items share a leaf.

use std::path::Path;

use recmesh_contract::Mask;
use recmesh_sections::{Section, StringsWriter, build_id_index};

use crate::{CatalogError, attributes::AttributesWriter, layout, trie_build::build};

/// One item to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogItem {
    /// Its id as the data set writes it; unique.
    pub id: String,
    /// Its title; an empty title is a title.
    pub title: Option<String>,
    /// Its semantic ID: one code a level.
    pub codes: Vec<u32>,
    /// Values by attribute key. Order and repetition are not kept: keys and values come back ascending, once.
    pub attributes: Vec<(String, Vec<String>)>,
    /// Uses in the train part; orders the items of a shared leaf.
    pub popularity: u32,
}

/// Writes the catalog of `items` (item `i` gets index `i`) with all of them live, and returns its digest as
/// `sha256:<hex>`. `codebooks` holds the number of codes of every level.
///
/// # Errors
/// When the items cannot make a catalog or the file cannot be written; the old file, if any, is then left as it was.
pub fn write(path: &Path, codebooks: &[u32], items: &[CatalogItem]) -> Result<String, CatalogError> {
    write_file(path, codebooks, items, &[])
}

/// As [`write`], with only the items of `live` live.
///
/// # Errors
/// As [`write`], and when the mask is not one of this many items.
pub fn write_with_live(
    path: &Path,
    codebooks: &[u32],
    items: &[CatalogItem],
    live: &Mask,
) -> Result<String, CatalogError> {
    if !fits(live.words(), items.len()) {
        return Err(CatalogError::Live { path: path.to_owned(), items: items.len() });
    }
    write_file(path, codebooks, items, live.words())
}

/// Whether `words` are a mask of exactly `items` bits.
pub fn fits(words: &[u64], items: usize) -> bool {
    words.len() == items.div_ceil(64)
        && (items.is_multiple_of(64) || words.last().is_none_or(|&last| last >> (items % 64) == 0))
}

fn write_file(path: &Path, codebooks: &[u32], items: &[CatalogItem], live: &[u64]) -> Result<String, CatalogError> {
    check(path, codebooks, items)?;
    let mut shape = vec![items.len() as u32];
    shape.extend_from_slice(codebooks);

    let (mut ids, mut titles) = (StringsWriter::default(), StringsWriter::default());
    let mut titled = Mask::none(items.len());
    let mut attributes = AttributesWriter::default();
    let mut codes = Vec::with_capacity(items.len() * codebooks.len());
    for (index, item) in items.iter().enumerate() {
        ids.push(&item.id);
        titles.push(item.title.as_deref().unwrap_or_default());
        if item.title.is_some() {
            titled.insert(index as u32);
        }
        codes.extend_from_slice(&item.codes);
        attributes.push(index as u32, &item.attributes);
    }
    let popularity: Vec<u32> = items.iter().map(|item| item.popularity).collect();
    let id_index = build_id_index(&ids).map_err(|duplicate| {
        let (path, id) = (path.to_owned(), items[duplicate.second].id.clone());
        if duplicate.first == duplicate.second {
            CatalogError::CollidingIds { path, id }
        } else {
            CatalogError::DuplicateId { path, id, first: duplicate.first, second: duplicate.second }
        }
    })?;
    let trie = build(codebooks, &codes, &popularity);
    let attributes = attributes.finish(items.len());

    let mut sections = vec![Section::of(layout::SHAPE, &shape)];
    sections.extend(ids.sections(layout::IDS[0], layout::IDS[1]));
    sections.push(Section::of(layout::ID_INDEX, &id_index));
    sections.extend(titles.sections(layout::TITLES[0], layout::TITLES[1]));
    sections.push(Section::of(layout::TITLED, titled.words()));
    sections.push(Section::of(layout::CODES, &codes));
    sections.push(Section::of(layout::POPULARITY, &popularity));
    sections.extend(attributes.sections());
    sections.extend(trie.sections());
    sections.push(Section::of(layout::LIVE, live));
    Ok(recmesh_sections::write(path, &layout::FORMAT, &sections)?)
}

fn check(path: &Path, codebooks: &[u32], items: &[CatalogItem]) -> Result<(), CatalogError> {
    let levels = codebooks.len();
    if !usable(codebooks) {
        return Err(CatalogError::Codebooks {
            path: path.to_owned(),
            codebooks: codebooks.to_vec(),
            levels: layout::MAX_LEVELS,
            codes: layout::MAX_CODES,
        });
    }
    if items.is_empty() {
        return Err(CatalogError::NoItems { path: path.to_owned() });
    }
    if !numberable(items.len(), levels) {
        return Err(CatalogError::TooManyItems { path: path.to_owned(), items: items.len(), levels });
    }
    for item in items {
        if item.codes.len() != levels {
            let (path, id) = (path.to_owned(), item.id.clone());
            return Err(CatalogError::Levels { path, id, found: item.codes.len(), levels });
        }
        if let Some(level) = (0..levels).find(|&level| item.codes[level] >= codebooks[level]) {
            return Err(CatalogError::Code {
                path: path.to_owned(),
                id: item.id.clone(),
                level: level + 1,
                code: item.codes[level],
                codes: codebooks[level],
            });
        }
    }
    Ok(())
}

/// Whether there can be a catalog with these codebook sizes.
pub fn usable(codebooks: &[u32]) -> bool {
    (1..=layout::MAX_LEVELS).contains(&codebooks.len())
        && codebooks.iter().all(|codes| (1..=layout::MAX_CODES).contains(codes))
}

/// Whether every item, every node of their trie and `u32::MAX` for "none" have a number of 32 bits.
pub fn numberable(items: usize, levels: usize) -> bool {
    items.checked_mul(levels).is_some_and(|nodes| nodes < u32::MAX as usize - 1)
}
