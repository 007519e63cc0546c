//! A sparse matrix of items × items with positive values, row by row: what counting models are made of.
//!
//! In: rows in order, or the arrays of a saved model. Out: a row's columns and values. Columns of a row ascend.

use crate::ModelError;
use crate::weights::{Arrays, Values};

/// Rows of `(column, value)` pairs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sparse {
    offsets: Vec<u64>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Sparse {
    /// No rows yet.
    pub(super) fn new() -> Self {
        Self { offsets: vec![0], columns: Vec::new(), values: Vec::new() }
    }

    /// Adds the next row; columns ascend.
    pub(super) fn push_row(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        for (column, value) in row {
            self.columns.push(column);
            self.values.push(value);
        }
        self.offsets.push(self.columns.len() as u64);
    }

    /// A row's columns and values; a row that does not exist is empty.
    pub(super) fn row(&self, row: u32) -> impl Iterator<Item = (u32, f32)> {
        let row = row as usize;
        let range = match self.offsets.get(row..row + 2) {
            Some(ends) => ends[0] as usize..ends[1] as usize,
            None => 0..0,
        };
        self.columns[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }

    /// The arrays to save.
    pub(super) fn arrays(&self) -> [(&'static str, Values); 3] {
        [
            ("offsets", Values::U64(self.offsets.clone())),
            ("columns", Values::U32(self.columns.clone())),
            ("values", Values::F32(self.values.clone())),
        ]
    }

    /// Takes the arrays of a saved matrix of `items` rows and columns, and checks them.
    pub(super) fn load(mut arrays: Arrays, items: usize) -> Result<Self, ModelError> {
        let (offsets, columns, values) = (arrays.u64("offsets")?, arrays.u32("columns")?, arrays.f32("values")?);
        let ascending = offsets.first() == Some(&0) && offsets.is_sorted();
        if offsets.len() != items + 1 || !ascending || offsets.last() != Some(&(columns.len() as u64)) {
            return Err(arrays.corrupt(format!("offsets do not divide {} entries into {items} rows", columns.len())));
        }
        if columns.len() != values.len() {
            let reason = format!("{} columns for {} values", columns.len(), values.len());
            return Err(arrays.corrupt(reason));
        }
        if let Some(column) = columns.iter().find(|&&c| c as usize >= items) {
            return Err(arrays.corrupt(format!("column {column} is no item of {items}")));
        }
        Ok(Self { offsets, columns, values })
    }
}
