//! Where readers put rows, and where bad rows are counted.
//!
//! In: cells by row from a reader. Out: the same to a sink, which keeps what it can use; the reasons for the rest. One
//! bad row never stops a file; too many of them do, at its end.

use std::path::Path;

use super::Cell;
use crate::{BadRow, DataError, SHOWN_BAD_ROWS};

/// Keeps rows.
pub(crate) trait Sink {
    /// Takes one row: the cells of the wanted columns, in their order. A row that is refused must leave no trace.
    ///
    /// # Errors
    /// Why the row is bad.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), String>;
}

/// Counts bad rows over all files of a data set.
#[derive(Clone, Debug, Default)]
pub(crate) struct BadRows {
    pub(crate) count: u64,
    pub(crate) first: Vec<BadRow>,
}

/// The way from a reader to a sink, for one file.
pub(crate) struct Intake<'a> {
    sink: &'a mut dyn Sink,
    file: String,
    rows: u64,
    bad: BadRows,
}

impl<'a> Intake<'a> {
    /// An intake for one file; `path` is what messages call it.
    pub(crate) fn new(path: &Path, sink: &'a mut dyn Sink) -> Self {
        let file = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        Self { sink, file, rows: 0, bad: BadRows::default() }
    }

    /// Takes a row that the format could read.
    pub(crate) fn row(&mut self, line: u64, cells: &[Cell<'_>]) {
        match self.sink.row(cells) {
            Ok(()) => self.rows += 1,
            Err(reason) => self.bad(line, reason),
        }
    }

    /// Takes a row that could not be read.
    pub(crate) fn bad(&mut self, line: u64, reason: String) {
        self.rows += 1;
        self.bad.count += 1;
        if self.bad.first.len() < SHOWN_BAD_ROWS {
            self.bad.first.push(BadRow { file: self.file.clone(), line, reason });
        }
    }

    /// Ends the file: adds its bad rows to those of the data set.
    ///
    /// # Errors
    /// When the file has no usable row, or a larger share of bad rows than `allowed`.
    pub(crate) fn end(self, path: &Path, allowed: f64, total: &mut BadRows) -> Result<(), DataError> {
        let Self { rows, bad, .. } = self;
        if rows == 0 {
            return Err(DataError::Empty { path: path.to_path_buf() });
        }
        // Rows fit a float exactly as far as anybody can store them.
        if bad.count == rows || bad.count as f64 > allowed * rows as f64 {
            let shown = bad.first;
            return Err(DataError::TooManyBadRows { path: path.to_path_buf(), bad: bad.count, rows, allowed, shown });
        }
        total.count += bad.count;
        let room = SHOWN_BAD_ROWS - total.first.len();
        total.first.extend(bad.first.into_iter().take(room));
        Ok(())
    }
}
