//! An open catalog. In: a file. Out: ids, titles, codes, attributes and the trie, read in place.
//!
//! Everything is checked when the file is opened; afterwards nothing fails and nothing is copied. Never changes: a new
//! liveness mask makes a new [`Catalog`] over the same map.

use std::{path::Path, sync::Arc};

use recmesh_contract::{ItemIndex, Mask};
use recmesh_sections::{Column, IdIndex, SectionError, SectionFile, Strings};

use crate::{
    CatalogError, Trie,
    attributes::Attributes,
    layout,
    trie::{Items, TrieColumns},
    write::{fits, numberable, usable},
};

/// A mapped catalog; clones share the map. Items are `0..len()`; an item beyond that is a caller's defect and panics,
/// as indexing a slice does.
#[derive(Clone, Debug)]
pub struct Catalog {
    file: SectionFile,
    columns: Columns,
    live: Option<Arc<Mask>>,
}

#[derive(Clone, Copy, Debug)]
struct Columns {
    shape: Column<u32>,
    ids: Strings,
    id_index: IdIndex,
    titles: Strings,
    titled: Column<u64>,
    codes: Column<u32>,
    popularity: Column<u32>,
    attributes: Attributes,
    trie: TrieColumns,
}

impl Catalog {
    /// Maps and checks the catalog at `path`: digest, bounds of everything, and that its parts agree.
    ///
    /// # Errors
    /// When the file cannot be read or is no whole catalog; the error names the file and what is wrong.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let file = SectionFile::open(path, &layout::FORMAT)?;
        let columns = Columns::open(&file)?;
        let words = file.get(file.column::<u64>(layout::LIVE)?);
        let live = match words {
            [] => None,
            words if fits(words, columns.items(&file)) => Some(Arc::new(Mask::from_words(words.to_vec()))),
            _ => return Err(SectionError::section(path, layout::LIVE, "the mask does not fit the items").into()),
        };
        Ok(Self { file, columns, live })
    }

    /// How many items there are; at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.items(&self.file)
    }

    /// Never: a catalog has at least one item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many codes a semantic ID has.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.codebooks().len()
    }

    /// How many codes each level's codebook has.
    #[must_use]
    pub fn codebooks(&self) -> &[u32] {
        &self.file.get(self.columns.shape)[1..]
    }

    /// SHA-256 of the file's contents, as `sha256:<hex>`.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.file.digest()
    }

    /// An item's id as the data set writes it.
    #[must_use]
    pub fn id(&self, item: ItemIndex) -> &str {
        self.columns.ids.get(&self.file, item as usize)
    }

    /// An item's title, where it has one.
    #[must_use]
    pub fn title(&self, item: ItemIndex) -> Option<&str> {
        let titled = self.file.get(self.columns.titled)[item as usize / 64] >> (item % 64) & 1 == 1;
        titled.then(|| self.columns.titles.get(&self.file, item as usize))
    }

    /// An item's semantic ID: one code a level.
    #[must_use]
    #[inline]
    pub fn codes(&self, item: ItemIndex) -> &[u32] {
        let levels = self.levels();
        &self.file.get(self.columns.codes)[item as usize * levels..][..levels]
    }

    /// How often an item was used in the train part.
    #[must_use]
    pub fn popularity(&self, item: ItemIndex) -> u32 {
        self.file.get(self.columns.popularity)[item as usize]
    }

    /// The item with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<ItemIndex> {
        self.columns.id_index.find(&self.file, id)
    }

    /// An item's attributes: keys ascending, each with its values ascending.
    #[must_use]
    pub fn attributes(&self, item: ItemIndex) -> Vec<(&str, Vec<&str>)> {
        self.columns.attributes.of(&self.file, item as usize)
    }

    /// The ascending items with this value of this attribute, live or not; `None` when no item has it.
    #[must_use]
    pub fn with_attribute(&self, key: &str, value: &str) -> Option<&[ItemIndex]> {
        self.columns.attributes.postings(&self.file, key, value)
    }

    /// Every attribute that the data set has, ascending; one whose values are all empty is among them.
    #[must_use]
    pub fn attribute_keys(&self) -> Vec<&str> {
        self.columns.attributes.keys(&self.file)
    }

    /// Whether the data set has this attribute.
    #[must_use]
    pub fn has_attribute_key(&self, key: &str) -> bool {
        self.columns.attributes.has_key(&self.file, key)
    }

    /// Which items may be answered; `None` when all may.
    #[must_use]
    pub fn live(&self) -> Option<&Mask> {
        self.live.as_deref()
    }

    /// The same catalog with another liveness mask; shares the map. Items beyond the mask's length are not live.
    #[must_use]
    pub fn with_live(&self, live: Mask) -> Self {
        Self { live: Some(Arc::new(live)), ..self.clone() }
    }

    /// The trie over all items' semantic IDs, live or not.
    #[must_use]
    pub fn trie(&self) -> Trie<'_> {
        self.columns.trie.view(&self.file)
    }
}

impl Columns {
    fn open(file: &SectionFile) -> Result<Self, SectionError> {
        let shape = file.column::<u32>(layout::SHAPE)?;
        let (items, codebooks) = match file.get(shape) {
            [items, codebooks @ ..] if usable(codebooks) && numberable(*items as usize, codebooks.len()) => {
                (*items as usize, codebooks)
            }
            _ => return Err(SectionError::section(file.path(), layout::SHAPE, "it is not one of a catalog")),
        };
        if items == 0 {
            return Err(SectionError::section(file.path(), layout::SHAPE, "it has no items"));
        }
        let exact = |tag, length: usize| {
            let column = file.column::<u32>(tag)?;
            let found = file.get(column).len();
            let problem = || SectionError::section(file.path(), tag, format!("{found} values, expected {length}"));
            (found == length).then_some(column).ok_or_else(problem)
        };
        let levels = codebooks.len();
        let codes = exact(layout::CODES, items * levels)?;
        let popularity = exact(layout::POPULARITY, items)?;
        let titled = file.column(layout::TITLED)?;
        if !fits(file.get(titled), items) {
            return Err(SectionError::section(file.path(), layout::TITLED, "the mask does not fit the items"));
        }
        let beyond = |row: &[u32]| row.iter().zip(codebooks).any(|(code, size)| code >= size);
        if let Some(item) = file.get(codes).chunks_exact(levels).position(beyond) {
            let problem = format!("item {item} has a code that its codebook does not have");
            return Err(SectionError::section(file.path(), layout::CODES, problem));
        }
        let ids = Strings::open(file, layout::IDS[0], layout::IDS[1], items)?;
        let of_items = Items { codebooks, codes: file.get(codes), popularity: file.get(popularity) };
        Ok(Self {
            shape,
            ids,
            id_index: IdIndex::open(file, layout::ID_INDEX, ids, items)?,
            titles: Strings::open(file, layout::TITLES[0], layout::TITLES[1], items)?,
            titled,
            codes,
            popularity,
            attributes: Attributes::open(file, items)?,
            trie: TrieColumns::open(file, of_items)?,
        })
    }

    fn items(&self, file: &SectionFile) -> usize {
        file.get(self.shape)[0] as usize
    }
}
