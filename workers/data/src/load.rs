//! Reading back what `save` wrote.
//!
//! In: a folder. Out: the data set, every reference in it checked: offsets ascend, ids are below their vocabularies, columns
//! are as long as the rows. A file that is missing, truncated, of another version or not consistent is refused by name;
//! whatever the bytes are, loading does not panic.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use crate::save::{COLUMNS, Columns, DESCRIPTION, Description, FORMAT_VERSION};
use crate::{
    AttributeColumn, Behaviours, CategoricalColumn, DataError, Dataset, Entities, Examples, Interactions,
    NumericColumn, Part, Rows, Sequences, Strings,
};

impl Dataset {
    /// Reads what [`Dataset::save`] wrote.
    ///
    /// # Errors
    /// When a file is missing, truncated, or does not fit itself or the other.
    pub fn load(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(DESCRIPTION);
        let json = read(&path)?;
        let corrupt = |reason: String| DataError::Corrupt { path: path.clone(), reason };
        let value: serde_json::Value = serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
        // The version decides how the rest is read, so it comes first.
        match value.get("formatVersion").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(FORMAT_VERSION) => {}
            version => {
                return Err(corrupt(format!("formatVersion is {version:?}, this program reads {FORMAT_VERSION}")));
            }
        }
        let description: Description = serde_json::from_value(value).map_err(|error| corrupt(error.to_string()))?;
        let Description { format_version: _, summary, columns } = description;

        let path = dir.join(COLUMNS);
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| DataError::Corrupt { path: path.clone(), reason: error.to_string() })?;
        let saved = Saved { path, tensors };
        let dataset = match columns {
            Columns::Interactions { labels, user_attributes, item_attributes } => {
                Self::Interactions(saved.interactions(labels, user_attributes, item_attributes)?)
            }
            Columns::Examples { numeric, categorical, labels } => {
                Self::Examples(saved.examples(numeric, categorical, labels)?)
            }
        };
        if dataset.summary() != summary {
            return Err(saved.corrupt(format!("its counts are not those of {DESCRIPTION}")));
        }
        Ok(dataset)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|source| DataError::Open { path: path.to_path_buf(), source })
}

/// The columns of a file.
struct Saved<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
}

