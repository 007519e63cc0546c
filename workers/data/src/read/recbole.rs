//! RecBole atomic files (`.inter`, `.user`, `.item`): tab-separated, with a typed header `name:type`.
//!
//! In: lines. Out: cells by the header's types: `token` is one value, `token_seq` and `float_seq` several separated by
//! blanks, `float` a number. There is no quoting in this format.

use std::io::BufRead;
use std::path::Path;

use super::lines::{Lines, MAX_LINE};
use super::{Cell, Intake, Meter, input, places};
use crate::DataError;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One value.
    Token,
    /// Several values.
    Sequence,
    /// A number.
    Float,
}

/// The names and types of a file's columns, from its header alone.
pub(crate) fn header(path: &Path) -> Result<Vec<(String, Kind)>, DataError> {
    let meter = Meter::new(&recmesh_contract::Silent, 0);
    first_line(&mut Lines::new(input::open(path, &meter)?, MAX_LINE), path)
}

/// Reads a RecBole atomic file.
pub(super) fn read(
    input: impl BufRead,
    path: &Path,
    wanted: &[&str],
    intake: &mut Intake<'_>,
) -> Result<(), DataError> {
    let mut lines = Lines::new(input, MAX_LINE);
    let (names, kinds): (Vec<_>, Vec<_>) = first_line(&mut lines, path)?.into_iter().unzip();
    let places = places(path, &names, wanted)?;
    loop {
        match lines.next() {
            Ok(None) => return Ok(()),
            Ok(Some((line, Err(reason)))) => intake.bad(line, reason),
            Ok(Some((_, Ok("")))) => {}
            Ok(Some((line, Ok(text)))) => {
                let fields: Vec<&str> = text.split('\t').map(str::trim).collect();
                if fields.len() != names.len() {
                    intake.bad(line, format!("it has {} values, the header has {}", fields.len(), names.len()));
                    continue;
                }
                let cell = |&place: &usize| match (fields[place], kinds[place]) {
                    ("", _) => Cell::Missing,
                    (text, Kind::Sequence) => Cell::of_text(text),
                    (text, Kind::Token | Kind::Float) => Cell::Token(text),
                };
                let cells: Vec<_> = places.iter().map(cell).collect();
                intake.row(line, &cells);
            }
            Err(source) => return Err(DataError::Read { path: path.to_path_buf(), line: lines.line(), source }),
        }
    }
}

fn first_line<R: BufRead>(lines: &mut Lines<R>, path: &Path) -> Result<Vec<(String, Kind)>, DataError> {
    let malformed = |reason: String| DataError::Malformed { path: path.to_path_buf(), line: 1, reason };
    let line = lines.next().map_err(|source| DataError::Read { path: path.to_path_buf(), line: 0, source })?;
    let (_, text) = line.ok_or_else(|| DataError::Empty { path: path.to_path_buf() })?;
    let column = |field: &str| {
        let (name, kind) = field.trim().rsplit_once(':').ok_or_else(|| {
            malformed(format!("column {field:?} has no type; a RecBole header is `user_id:token`, tab-separated"))
        })?;
        let kind = match kind {
            "token" => Kind::Token,
            "token_seq" | "float_seq" => Kind::Sequence,
            "float" => Kind::Float,
            _ => {
                return Err(malformed(format!(
                    "column {name:?} has the type {kind:?}; there are token, token_seq, float, float_seq"
                )));
            }
        };
        Ok((name.to_owned(), kind))
    };
    text.map_err(malformed)?.split('\t').map(column).collect()
}
