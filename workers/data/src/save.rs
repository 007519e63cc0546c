//! Writing a data set: `dataset.safetensors` with every column, `dataset.json` with what is not a column.
//!
//! In: a data set and a folder. Out: two files; the same data set gives the same bytes. Strings are a blob of bytes and
//! `u64` offsets (`NAME.bytes`, `NAME.offsets`). Column names of users go into the JSON, never into tensor names.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::{Dtype, View, serialize_to_file};
use serde::{Deserialize, Serialize};

use crate::{DataError, Dataset, Entities, Examples, Interactions, Part, Strings, Summary};

/// The file of columns.
pub(crate) const COLUMNS: &str = "dataset.safetensors";
/// The file of everything else.
pub(crate) const DESCRIPTION: &str = "dataset.json";
/// The version of both.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// `dataset.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) format_version: u32,
    pub(crate) summary: Summary,
    pub(crate) columns: Columns,
}

/// The names of the columns, in the order of their tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Columns {
    Interactions { labels: Vec<String>, user_attributes: Vec<String>, item_attributes: Vec<String> },
    Examples { numeric: Vec<String>, categorical: Vec<String>, labels: Vec<String> },
}

/// One column on its way to the file.
struct Tensor<'a> {
    dtype: Dtype,
    shape: [usize; 1],
    bytes: Bytes<'a>,
}

/// Where a column's bytes come from; made little-endian when they are written, one column at a time.
enum Bytes<'a> {
    U8(Cow<'a, [u8]>),
    U32(&'a [u32]),
    U64(&'a [u64]),
    I64(&'a [i64]),
    F32(&'a [f32]),
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        match &self.bytes {
            Bytes::U8(values) => Cow::Borrowed(values),
            Bytes::U32(values) => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Bytes::U64(values) => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Bytes::I64(values) => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Bytes::F32(values) => Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        }
    }
    fn data_len(&self) -> usize {
        self.shape[0] * self.dtype.bitsize() / 8
    }
}

/// Columns by name.
#[derive(Default)]
struct Tensors<'a>(Vec<(String, Tensor<'a>)>);

impl<'a> Tensors<'a> {
    fn add(&mut self, name: impl Into<String>, bytes: Bytes<'a>) {
        let (dtype, length) = match &bytes {
            Bytes::U8(values) => (Dtype::U8, values.len()),
            Bytes::U32(values) => (Dtype::U32, values.len()),
            Bytes::U64(values) => (Dtype::U64, values.len()),
            Bytes::I64(values) => (Dtype::I64, values.len()),
            Bytes::F32(values) => (Dtype::F32, values.len()),
        };
        self.0.push((name.into(), Tensor { dtype, shape: [length], bytes }));
    }

    fn flags(&mut self, name: &str, flags: Vec<u8>) {
        self.add(name, Bytes::U8(Cow::Owned(flags)));
    }

    fn strings(&mut self, name: &str, strings: &'a Strings) {
        let (bytes, offsets) = strings.parts();
        self.add(format!("{name}.bytes"), Bytes::U8(Cow::Borrowed(bytes)));
        self.add(format!("{name}.offsets"), Bytes::U64(offsets));
    }

    /// A vocabulary: few strings that stand alone, so the blob is made here.
    fn vocabulary(&mut self, name: &str, words: &[String]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.bytes()).collect();
        let ends = words.iter().scan(0u64, |end, word| {
            *end += word.len() as u64;
            Some(*end)
        });
        let offsets = std::iter::once(0).chain(ends).flat_map(u64::to_le_bytes).collect::<Vec<u8>>();
        let length = words.len() + 1;
        self.flags(&format!("{name}.bytes"), bytes);
        let tensor = Tensor { dtype: Dtype::U64, shape: [length], bytes: Bytes::U8(Cow::Owned(offsets)) };
        self.0.push((format!("{name}.offsets"), tensor));
    }

    fn entities(&mut self, name: &str, entities: &'a Entities) {
        let Entities { ids, titles, text, attributes } = entities;
        self.strings(&format!("{name}.ids"), ids);
        if let Some(titles) = titles {
            self.strings(&format!("{name}.titles"), titles);
        }
        if let Some(text) = text {
            self.strings(&format!("{name}.text"), text);
        }
        for (at, column) in attributes.iter().enumerate() {
            self.vocabulary(&format!("{name}.attribute{at}.values"), &column.values);
            self.add(format!("{name}.attribute{at}.offsets"), Bytes::U32(&column.offsets));
            self.add(format!("{name}.attribute{at}.ids"), Bytes::U32(&column.ids));
        }
    }

    fn interactions(&mut self, data: &'a Interactions) {
        // Sequences follow from the rows.
        let Interactions { users, items, rows, sequences: _ } = data;
        self.entities("users", users);
        self.entities("items", items);
        self.add("rows.offsets", Bytes::U64(&rows.offsets));
        self.add("rows.item", Bytes::U32(&rows.item));
        if let Some(time) = &rows.time {
            self.add("rows.time", Bytes::I64(time));
        }
        if let Some(behaviour) = &rows.behaviour {
            self.vocabulary("rows.behaviour.names", &behaviour.names);
            self.add("rows.behaviour", Bytes::U8(Cow::Borrowed(&behaviour.ids)));
        }
        self.labels("rows", &rows.labels);
        self.flags("rows.part", rows.part.iter().map(|&part| part_byte(part)).collect());
        self.flags("rows.inHistory", rows.in_history.iter().map(|&yes| u8::from(yes)).collect());
    }

    fn examples(&mut self, data: &'a Examples) {
        let Examples { numeric, categorical, labels, part } = data;
        for (at, column) in numeric.iter().enumerate() {
            self.add(format!("numeric{at}"), Bytes::F32(&column.values));
            let scale = [column.mean, column.deviation].iter().flat_map(|value| value.to_le_bytes()).collect();
            let tensor = Tensor { dtype: Dtype::F32, shape: [2], bytes: Bytes::U8(Cow::Owned(scale)) };
            self.0.push((format!("numeric{at}.scale"), tensor));
        }
        for (at, column) in categorical.iter().enumerate() {
            self.add(format!("categorical{at}"), Bytes::U32(&column.ids));
            self.vocabulary(&format!("categorical{at}.values"), &column.values);
        }
        self.labels("examples", labels);
        self.flags("examples.part", part.iter().map(|&part| part_byte(part)).collect());
    }

    fn labels(&mut self, name: &str, labels: &'a [(String, Vec<f32>)]) {
        for (at, (_, values)) in labels.iter().enumerate() {
            self.add(format!("{name}.label{at}"), Bytes::F32(values));
        }
    }
}

