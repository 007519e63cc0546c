//! Item attributes: values by key and item, items by key and value.
//!
//! In: each item's `(key, values)`. Out: for filters, the ascending items of a value; for answers, the values of an
//! item. Values are numbered over all keys, in order of key, then of value; both directions are compressed rows.

use std::collections::HashMap;

use recmesh_contract::ItemIndex;
use recmesh_sections::{Column, Section, SectionError, SectionFile, Strings, StringsWriter, Tag};

use crate::layout;

/// Gathers attributes for writing.
#[derive(Default)]
pub struct AttributesWriter<'a> {
    keys: HashMap<&'a str, HashMap<&'a str, Vec<ItemIndex>>>,
}

impl<'a> AttributesWriter<'a> {
    /// Adds the attributes of an item; items come in index order.
    pub fn push(&mut self, item: ItemIndex, attributes: &'a [(String, Vec<String>)]) {
        for (key, values) in attributes {
            let postings = self.keys.entry(key).or_default();
            for value in values {
                let items = postings.entry(value).or_default();
                if items.last() != Some(&item) {
                    items.push(item);
                }
            }
        }
    }

    /// Puts everything in order.
    pub fn finish(self, items: usize) -> AttributeArrays {
        let mut arrays = AttributeArrays::default();
        let mut keys: Vec<_> = self.keys.into_iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        arrays.key_values.push(0);
        arrays.posting_offsets.push(0);
        for (key, values) in keys {
            arrays.keys.push(key);
            let mut values: Vec<_> = values.into_iter().collect();
            values.sort_unstable_by_key(|(value, _)| *value);
            for (value, postings) in values {
                arrays.values.push(value);
                arrays.postings.extend(postings);
                arrays.posting_offsets.push(arrays.postings.len() as u64);
            }
            arrays.key_values.push(arrays.values.len() as u64);
        }

        arrays.item_offsets = vec![0; items + 1];
        for &item in &arrays.postings {
            arrays.item_offsets[item as usize + 1] += 1;
        }
        for item in 0..items {
            arrays.item_offsets[item + 1] += arrays.item_offsets[item];
        }
        let mut next = arrays.item_offsets.clone();
        arrays.item_values = vec![0; arrays.postings.len()];
        for value in 0..arrays.values.len() {
            for at in arrays.posting_offsets[value]..arrays.posting_offsets[value + 1] {
                let place = &mut next[arrays.postings[at as usize] as usize];
                arrays.item_values[*place as usize] = value as u32;
                *place += 1;
            }
        }
        arrays
    }
}

/// The arrays of all attributes; see [`layout`] for their shapes.
#[derive(Default)]
pub struct AttributeArrays {
    keys: StringsWriter,
    key_values: Vec<u64>,
    values: StringsWriter,
    item_offsets: Vec<u64>,
    item_values: Vec<u32>,
    posting_offsets: Vec<u64>,
    postings: Vec<ItemIndex>,
}

impl AttributeArrays {
    /// The sections to write.
    pub fn sections(&self) -> Vec<Section<'_>> {
        let mut sections = Vec::new();
        sections.extend(self.keys.sections(layout::KEYS[0], layout::KEYS[1]));
        sections.push(Section::of(layout::KEY_VALUES, &self.key_values));
        sections.extend(self.values.sections(layout::VALUES[0], layout::VALUES[1]));
        sections.push(Section::of(layout::ITEM_VALUES[0], &self.item_offsets));
        sections.push(Section::of(layout::ITEM_VALUES[1], &self.item_values));
        sections.push(Section::of(layout::VALUE_ITEMS[0], &self.posting_offsets));
        sections.push(Section::of(layout::VALUE_ITEMS[1], &self.postings));
        sections
    }
}

/// Where the attributes lie in their file.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    count: usize,
    keys: Strings,
    key_values: Column<u64>,
    values: Strings,
    item_offsets: Column<u64>,
    item_values: Column<u32>,
    posting_offsets: Column<u64>,
    postings: Column<u32>,
}

impl Attributes {
    /// Finds the attributes in their file and checks them.
    pub fn open(file: &SectionFile, items: usize) -> Result<Self, SectionError> {
        // The number of rows is that of the offsets themselves; at least one is needed for none.
        let rows = |tag: Tag| file.column::<u64>(tag).map(|column| file.get(column).len().saturating_sub(1));
        let (count, value_count) = (rows(layout::KEYS[1])?, rows(layout::VALUES[1])?);
        let item_values = file.column(layout::ITEM_VALUES[1])?;
        let postings = file.column(layout::VALUE_ITEMS[1])?;
        let attributes = Self {
            count,
            keys: Strings::open(file, layout::KEYS[0], layout::KEYS[1], count)?,
            key_values: file.offsets(layout::KEY_VALUES, count, value_count)?,
            values: Strings::open(file, layout::VALUES[0], layout::VALUES[1], value_count)?,
            item_offsets: file.offsets(layout::ITEM_VALUES[0], items, file.get(item_values).len())?,
            item_values,
            posting_offsets: file.offsets(layout::VALUE_ITEMS[0], value_count, file.get(postings).len())?,
            postings,
        };
        attributes.check_order(file)?;
        attributes.check_directions(file, value_count, items)?;
        Ok(attributes)
    }

