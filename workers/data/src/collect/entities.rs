//! What a file tells of users or items, by their numbers.
//!
//! In: cells `id, [title], text…, attributes…` in any order of rows. Out: titles, texts and attributes in the order of the
//! numbers that the interactions gave. Entities without a number are skipped before anything of them is kept.

use super::Interner;
use crate::read::{Cell, Sink};
use crate::{AttributeColumn, Strings};

/// No row of the file is about this entity.
const NONE: u32 = u32::MAX;

/// The most values of one attribute: what offsets can count, less the most that one row can add.
const MAX_VALUES: usize = u32::MAX as usize - (1 << 24);

/// The sink of a file of entities.
pub(crate) struct EntityColumns<'a> {
    ids: &'a Interner,
    id: String,
    title: bool,
    texts: usize,
    /// The kept row of each entity.
    row_of: Vec<u32>,
    kept: u32,
    titles: Strings,
    text: Strings,
    attributes: Vec<Attribute>,
}

/// An attribute column in the order of the file.
struct Attribute {
    name: String,
    values: Interner,
    offsets: Vec<u32>,
    ids: Vec<u32>,
}

/// What a file told, in the order of the entities' numbers.
pub(crate) struct Described {
    pub(crate) titles: Option<Strings>,
    pub(crate) text: Option<Strings>,
    pub(crate) attributes: Vec<AttributeColumn>,
}

impl<'a> EntityColumns<'a> {
    /// A sink for a file with these columns, about the entities of `ids`.
    pub(crate) fn new(ids: &'a Interner, id: &str, title: bool, texts: usize, attributes: &[String]) -> Self {
        let attribute = |name: &String| Attribute {
            name: name.clone(),
            values: Interner::default(),
            offsets: vec![0],
            ids: Vec::new(),
        };
        Self {
            ids,
            id: id.to_owned(),
            title,
            texts,
            row_of: vec![NONE; ids.len()],
            kept: 0,
            titles: Strings::default(),
            text: Strings::default(),
            attributes: attributes.iter().map(attribute).collect(),
        }
    }

    /// How many entities have been described.
    pub(crate) fn described(&self) -> u32 {
        self.kept
    }

    /// Everything in the order of the numbers.
    pub(crate) fn finish(self) -> Described {
        let Self { row_of, title, texts, titles, text, attributes, .. } = self;
        let ordered = |strings: &Strings| -> Strings {
            row_of.iter().map(|&row| if row == NONE { "" } else { strings.get(row as usize) }).collect()
        };
        Described {
            titles: title.then(|| ordered(&titles)),
            text: (texts > 0).then(|| ordered(&text)),
            attributes: attributes.into_iter().map(|attribute| attribute.ordered(&row_of)).collect(),
        }
    }
}

impl Attribute {
    fn ordered(self, row_of: &[u32]) -> AttributeColumn {
        let Self { name, values, offsets, ids } = self;
        let mut column = AttributeColumn {
            name,
            values: values.into_strings().iter().map(str::to_owned).collect(),
            offsets: Vec::with_capacity(row_of.len() + 1),
            ids: Vec::with_capacity(ids.len()),
        };
        column.offsets.push(0);
        for &row in row_of {
            if row != NONE {
                column.ids.extend(&ids[offsets[row as usize] as usize..offsets[row as usize + 1] as usize]);
            }
            column.offsets.push(column.ids.len() as u32);
        }
        column
    }
}

impl Sink for EntityColumns<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), String> {
        let id = cells.first().unwrap_or(&Cell::Missing).id(&self.id)?;
        let Some(number) = self.ids.find(&id) else { return Ok(()) };
        if self.row_of[number as usize] != NONE {
            return Err(format!("{} {id:?} is described twice; the first description counts", self.id));
        }
        if self.attributes.iter().any(|attribute| attribute.ids.len() > MAX_VALUES) {
            return Err("there are more attribute values than can be numbered".into());
        }
        let (title, rest) = cells[1..].split_at(usize::from(self.title));
        let (texts, attributes) = rest.split_at(self.texts);
        for (attribute, cell) in self.attributes.iter_mut().zip(attributes) {
            let Attribute { values, offsets, ids, .. } = attribute;
            let from = ids.len();
            cell.each_value(|value| {
                if let Some(id) = values.intern(value)
                    && !ids[from..].contains(&id)
                {
                    ids.push(id);
                }
            });
            offsets.push(ids.len() as u32);
        }
        if let [title] = title {
            self.titles.push(title.running_text().trim());
        }
        if self.texts > 0 {
            let texts: Vec<_> = texts.iter().map(Cell::running_text).collect();
            self.text.push(texts.join(" ").trim());
        }
        self.row_of[number as usize] = self.kept;
        self.kept += 1;
        Ok(())
    }
}