/// A part as files write it.
fn part_byte(part: Part) -> u8 {
    match part {
        Part::Train => 0,
        Part::Validation => 1,
        Part::Test => 2,
    }
}

impl Dataset {
    /// Writes `dataset.safetensors` and `dataset.json` into a folder that exists.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), DataError> {
        let mut tensors = Tensors::default();
        let columns = match self {
            Self::Interactions(data) => {
                tensors.interactions(data);
                Columns::Interactions {
                    labels: names(&data.rows.labels),
                    user_attributes: data.users.attributes.iter().map(|column| column.name.clone()).collect(),
                    item_attributes: data.items.attributes.iter().map(|column| column.name.clone()).collect(),
                }
            }
            Self::Examples(data) => {
                tensors.examples(data);
                Columns::Examples {
                    numeric: data.numeric.iter().map(|column| column.name.clone()).collect(),
                    categorical: data.categorical.iter().map(|column| column.name.clone()).collect(),
                    labels: names(&data.labels),
                }
            }
        };
        let path = dir.join(COLUMNS);
        serialize_to_file(tensors.0, None, &path)
            .map_err(|error| DataError::Write { path, source: std::io::Error::other(error) })?;
        let description = Description { format_version: FORMAT_VERSION, summary: self.summary(), columns };
        let path = dir.join(DESCRIPTION);
        serde_json::to_vec_pretty(&description)
            .map_err(std::io::Error::from)
            .and_then(|json| std::fs::write(&path, json))
            .map_err(|source| DataError::Write { path, source })
    }
}

fn names(labels: &[(String, Vec<f32>)]) -> Vec<String> {
    labels.iter().map(|(name, _)| name.clone()).collect()
}
