//! Separated values to cells: CSV, TSV and the like, with or without a header.
//!
//! In: records. Out: cells; blanks around an unquoted value are dropped, an empty value is missing. A record with more or
//! fewer values than the header (without one: than the first record) is a bad row.

use std::io::BufRead;
use std::path::Path;

use recmesh_contract::config::Delimited;

use super::lines::MAX_LINE;
use super::records::{Found, Records};
use super::{Cell, Intake, places};
use crate::DataError;

/// Reads separated values.
pub(super) fn read(
    input: impl BufRead,
    path: &Path,
    format: &Delimited,
    wanted: &[&str],
    intake: &mut Intake<'_>,
) -> Result<(), DataError> {
    let separator = match format.separator.as_bytes() {
        &[byte] if !matches!(byte, b'"' | b'\n' | b'\r') => byte,
        _ => {
            return Err(DataError::Params {
                field: "separator",
                reason: format!("{:?} cannot separate values; give one ASCII character", format.separator),
            });
        }
    };
    let mut records = Records::new(input, separator, MAX_LINE);
    let mut columns: Option<(usize, Vec<usize>)> = None;
    loop {
        let found = records.next().map_err(|source| DataError::Read {
            path: path.to_path_buf(),
            line: records.line().saturating_sub(1),
            source,
        })?;
        let line = records.line();
        match found {
            None if columns.is_none() => return Err(DataError::Empty { path: path.to_path_buf() }),
            None => return Ok(()),
            Some(Found::Record) => {}
            Some(Found::TooLong) if columns.is_none() => {
                let reason = format!("the first line is longer than {MAX_LINE} bytes; is this a file of values?");
                return Err(DataError::Malformed { path: path.to_path_buf(), line, reason });
            }
            Some(Found::TooLong) => {
                intake.bad(line, format!("the line is longer than {MAX_LINE} bytes"));
                continue;
            }
            Some(Found::Unclosed) => {
                let reason = "a quote opens here and does not close; double the quotes inside quoted values".into();
                return Err(DataError::Malformed { path: path.to_path_buf(), line, reason });
            }
        }
        let Some((width, places)) = &columns else {
            let names = names(&records, path, format.header)?;
            columns = Some((names.len(), places(path, &names, wanted)?));
            if !format.header {
                take(&records, names.len(), &columns.as_ref().map_or(vec![], |(_, places)| places.clone()), intake);
            }
            continue;
        };
        take(&records, *width, places, intake);
    }
}

/// The columns' names: the header's, or their places.
fn names<R: BufRead>(records: &Records<R>, path: &Path, header: bool) -> Result<Vec<String>, DataError> {
    let name = |i: usize| {
        if !header {
            return Ok(i.to_string());
        }
        let (bytes, _) = records.field(i);
        std::str::from_utf8(bytes).map(|name| name.trim().to_owned()).map_err(|_| DataError::Malformed {
            path: path.to_path_buf(),
            line: records.line(),
            reason: format!("the name of column {} is not UTF-8; save the file as UTF-8", i + 1),
        })
    };
    (0..records.len()).map(name).collect()
}

/// Hands one record over.
fn take<R: BufRead>(records: &Records<R>, width: usize, places: &[usize], intake: &mut Intake<'_>) {
    let line = records.line();
    if records.len() != width {
        let blank = records.len() == 1 && records.field(0).0.iter().all(u8::is_ascii_whitespace);
        if !blank {
            intake.bad(line, format!("it has {} values instead of {width}", records.len()));
        }
        return;
    }
    let cell = |&place: &usize| {
        let (bytes, quoted) = records.field(place);
        let text = std::str::from_utf8(bytes).map_err(|_| format!("value {} is not UTF-8", place + 1))?;
        Ok(Cell::of_text(if quoted { text } else { text.trim() }))
    };
    match places.iter().map(cell).collect::<Result<Vec<_>, String>>() {
        Ok(cells) => intake.row(line, &cells),
        Err(reason) => intake.bad(line, reason),
    }
}
