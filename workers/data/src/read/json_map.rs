//! A JSON map of attributes: one object, id to list of values.
//!
//! In: the object, streamed entry by entry. Out: rows of the columns `id` and `attribute`. The number of a bad row is
//! that of its entry, for such files are often a single line.

use std::fmt;
use std::io::BufRead;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Cell, Intake, MAP_ATTRIBUTE, MAP_ID, places};
use crate::DataError;

/// Reads a JSON map.
pub(super) fn read(
    input: impl BufRead,
    path: &Path,
    wanted: &[&str],
    intake: &mut Intake<'_>,
) -> Result<(), DataError> {
    let places = places(path, &[MAP_ID.into(), MAP_ATTRIBUTE.into()], wanted)?;
    let mut json = serde_json::Deserializer::from_reader(input);
    let whole = Entries { places: &places, intake }.deserialize(&mut json).and_then(|()| json.end());
    whole.map_err(|error| {
        if error.is_io() {
            let line = error.line().saturating_sub(1) as u64;
            return DataError::Read { path: path.to_path_buf(), line, source: error.into() };
        }
        let reason = format!("column {}: {error}; the file is one JSON object, id to list of values", error.column());
        DataError::Malformed { path: path.to_path_buf(), line: error.line() as u64, reason }
    })
}

/// Hands each entry over as it is parsed.
struct Entries<'a, 'b> {
    places: &'a [usize],
    intake: &'a mut Intake<'b>,
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of id to list of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut entry = 0;
        while let Some((id, value)) = map.next_entry::<String, Value>()? {
            entry += 1;
            let cells: Vec<_> = self
                .places
                .iter()
                .map(|&place| if place == 0 { Cell::of_text(&id) } else { Cell::of_json(&value) })
                .collect();
            if cells.contains(&Cell::Nested) {
                self.intake.bad(entry, format!("the values of {id:?} are no list of texts or numbers"));
            } else {
                self.intake.row(entry, &cells);
            }
        }
        Ok(())
    }
}
