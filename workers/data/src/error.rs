//! Why a data set could not be read, planted, saved or loaded.
//!
//! Every message names the file (and line and column where there is one) and what to do about it. A row that can be left
//! out is no error: it is a bad row, and becomes one only when there are too many of them.

use std::path::PathBuf;

use crate::BadRow;

/// Why a data set could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be opened.
    #[error("cannot open {}: {source}; paths are relative to the data set's folder, which --data NAME=PATH gives", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be read to its end: a disk fault, or a gzip stream that is cut short or corrupt.
    #[error("cannot read {}{}: {source}", path.display(), beyond(*line))]
    Read {
        /// The file.
        path: PathBuf,
        /// The last line that was read whole; 0 where there is none.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The path of a manifest leaves the data set's folder.
    #[error("path {path:?} leaves the data set's folder; give a path below it, and the folder with --data NAME=PATH")]
    Outside {
        /// The path as declared.
        path: String,
    },
    /// The file is not what its format says.
    #[error("{}{}: {reason}", path.display(), at(*line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where it is the file as a whole.
        line: u64,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A declared column is not in the file.
    #[error("{}: there is no column {column:?}; the columns are {}", path.display(), there.join(", "))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column that was looked for.
        column: String,
        /// The columns that the file has.
        there: Vec<String>,
    },
    /// No row could be used.
    #[error("{}: there is no row in it; the data set would be empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// More rows are bad than the data set allows.
    #[error(
        "{}: {bad} of {rows} rows are bad, more than maxBadRows {allowed} allows; the first: {}",
        path.display(),
        shown.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    TooManyBadRows {
        /// The file.
        path: PathBuf,
        /// Bad rows.
        bad: u64,
        /// All rows.
        rows: u64,
        /// The largest share allowed.
        allowed: f64,
        /// The first bad rows.
        shown: Vec<BadRow>,
    },
    /// The parameters do not fit each other or the data.
    #[error("{field}: {reason}")]
    Params {
        /// The field of the data set's manifest.
        field: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A saved data set is not whole.
    #[error("{} is not a whole saved data set: {reason}; prepare the data set again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn beyond(line: u64) -> String {
    if line == 0 { String::new() } else { format!(" beyond line {line}") }
}

fn at(line: u64) -> String {
    if line == 0 { String::new() } else { format!(":{line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_where_there_is_one() {
        let (path, reason) = (PathBuf::from("a.parquet"), "cut short".to_owned());
        for (line, told) in [(0, "a.parquet: cut short"), (7, "a.parquet:7: cut short")] {
            let error = DataError::Malformed { path: path.clone(), line, reason: reason.clone() };
            assert_eq!(error.to_string(), told);
        }
        for (line, told) in [(0, "cannot read a.parquet: gone"), (7, "cannot read a.parquet beyond line 7: gone")] {
            let error = DataError::Read { path: path.clone(), line, source: std::io::Error::other("gone") };
            assert_eq!(error.to_string(), told);
        }
    }
}
