//! JSON lines: an object a line.
//!
//! In: lines. Out: cells by key. A key that a line does not have is a missing value there; a wanted key that no line has
//! is an error, naming the keys of the first line.

use std::io::BufRead;
use std::path::Path;

use serde_json::{Map, Value};

use super::lines::{Lines, MAX_LINE};
use super::{Cell, Intake};
use crate::DataError;

/// Reads JSON lines.
pub(super) fn read(
    input: impl BufRead,
    path: &Path,
    wanted: &[&str],
    intake: &mut Intake<'_>,
) -> Result<(), DataError> {
    let mut lines = Lines::new(input, MAX_LINE);
    let mut first: Option<Vec<String>> = None;
    let mut seen = vec![false; wanted.len()];
    loop {
        match lines.next() {
            Ok(None) => break,
            Ok(Some((line, Err(reason)))) => intake.bad(line, reason),
            Ok(Some((_, Ok(text)))) if text.trim().is_empty() => {}
            Ok(Some((line, Ok(text)))) => match serde_json::from_str::<Map<String, Value>>(text) {
                Err(error) => intake.bad(line, format!("column {}: {}", error.column(), plain(&error))),
                Ok(object) => {
                    if first.is_none() {
                        first = Some(object.keys().cloned().collect());
                    }
                    let cell = |(&key, seen): (&&str, &mut bool)| match object.get(key) {
                        None => Cell::Missing,
                        Some(value) => {
                            *seen = true;
                            Cell::of_json(value)
                        }
                    };
                    let cells: Vec<_> = wanted.iter().zip(&mut seen).map(cell).collect();
                    intake.row(line, &cells);
                }
            },
            Err(source) => return Err(DataError::Read { path: path.to_path_buf(), line: lines.line(), source }),
        }
    }
    match (wanted.iter().zip(&seen).find(|&(_, &seen)| !seen), first) {
        (Some((column, _)), Some(there)) => {
            Err(DataError::MissingColumn { path: path.to_path_buf(), column: (*column).to_owned(), there })
        }
        _ => Ok(()),
    }
}

/// The message without the line and column that serde_json counts within the one line.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
