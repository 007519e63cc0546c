//! What ranking models know of columns, items and users.
//!
//! In: columns of a data set. Out: buckets of numbers, bags of attributes, buckets of counts, each an index into an
//! embedding table. Everything a query needs beside its history is here and is saved with the model.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Buckets of counts: `⌊log₂(count + 1)⌋`, the last one open.
pub(super) const COUNT_BUCKETS: usize = 24;

/// A column of numbers, standardised by the data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NumericFeature {
    /// The column.
    pub name: String,
    /// Ascending; bucket `i` holds values from `boundaries[i − 1]` to below `boundaries[i]`.
    pub boundaries: Vec<f32>,
}

impl NumericFeature {
    /// Buckets at the quantiles of training values. Equal quantiles fall together, so that a column that is mostly zero
    /// keeps a bucket for zero and spends the others on the rest.
    #[must_use]
    pub fn fit(name: impl Into<String>, values: &[f32], buckets: usize) -> Self {
        let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let cut = |part: &[f32], from: usize| -> Vec<f32> {
            (from..buckets).filter_map(|i| part.get(part.len() * i / buckets)).copied().collect()
        };
        let mut boundaries = cut(&sorted, 1);
        // Where most values are equal, the few above the last cut would share one bucket: cut these at their own quantiles.
        let last = boundaries.last().copied().unwrap_or(f32::NEG_INFINITY);
        boundaries.extend(cut(&sorted[sorted.partition_point(|&v| v <= last)..], 0));
        boundaries.sort_by(f32::total_cmp);
        boundaries.dedup();
        boundaries.retain(|&b| b > sorted[0]);
        Self { name: name.into(), boundaries }
    }

    /// The bucket of a value: `0..=boundaries.len()`.
    #[must_use]
    pub fn bucket(&self, value: f32) -> u32 {
        self.boundaries.partition_point(|&b| b <= value) as u32
    }
}

/// Signed logarithm: keeps far outliers of heavy-tailed columns within a few units.
pub(super) fn squash(value: f32) -> f32 {
    value.abs().ln_1p().copysign(value)
}

/// A column of categories, or a column of attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CategoricalFeature {
    /// The column.
    pub name: String,
    /// Different values; ids are below it.
    pub size: u32,
}

/// One attribute of items or users: any number of values for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeTable {
    /// The attribute.
    pub name: String,
    /// Different values; ids are below it.
    pub size: u32,
    /// Values of entity `i` are `ids[offsets[i]..offsets[i + 1]]`; entities + 1 entries.
    pub offsets: Vec<u32>,
    /// Values.
    pub ids: Vec<u32>,
}

impl AttributeTable {
    /// The values of one entity; none for one beyond the table.
    #[must_use]
    pub fn of(&self, entity: u32) -> &[u32] {
        match self.offsets.get(entity as usize..) {
            Some(&[start, end, ..]) => &self.ids[start as usize..end as usize],
            _ => &[],
        }
    }

    /// The bags of some entities, `None` an empty one, in place of those that `bags` holds.
    pub(super) fn bags(&self, entities: impl Iterator<Item = Option<u32>>, bags: &mut Bags) {
        let Bags { ids, offsets } = bags;
        ids.clear();
        offsets.clear();
        offsets.push(0);
        for entity in entities {
            ids.extend_from_slice(entity.map_or(&[], |e| self.of(e)));
            offsets.push(ids.len() as u32);
        }
    }

    fn check(&self, entities: usize) -> Result<(), ModelError> {
        let ascending = self.offsets.windows(2).all(|w| w[0] <= w[1]);
        let ends = self.offsets.first() == Some(&0) && self.offsets.last().map(|&n| n as usize) == Some(self.ids.len());
        let known = self.ids.iter().all(|&id| id < self.size);
        if self.offsets.len() == entities + 1 && ascending && ends && known {
            return Ok(());
        }
        let what =
            format!("the table of attribute {:?} does not fit {entities} rows of ids below {}", self.name, self.size);
        Err(ModelError::Mismatch(what))
    }
}

/// Values of some entities: those of the `i`-th are `ids[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bags {
    pub ids: Vec<u32>,
    pub offsets: Vec<u32>,
}

/// What a model over interactions knows of items and users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InteractionFeatures {
    /// How often each item occurs in training; its length is the number of items.
    pub popularity: Vec<u32>,
    /// Attributes of items.
    pub item_attributes: Vec<AttributeTable>,
    /// Users.
    pub users: usize,
    /// Attributes of users.
    pub user_attributes: Vec<AttributeTable>,
}

impl InteractionFeatures {
    /// Items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.popularity.len()
    }

    /// That there are items, and that every table fits.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        if self.popularity.is_empty() {
            return Err(ModelError::Mismatch("there are no items to rank".into()));
        }
        self.item_attributes.iter().try_for_each(|a| a.check(self.items()))?;
        self.user_attributes.iter().try_for_each(|a| a.check(self.users))
    }
}

/// The bucket of a count.
pub(super) fn count_bucket(count: usize) -> u32 {
    ((count + 1).ilog2()).min(COUNT_BUCKETS as u32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_part_even_columns_evenly() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let feature = NumericFeature::fit("x", &values, 10);
        assert!(feature.boundaries.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(feature.bucket(-5.0), 0);
        assert_eq!(feature.bucket(99.0), 0);
        assert_eq!(feature.bucket(100.0), 1);
        assert!(feature.bucket(5000.0) as usize <= feature.boundaries.len());
    }

    #[test]
    fn mostly_zero_columns_keep_their_tail() {
        let values: Vec<f32> = (0..1000).map(|i| if i < 970 { 0.0 } else { i as f32 }).collect();
        let feature = NumericFeature::fit("gains", &values, 16);
        assert_eq!(feature.bucket(0.0), 0);
        assert!(feature.boundaries.len() > 10, "{:?}", feature.boundaries);
        assert!(feature.bucket(975.0) < feature.bucket(995.0));
    }

    #[test]
    fn hard_columns() {
        for values in [&[][..], &[f32::NAN], &[3.0, 3.0]] {
            let feature = NumericFeature::fit("x", values, 8);
            assert!(feature.boundaries.is_empty(), "{:?}", feature.boundaries);
            assert_eq!(feature.bucket(7.0), 0);
        }
    }

    #[test]
    fn counts_fall_into_powers_of_two() {
        assert_eq!([0, 1, 2, 3, 6, 7].map(count_bucket), [0, 1, 1, 2, 2, 3]);
        assert_eq!(count_bucket(usize::MAX - 1), COUNT_BUCKETS as u32 - 1);
    }

    #[test]
    fn tables_are_checked() {
        let table = AttributeTable { name: "genre".into(), size: 3, offsets: vec![0, 2, 2], ids: vec![0, 2] };
        assert!(table.check(2).is_ok());
        assert_eq!((table.of(0), table.of(1), table.of(9)), (&[0, 2][..], &[][..], &[][..]));
        let mut bags = Bags::default();
        for _ in 0..2 {
            table.bags([Some(0), None, Some(0)].into_iter(), &mut bags);
            assert_eq!(bags, Bags { ids: vec![0, 2, 0, 2], offsets: vec![0, 2, 2, 4] });
        }
        assert!(table.check(3).is_err());
        assert!(AttributeTable { size: 2, ..table.clone() }.check(2).is_err());
        assert!(AttributeTable { offsets: vec![0, 3, 2], ..table.clone() }.check(2).is_err());
        assert!(AttributeTable { offsets: vec![1, 2, 2], ..table }.check(2).is_err());
    }
}
