//! Sizes of a decoder and of a search, and whether there are kernels for them.
//!
//! In: numbers. Out: the same, or a sentence about the first that has no kernel. Knows no device.

use super::super::{CudaError, Precision};

/// Most levels, beams and dynamic shared memory of the kernels of a step.
const MOST_LEVELS: usize = 8;
const MOST_BEAMS: usize = 1024;
/// Columns of the widest row that a row-wise kernel holds in shared memory.
const WIDEST: usize = 160 * 1024 / 4;
/// Columns of activations in codes are a multiple of this.
const CODES: usize = 16;

/// Sizes of a decoder and of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// In what the layers multiply.
    pub precision: Precision,
    /// Columns of a row between layers.
    pub width: usize,
    /// Heads, `width / heads` wide each.
    pub heads: usize,
    /// Key heads of the context; each serves `heads / groups` heads.
    pub groups: usize,
    /// Columns of the gated unit.
    pub inner: usize,
    /// Layers: the slice of the context that each reads.
    pub slices: Vec<usize>,
    /// Whether the values of the context are its keys.
    pub shared: bool,
    /// Distances with a score of their own in cross-attention; 0: no scores.
    pub distances: usize,
    /// Codes of every level of an item's code.
    pub codes: Vec<usize>,
    /// Tokens of the longest context.
    pub context: usize,
    /// Beams.
    pub beams: usize,
    /// Embeddings are multiplied by it.
    pub scale: f32,
    /// Whether probabilities are taken over the children that exist only.
    pub renormalise: bool,
}

impl Shape {
    /// Columns of a head.
    #[must_use]
    pub fn head(&self) -> usize {
        self.width / self.heads.max(1)
    }

    /// Layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.slices.len()
    }

    /// Levels of an item's code.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.codes.len()
    }

    /// Slices of the context.
    #[must_use]
    pub fn slice_count(&self) -> usize {
        self.slices.iter().max().map_or(0, |most| most + 1)
    }

    /// Keys, or values, of a token in a slice.
    #[must_use]
    pub fn key_width(&self) -> usize {
        self.groups * self.head()
    }

    /// Whether the kernels can compute it.
    ///
    /// # Errors
    /// With the first size that has no kernel.
    pub fn check(&self) -> Result<(), CudaError> {
        let Self { width, heads, groups, inner, beams, context, .. } = *self;
        let no = |what: String| Err(CudaError::new("decoder", format!("no kernels for {what}")));
        if heads == 0 || !width.is_multiple_of(heads) || !matches!(width / heads, 64 | 128) {
            return no(format!("{heads} heads of {} columns; 64 and 128 have some", self.head()));
        }
        if groups == 0 || !heads.is_multiple_of(groups) {
            return no(format!("{groups} key heads under {heads} heads"));
        }
        if self.levels() == 0 || self.levels() > MOST_LEVELS {
            return no(format!("codes of {} levels; 1 to {MOST_LEVELS} have some", self.levels()));
        }
        if beams == 0 || beams > MOST_BEAMS {
            return no(format!("{beams} beams; 1 to {MOST_BEAMS} have some"));
        }
        if self.slices.is_empty() || context == 0 || self.codes.contains(&0) {
            return no("a decoder without layers, context or codes".to_owned());
        }
        if inner == 0 || !inner.is_multiple_of(CODES) || width.max(inner) > WIDEST {
            return no(format!("rows of {width} and {inner} columns; multiples of {CODES} up to {WIDEST} have some"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            precision: Precision::Bf16,
            width: 256,
            heads: 4,
            groups: 2,
            inner: 512,
            slices: vec![0, 0, 1],
            shared: false,
            distances: 5,
            codes: vec![16, 16],
            context: 50,
            beams: 128,
            scale: 16.0,
            renormalise: false,
        }
    }

    #[test]
    fn what_has_no_kernel_is_named() {
        assert_eq!(shape().check(), Ok(()));
        assert_eq!((shape().head(), shape().slice_count(), shape().key_width()), (64, 2, 128));
        assert_eq!(Shape { heads: 2, groups: 1, ..shape() }.check(), Ok(()));
        for (wrong, word) in [
            (Shape { heads: 8, ..shape() }, "8 heads of 32 columns"),
            (Shape { heads: 3, ..shape() }, "3 heads"),
            (Shape { heads: 0, ..shape() }, "0 heads"),
            (Shape { groups: 3, ..shape() }, "3 key heads"),
            (Shape { codes: vec![4; 9], ..shape() }, "9 levels"),
            (Shape { codes: vec![], ..shape() }, "0 levels"),
            (Shape { codes: vec![4, 0], ..shape() }, "without"),
            (Shape { beams: 1025, ..shape() }, "1025 beams"),
            (Shape { beams: 0, ..shape() }, "0 beams"),
            (Shape { context: 0, ..shape() }, "without"),
            (Shape { slices: vec![], ..shape() }, "without"),
            (Shape { inner: 8, ..shape() }, "8 columns"),
            (Shape { inner: 40_976, ..shape() }, "40976 columns"),
        ] {
            let told = wrong.check().unwrap_err().to_string();
            assert!(told.contains(word), "{told} does not name {word}");
        }
    }
}