impl Saved<'_> {
    fn corrupt(&self, reason: String) -> DataError {
        DataError::Corrupt { path: self.path.clone(), reason }
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// The bytes of a column of this type.
    fn bytes(&self, name: &str, dtype: Dtype) -> Result<&[u8], DataError> {
        let tensor = self.tensors.tensor(name).map_err(|_| self.corrupt(format!("there is no column {name}")))?;
        if tensor.dtype() != dtype || tensor.shape().len() != 1 {
            return Err(self.corrupt(format!("column {name} is {:?}, not a row of {dtype:?}", tensor.dtype())));
        }
        Ok(tensor.data())
    }

    fn read<const N: usize, T>(&self, name: &str, dtype: Dtype, from: fn([u8; N]) -> T) -> Result<Vec<T>, DataError> {
        let (values, _) = self.bytes(name, dtype)?.as_chunks::<N>();
        Ok(values.iter().map(|&bytes| from(bytes)).collect())
    }

    fn u32s(&self, name: &str) -> Result<Vec<u32>, DataError> {
        self.read(name, Dtype::U32, u32::from_le_bytes)
    }

    fn u64s(&self, name: &str) -> Result<Vec<u64>, DataError> {
        self.read(name, Dtype::U64, u64::from_le_bytes)
    }

    /// A column of `rows` values, each below `bound`.
    fn ids(&self, name: &str, rows: usize, bound: usize) -> Result<Vec<u32>, DataError> {
        let ids = self.u32s(name)?;
        self.expect(name, "values", ids.len(), rows)?;
        match ids.iter().find(|&&id| id as usize >= bound) {
            Some(id) => Err(self.corrupt(format!("column {name} holds {id}, but there are only {bound}"))),
            None => Ok(ids),
        }
    }

    fn expect(&self, name: &str, what: &str, is: usize, want: usize) -> Result<(), DataError> {
        if is == want { Ok(()) } else { Err(self.corrupt(format!("column {name} has {is} {what} instead of {want}"))) }
    }

    fn strings(&self, name: &str) -> Result<Strings, DataError> {
        let bytes = self.bytes(&format!("{name}.bytes"), Dtype::U8)?.to_vec();
        let offsets = self.u64s(&format!("{name}.offsets"))?;
        Strings::from_parts(bytes, offsets).ok_or_else(|| self.corrupt(format!("the strings of {name} do not fit")))
    }

    fn strings_of(&self, name: &str, count: usize) -> Result<Option<Strings>, DataError> {
        if !self.has(&format!("{name}.offsets")) {
            return Ok(None);
        }
        let strings = self.strings(name)?;
        self.expect(name, "strings", strings.len(), count)?;
        Ok(Some(strings))
    }

    fn vocabulary(&self, name: &str) -> Result<Vec<String>, DataError> {
        Ok(self.strings(name)?.iter().map(str::to_owned).collect())
    }

    fn entities(&self, name: &str, attributes: Vec<String>) -> Result<Entities, DataError> {
        let ids = self.strings(&format!("{name}.ids"))?;
        let attribute = |(at, column): (usize, String)| {
            let base = format!("{name}.attribute{at}");
            let values = self.vocabulary(&format!("{base}.values"))?;
            let offsets = self.u32s(&format!("{base}.offsets"))?;
            let end = ascending(&offsets).filter(|_| offsets.len() == ids.len() + 1);
            let end = end.ok_or_else(|| self.corrupt(format!("the offsets of {base} do not fit")))?;
            let ids = self.ids(&format!("{base}.ids"), end as usize, values.len())?;
            Ok(AttributeColumn { name: column, values, offsets, ids })
        };
        let attributes = attributes.into_iter().enumerate().map(attribute).collect::<Result<_, DataError>>()?;
        let titles = self.strings_of(&format!("{name}.titles"), ids.len())?;
        let text = self.strings_of(&format!("{name}.text"), ids.len())?;
        Ok(Entities { ids, titles, text, attributes })
    }

    fn labels(&self, name: &str, labels: Vec<String>, rows: usize) -> Result<Vec<(String, Vec<f32>)>, DataError> {
        let label = |(at, label): (usize, String)| Ok((label, self.f32s(&format!("{name}.label{at}"), rows)?));
        labels.into_iter().enumerate().map(label).collect()
    }

    fn f32s(&self, name: &str, rows: usize) -> Result<Vec<f32>, DataError> {
        let values = self.read(name, Dtype::F32, f32::from_le_bytes)?;
        self.expect(name, "values", values.len(), rows)?;
        Ok(values)
    }

    fn flags<T>(&self, name: &str, rows: usize, of: fn(u8) -> Option<T>) -> Result<Vec<T>, DataError> {
        let bytes = self.bytes(name, Dtype::U8)?;
        self.expect(name, "values", bytes.len(), rows)?;
        let flags = bytes.iter().map(|&byte| of(byte)).collect::<Option<Vec<_>>>();
        flags.ok_or_else(|| self.corrupt(format!("column {name} holds a value that means nothing")))
    }

    fn interactions(
        &self,
        labels: Vec<String>,
        user_attributes: Vec<String>,
        item_attributes: Vec<String>,
    ) -> Result<Interactions, DataError> {
        let users = self.entities("users", user_attributes)?;
        let items = self.entities("items", item_attributes)?;
        let offsets = self.u64s("rows.offsets")?;
        let rows = ascending(&offsets).filter(|_| offsets.len() == users.len() + 1);
        let rows = rows.ok_or_else(|| self.corrupt("the offsets of the rows do not fit the users".into()))?;
        let rows = usize::try_from(rows).map_err(|_| self.corrupt("there are too many rows".into()))?;
        let mut behaviour = None;
        if self.has("rows.behaviour") {
            let names = self.vocabulary("rows.behaviour.names")?;
            let ids = self.flags("rows.behaviour", rows, Some)?;
            if ids.iter().any(|&id| usize::from(id) >= names.len()) {
                return Err(self.corrupt("a row has a behaviour without a name".into()));
            }
            behaviour = Some(Behaviours { names, ids });
        }
        let mut time = None;
        if self.has("rows.time") {
            let times = self.read("rows.time", Dtype::I64, i64::from_le_bytes)?;
            self.expect("rows.time", "values", times.len(), rows)?;
            time = Some(times);
        }
        let rows = Rows {
            item: self.ids("rows.item", rows, items.len())?,
            time,
            behaviour,
            labels: self.labels("rows", labels, rows)?,
            part: self.flags("rows.part", rows, part)?,
            in_history: self.flags("rows.inHistory", rows, |byte| (byte < 2).then_some(byte == 1))?,
            offsets,
        };
        if (0..rows.users()).any(|user| !rows.part[rows.of(user)].is_sorted()) {
            return Err(self.corrupt("the parts of a user go back in time".into()));
        }
        let sequences = Sequences::of_rows(&rows);
        Ok(Interactions { users, items, rows, sequences })
    }

    fn examples(
        &self,
        numeric: Vec<String>,
        categorical: Vec<String>,
        labels: Vec<String>,
    ) -> Result<Examples, DataError> {
        let rows = self.bytes("examples.part", Dtype::U8)?.len();
        let number = |(at, name): (usize, String)| {
            let scale = self.f32s(&format!("numeric{at}.scale"), 2)?;
            let values = self.f32s(&format!("numeric{at}"), rows)?;
            Ok(NumericColumn { name, values, mean: scale[0], deviation: scale[1] })
        };
        let category = |(at, name): (usize, String)| {
            let values = self.vocabulary(&format!("categorical{at}.values"))?;
            let ids = self.ids(&format!("categorical{at}"), rows, values.len())?;
            Ok(CategoricalColumn { name, ids, values })
        };
        Ok(Examples {
            numeric: numeric.into_iter().enumerate().map(number).collect::<Result<_, DataError>>()?,
            categorical: categorical.into_iter().enumerate().map(category).collect::<Result<_, DataError>>()?,
            labels: self.labels("examples", labels, rows)?,
            part: self.flags("examples.part", rows, part)?,
        })
    }
}

fn part(byte: u8) -> Option<Part> {
    Part::ALL.get(usize::from(byte)).copied()
}

/// The last of offsets that start at zero and ascend.
fn ascending<T: Copy + PartialOrd + Default>(offsets: &[T]) -> Option<T> {
    let starts = offsets.first() == Some(&T::default());
    offsets.last().copied().filter(|_| starts && offsets.is_sorted())
}

#[cfg(test)]
mod tests;