    fn check_order(&self, file: &SectionFile) -> Result<(), SectionError> {
        if (1..self.count).any(|key| self.keys.get(file, key - 1) >= self.keys.get(file, key)) {
            return Err(SectionError::section(file.path(), layout::KEYS[0], "keys are not ascending"));
        }
        for key in 0..self.count {
            let (start, end) = self.values_of(file, key);
            if (start + 1..end).any(|value| self.values.get(file, value - 1) >= self.values.get(file, value)) {
                let problem = format!("values of {:?} are not ascending", self.keys.get(file, key));
                return Err(SectionError::section(file.path(), layout::VALUES[0], problem));
            }
        }
        Ok(())
    }

    /// Both directions hold the same pairs, each ascending.
    fn check_directions(&self, file: &SectionFile, values: usize, items: usize) -> Result<(), SectionError> {
        let wrong = |problem: String| Err(SectionError::section(file.path(), layout::VALUE_ITEMS[1], problem));
        let (offsets, item_values) = (file.get(self.item_offsets), file.get(self.item_values));
        if file.get(self.postings).len() != item_values.len() {
            return wrong(format!("{} pairs, items have {}", file.get(self.postings).len(), item_values.len()));
        }
        let mut next = offsets[..items].to_vec();
        for value in 0..values {
            let listed = self.items_of(file, value);
            if listed.windows(2).any(|pair| pair[0] >= pair[1]) {
                return wrong(format!("items of value {value} are not ascending"));
            }
            for &item in listed {
                let expected = next.get(item as usize).filter(|&&at| at < offsets[item as usize + 1]);
                if expected.is_none_or(|&at| item_values[at as usize] != value as u32) {
                    return wrong(format!("value {value} lists item {item}, which does not have it"));
                }
                next[item as usize] += 1;
            }
        }
        Ok(())
    }

    /// Every key that any item was given attributes under, ascending.
    pub fn keys<'a>(&self, file: &'a SectionFile) -> Vec<&'a str> {
        (0..self.count).map(|key| self.keys.get(file, key)).collect()
    }

    /// Whether any item was given attributes under this key.
    pub fn has_key(&self, file: &SectionFile, key: &str) -> bool {
        self.key(file, key).is_some()
    }

    /// The ascending items that have this value; `None` when none has.
    pub fn postings<'a>(&self, file: &'a SectionFile, key: &str, value: &str) -> Option<&'a [ItemIndex]> {
        let (start, end) = self.values_of(file, self.key(file, key)?);
        let at = search(start, end, |at| self.values.get(file, at), value)?;
        Some(self.items_of(file, at))
    }

    /// The values of an item by key, keys and values ascending.
    pub fn of<'a>(&self, file: &'a SectionFile, item: usize) -> Vec<(&'a str, Vec<&'a str>)> {
        let (offsets, key_values) = (file.get(self.item_offsets), file.get(self.key_values));
        let mut by_key: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut end = 0;
        for &value in &file.get(self.item_values)[offsets[item] as usize..offsets[item + 1] as usize] {
            if u64::from(value) >= end {
                let key = key_values.partition_point(|&first| first <= u64::from(value)) - 1;
                end = key_values[key + 1];
                by_key.push((self.keys.get(file, key), Vec::new()));
            }
            if let Some((_, values)) = by_key.last_mut() {
                values.push(self.values.get(file, value as usize));
            }
        }
        by_key
    }

    fn key(&self, file: &SectionFile, key: &str) -> Option<usize> {
        search(0, self.count, |at| self.keys.get(file, at), key)
    }

    fn values_of(&self, file: &SectionFile, key: usize) -> (usize, usize) {
        let offsets = file.get(self.key_values);
        (offsets[key] as usize, offsets[key + 1] as usize)
    }

    fn items_of<'a>(&self, file: &'a SectionFile, value: usize) -> &'a [ItemIndex] {
        let offsets = file.get(self.posting_offsets);
        &file.get(self.postings)[offsets[value] as usize..offsets[value + 1] as usize]
    }
}

/// Binary search in `start..end` for the place whose string is `wanted`.
fn search<'a>(mut start: usize, mut end: usize, at: impl Fn(usize) -> &'a str, wanted: &str) -> Option<usize> {
    while start < end {
        let middle = start + (end - start) / 2;
        match at(middle).cmp(wanted) {
            std::cmp::Ordering::Less => start = middle + 1,
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Greater => end = middle,
        }
    }
    None
}
