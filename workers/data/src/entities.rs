//! Users or items as compact columns: ids, titles, texts, attributes.
//!
//! In: what a file of entities or a planted world says. Out: each by the entity's dense number. Numbers are given by
//! the interactions, in order of first appearance; an entity that only its own file names has no number and is not here.

use crate::Strings;

/// Users or items, by dense number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entities {
    /// The id of each, as the files write it.
    pub ids: Strings,
    /// What is shown to people, when a title column is declared; empty where unknown.
    pub titles: Option<Strings>,
    /// The text columns joined by spaces, when any is declared; empty where unknown.
    pub text: Option<Strings>,
    /// The attribute columns.
    pub attributes: Vec<AttributeColumn>,
}

/// One attribute of every entity: any number of values each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeColumn {
    /// The column's name.
    pub name: String,
    /// Every value there is, by value id, in order of first appearance.
    pub values: Vec<String>,
    /// Where the values of each entity start in `ids`; one more than there are entities.
    pub offsets: Vec<u32>,
    /// Value ids, entity after entity, in the file's order, without duplicates within an entity.
    pub ids: Vec<u32>,
}

impl Entities {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of entity `i`.
    ///
    /// # Panics
    /// When `i` is not below [`Self::len`]; so do the methods below.
    #[must_use]
    pub fn id(&self, i: usize) -> &str {
        self.ids.get(i)
    }

    /// The title of entity `i`, where one is known.
    #[must_use]
    pub fn title(&self, i: usize) -> Option<&str> {
        self.titles.as_ref().map(|titles| titles.get(i)).filter(|title| !title.is_empty())
    }

    /// The text of entity `i`, where one is known.
    #[must_use]
    pub fn text(&self, i: usize) -> Option<&str> {
        self.text.as_ref().map(|text| text.get(i)).filter(|text| !text.is_empty())
    }

    /// The attribute column of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&AttributeColumn> {
        self.attributes.iter().find(|column| column.name == name)
    }
}

impl AttributeColumn {
    /// The value ids of entity `i`.
    ///
    /// # Panics
    /// When there is no entity `i`.
    #[must_use]
    pub fn of(&self, i: usize) -> &[u32] {
        &self.ids[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// The values of entity `i` as text.
    pub fn values_of(&self, i: usize) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.of(i).iter().map(|&id| self.values[id as usize].as_str())
    }
}
