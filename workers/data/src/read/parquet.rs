//! Apache Parquet to cells, through the crate's row reader.
//!
//! In: a file and the wanted columns; only those are decoded. Out: cells; row numbers from 1. Memory is that of a few
//! pages a column. A value that no column can use (a map, a decimal) makes its row bad.

use std::borrow::Cow;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::{Cell, Intake, Meter, places};
use crate::DataError;

/// Rows between two steps of progress.
const STEP: u64 = 4096;

/// Reads a Parquet file.
pub(super) fn read(path: &Path, wanted: &[&str], meter: &Meter<'_>, intake: &mut Intake<'_>) -> Result<(), DataError> {
    let open = |source| DataError::Open { path: path.to_path_buf(), source };
    let malformed = |line: u64, error: ParquetError| DataError::Malformed {
        path: path.to_path_buf(),
        line,
        reason: format!("not a whole Parquet file: {error}"),
    };
    let file = File::open(path).map_err(open)?;
    let size = file.metadata().map_err(open)?.len();
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(|error| malformed(0, error))?;
    let schema = reader.metadata().file_metadata().schema();
    let there: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    places(path, &there, wanted)?;
    let kept = schema.get_fields().iter().filter(|field| wanted.contains(&field.name())).cloned().collect();
    let projection =
        Type::group_type_builder(schema.name()).with_fields(kept).build().map_err(|error| malformed(0, error))?;
    // Rows come in the order of the file's columns, which need not be that of the wanted ones.
    let order: Vec<String> = there.into_iter().filter(|name| wanted.contains(&name.as_str())).collect();
    let places = places(path, &order, wanted)?;
    let rows = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mut told = 0;
    let mut iterator = guarded(|| reader.get_row_iter(Some(projection))).map_err(|error| malformed(0, error))?;
    for number in 1.. {
        let row = guarded(|| iterator.next().transpose()).map_err(|error| malformed(number, error))?;
        let Some(row) = row else { break };
        take(number, &row, &places, intake);
        if number % STEP == 0 && number <= rows {
            let done = (size as u128 * u128::from(number) / u128::from(rows)) as u64;
            meter.add(done - told);
            told = done;
        }
    }
    meter.add(size - told);
    Ok(())
}

/// The crate panics on some files that are corrupt; to the caller that is one more way of not being Parquet. Nothing that
/// a panic may have left half done is used again.
fn guarded<T>(step: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let inconsistent = |_| Err(ParquetError::General("its parts contradict each other".into()));
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(inconsistent)
}

fn take(number: u64, row: &Row, places: &[usize], intake: &mut Intake<'_>) {
    let fields: Vec<(&String, &Field)> = row.get_column_iter().collect();
    let cells: Vec<_> = places.iter().map(|&place| cell(fields[place].1)).collect();
    match places.iter().zip(&cells).find(|&(_, cell)| *cell == Cell::Nested) {
        Some((&place, _)) => intake.bad(number, format!("{} holds what no column can use", fields[place].0)),
        None => intake.row(number, &cells),
    }
}

fn cell(field: &Field) -> Cell<'_> {
    match field {
        Field::Null => Cell::Missing,
        Field::Bool(yes) => Cell::Integer(i64::from(*yes)),
        Field::Byte(whole) => Cell::Integer(i64::from(*whole)),
        Field::Short(whole) => Cell::Integer(i64::from(*whole)),
        Field::Int(whole) | Field::Date(whole) | Field::TimeMillis(whole) => Cell::Integer(i64::from(*whole)),
        Field::Long(whole)
        | Field::TimeMicros(whole)
        | Field::TimestampMillis(whole)
        | Field::TimestampMicros(whole) => Cell::Integer(*whole),
        Field::UByte(whole) => Cell::Integer(i64::from(*whole)),
        Field::UShort(whole) => Cell::Integer(i64::from(*whole)),
        Field::UInt(whole) => Cell::Integer(i64::from(*whole)),
        Field::ULong(whole) => {
            i64::try_from(*whole).map_or_else(|_| Cell::Text(Cow::Owned(whole.to_string())), Cell::Integer)
        }
        Field::Float16(number) => Cell::Number(number.to_f64()),
        Field::Float(number) => Cell::Number(f64::from(*number)),
        Field::Double(number) => Cell::Number(*number),
        Field::Str(text) => Cell::of_text(text),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_or(Cell::Nested, Cell::of_text),
        Field::ListInternal(list) => {
            let texts = list.elements().iter().map(|element| cell(element).text().map(Cow::into_owned));
            texts.collect::<Option<Vec<_>>>().map_or(Cell::Nested, Cell::List)
        }
        _ => Cell::Nested,
    }
}
