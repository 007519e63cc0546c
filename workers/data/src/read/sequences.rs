//! Sequence text: `user item item …` a line, oldest first, separated by blanks.
//!
//! In: lines. Out: a row of two cells, user and item, for each item. A user may come back on a later line; its items
//! then follow those it has.

use std::io::BufRead;
use std::path::Path;

use super::lines::{Lines, MAX_LINE};
use super::{Cell, Intake};
use crate::DataError;

/// Reads sequence text.
pub(super) fn read(input: impl BufRead, path: &Path, intake: &mut Intake<'_>) -> Result<(), DataError> {
    let mut lines = Lines::new(input, MAX_LINE);
    loop {
        match lines.next() {
            Ok(None) => return Ok(()),
            Ok(Some((line, Err(reason)))) => intake.bad(line, reason),
            Ok(Some((line, Ok(text)))) => {
                let mut words = text.split_ascii_whitespace();
                let Some(user) = words.next() else { continue };
                let mut alone = true;
                for item in words {
                    alone = false;
                    intake.row(line, &[Cell::Token(user), Cell::Token(item)]);
                }
                if alone {
                    intake.bad(line, format!("user {user:?} has no item; a line is `user item item …`"));
                }
            }
            Err(source) => return Err(DataError::Read { path: path.to_path_buf(), line: lines.line(), source }),
        }
    }
}
