//! What items are clustered by: one vector an item.
//!
//! ```text
//! sequences ─► collaborative ┐
//! attributes, text ─► content ├─► Vectors (row i = item i)
//! .npy, .safetensors ─► file ┘
//! ```
//!
//! Collaborative and content vectors are rows of `U·√Σ` of a sparse matrix, scaled to length 1; an item about which
//! nothing is known has the zero vector. Vectors of a file are taken as they are. Never clusters.

mod collaborative;
mod content;
mod factorise;
mod file;
mod npy;
mod sparse;

pub use collaborative::collaborative;
pub use content::{ItemText, content};
pub use file::from_file;

use super::TokenizerError;

/// One vector an item, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Items.
    pub rows: usize,
    /// Length of a vector.
    pub cols: usize,
    /// `rows × cols` values.
    pub data: Vec<f32>,
}

impl Vectors {
    /// Item `i`'s vector.
    #[must_use]
    pub fn of(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// That there is at least one value, that the size fits, that every value is finite.
    pub(crate) fn check(&self) -> Result<(), TokenizerError> {
        if self.rows == 0 || self.cols == 0 {
            return Err(TokenizerError::NoItems);
        }
        if self.data.len() != self.rows * self.cols {
            let (found, expected) = (self.data.len(), self.rows * self.cols);
            return Err(TokenizerError::Shape { what: "item vectors", found, expected });
        }
        match self.data.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(TokenizerError::NotFinite { item: at / self.cols }),
            None => Ok(()),
        }
    }

    /// Scales every row but zero rows to length 1.
    pub(crate) fn normalise(&mut self) {
        for row in self.data.chunks_exact_mut(self.cols.max(1)) {
            let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
            }
        }
    }
}
