//! Files to rows of cells: one file a format, and one way out for all of them.
//!
//! ```text
//! path ─► input (gzip, byte-order mark, progress) ─► sequences │ recbole │ delimited │ json │ parquet ─► intake ─► sink
//! ```
//!
//! In: a file, its format and the columns that are wanted. Out: for each row the cells of those columns, in that order,
//! into an [`Intake`]. Formats differ only in parsing; what cells mean is the sink's matter. Nothing keeps more than one
//! row.

mod cell;
mod delimited;
mod input;
mod intake;
mod json_lines;
mod json_map;
mod lines;
mod parquet;
mod recbole;
mod records;
mod sequences;

use std::path::Path;

use recmesh_contract::config::{Delimited, EntityFormat, ExamplesFormat, Format};

pub(crate) use cell::Cell;
pub(crate) use input::Meter;
pub(crate) use intake::{BadRows, Intake, Sink};
pub(crate) use recbole::{Kind, header as recbole_header};

use crate::DataError;

/// The name of the one attribute of a JSON map of attributes.
pub(crate) const MAP_ATTRIBUTE: &str = "attribute";
/// The name of the ids of a JSON map of attributes.
pub(crate) const MAP_ID: &str = "id";

/// How a file of rows is written.
#[derive(Clone, Debug)]
pub(crate) enum RowFormat {
    /// A line a user; two columns, whatever is asked for: the user and the item.
    Sequences,
    /// RecBole atomic files.
    RecBole,
    /// Separated values.
    Delimited(Delimited),
    /// A JSON object a line.
    JsonLines,
    /// One JSON object; the columns are [`MAP_ID`] and [`MAP_ATTRIBUTE`].
    JsonMap,
    /// Apache Parquet.
    Parquet,
}

impl From<&Format> for RowFormat {
    fn from(format: &Format) -> Self {
        match format {
            Format::Sequences(_) => Self::Sequences,
            Format::RecBole(_) => Self::RecBole,
            Format::Delimited(delimited) => Self::Delimited(delimited.clone()),
            Format::JsonLines(_) => Self::JsonLines,
            Format::Parquet(_) => Self::Parquet,
        }
    }
}

impl From<&EntityFormat> for RowFormat {
    fn from(format: &EntityFormat) -> Self {
        match format {
            EntityFormat::RecBole(_) => Self::RecBole,
            EntityFormat::Delimited(delimited) => Self::Delimited(delimited.clone()),
            EntityFormat::JsonLines(_) => Self::JsonLines,
            EntityFormat::JsonMap(_) => Self::JsonMap,
            EntityFormat::Parquet(_) => Self::Parquet,
        }
    }
}

impl From<&ExamplesFormat> for RowFormat {
    fn from(format: &ExamplesFormat) -> Self {
        match format {
            ExamplesFormat::Delimited(delimited) => Self::Delimited(delimited.clone()),
            ExamplesFormat::JsonLines(_) => Self::JsonLines,
            ExamplesFormat::Parquet(_) => Self::Parquet,
        }
    }
}

/// Reads a file, handing the cells of `wanted` to the intake row by row.
///
/// # Errors
/// When the file cannot be read, is not of this format, or lacks a wanted column.
pub(crate) fn rows(
    path: &Path,
    format: &RowFormat,
    wanted: &[&str],
    meter: &Meter<'_>,
    intake: &mut Intake<'_>,
) -> Result<(), DataError> {
    if matches!(format, RowFormat::Parquet) {
        return parquet::read(path, wanted, meter, intake);
    }
    let input = input::open(path, meter)?;
    match format {
        RowFormat::Sequences => sequences::read(input, path, intake),
        RowFormat::RecBole => recbole::read(input, path, wanted, intake),
        RowFormat::Delimited(delimited) => delimited::read(input, path, delimited, wanted, intake),
        RowFormat::JsonLines => json_lines::read(input, path, wanted, intake),
        RowFormat::JsonMap => json_map::read(input, path, wanted, intake),
        RowFormat::Parquet => Ok(()),
    }
}

/// Where each wanted column stands among those that a file has.
fn places(path: &Path, there: &[String], wanted: &[&str]) -> Result<Vec<usize>, DataError> {
    let place = |&column: &&str| {
        there.iter().position(|name| name == column).ok_or_else(|| DataError::MissingColumn {
            path: path.to_path_buf(),
            column: column.to_owned(),
            there: there.to_vec(),
        })
    };
    wanted.iter().map(place).collect()
}

#[cfg(test)]
mod tests;
