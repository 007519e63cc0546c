//! Examples as columns: numbers as they are, categories as numbers of their own, labels as 0 and 1.
//!
//! In: cells `numeric…, categorical…, labels…` of one or more files. Out: [`Examples`], standardised by the train rows and
//! with the categories of the train rows. Parts must be known by then; validation and test rows shape nothing.

use recmesh_contract::config::{ExamplesSource, LabelColumn};

use super::Interner;
use crate::read::{Cell, Sink};
use crate::{CategoricalColumn, Examples, NumericColumn, Part};

/// A missing category, before the categories of the train rows are numbered.
const MISSING: u32 = u32::MAX;

/// The sink of files of examples.
pub(crate) struct ExampleColumns {
    numeric: Vec<(String, Vec<f32>)>,
    categorical: Vec<(String, Interner, Vec<u32>)>,
    labels: Vec<(LabelColumn, Vec<f32>)>,
    rows: usize,
    /// Numbers and labels of the row at hand.
    numbers: Vec<f32>,
}

impl ExampleColumns {
    /// A sink for the columns of a source.
    pub(crate) fn new(source: &ExamplesSource) -> Self {
        Self {
            numeric: source.numeric.iter().map(|name| (name.clone(), Vec::new())).collect(),
            categorical: source
                .categorical
                .iter()
                .map(|name| (name.clone(), Interner::default(), Vec::new()))
                .collect(),
            labels: source.labels.iter().map(|label| (label.clone(), Vec::new())).collect(),
            rows: 0,
            numbers: Vec::new(),
        }
    }

    /// The columns that cells must come from, in their order.
    pub(crate) fn wanted(source: &ExamplesSource) -> Vec<&str> {
        let labels = source.labels.iter().map(|label| &label.column);
        source.numeric.iter().chain(&source.categorical).chain(labels).map(String::as_str).collect()
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The columns as models take them.
    pub(crate) fn finish(self, part: Vec<Part>) -> Examples {
        let Self { numeric, categorical, labels, rows: _, numbers: _ } = self;
        Examples {
            numeric: numeric.into_iter().map(|(name, values)| standardised(name, values, &part)).collect(),
            categorical: categorical.into_iter().map(|(name, seen, ids)| numbered(name, &seen, ids, &part)).collect(),
            labels: labels.into_iter().map(|(label, values)| (label.name, values)).collect(),
            part,
        }
    }
}

impl Sink for ExampleColumns {
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), String> {
        let Self { numeric, categorical, labels, rows, numbers } = self;
        let (number_cells, rest) = cells.split_at(numeric.len());
        let (category_cells, label_cells) = rest.split_at(categorical.len());
        numbers.clear();
        for ((name, _), cell) in numeric.iter().zip(number_cells) {
            numbers.push(cell.number(name)?.map_or(f32::NAN, |number| number as f32));
        }
        for ((label, _), cell) in labels.iter().zip(label_cells) {
            numbers.push(label_of(label, cell)?);
        }
        let mut ids = Vec::with_capacity(category_cells.len());
        for ((name, seen, _), cell) in categorical.iter_mut().zip(category_cells) {
            ids.push(match cell {
                Cell::Missing => MISSING,
                _ => seen.intern(&cell.id(name)?).ok_or("there are more categories than numbers for them")?,
            });
        }
        let columns = numeric.iter_mut().map(|(_, values)| values).chain(labels.iter_mut().map(|(_, values)| values));
        for (column, &number) in columns.zip(numbers.iter()) {
            column.push(number);
        }
        for ((_, _, column), id) in categorical.iter_mut().zip(ids) {
            column.push(id);
        }
        *rows += 1;
        Ok(())
    }
}

fn label_of(label: &LabelColumn, cell: &Cell<'_>) -> Result<f32, String> {
    let column = &label.column;
    if let Some(positive) = &label.positive {
        let text = cell.id(column)?;
        return Ok(f32::from(u8::from(text.trim() == positive.trim())));
    }
    match cell.number(column)? {
        Some(0.0) => Ok(0.0),
        Some(1.0) => Ok(1.0),
        Some(other) => Err(format!("label {column} is {other}, not 0 or 1; `positive` names the text that means 1")),
        None => Err(format!("label {column} is empty")),
    }
}

fn standardised(name: String, mut values: Vec<f32>, part: &[Part]) -> NumericColumn {
    let train = || {
        let known = values.iter().zip(part).filter(|&(value, &of)| of == Part::Train && !value.is_nan());
        known.map(|(&value, _)| f64::from(value))
    };
    let count = train().count().max(1) as f64;
    let mean = train().sum::<f64>() / count;
    let variance = train().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    // A column of equal numbers has no scale; rounding must not invent one.
    let flat = variance.sqrt() <= 1e-12 * mean.abs();
    let deviation = if flat { 1.0 } else { variance.sqrt() };
    for value in &mut values {
        *value = if value.is_nan() { 0.0 } else { ((f64::from(*value) - mean) / deviation) as f32 };
    }
    NumericColumn { name, values, mean: mean as f32, deviation: deviation as f32 }
}

fn numbered(name: String, seen: &Interner, mut ids: Vec<u32>, part: &[Part]) -> CategoricalColumn {
    let mut number = vec![0u32; seen.len()];
    let mut values = vec![String::new()];
    let strings = seen.strings();
    for (&id, _) in ids.iter().zip(part).filter(|&(&id, &of)| of == Part::Train && id != MISSING) {
        if number[id as usize] == 0 {
            number[id as usize] = values.len() as u32;
            values.push(strings.get(id as usize).to_owned());
        }
    }
    for id in &mut ids {
        *id = if *id == MISSING { 0 } else { number[*id as usize] };
    }
    CategoricalColumn { name, ids, values }
}
