//! From a request's filters to the set of items that pass.
//!
//! For every key one of its values must fit. A value that no item has fits nothing; a key that no item has is a
//! caller's mistake and is named. Liveness is part of the set. Posting lists come from the catalog, so the cost is the
//! length of the lists and one pass over the bits for each key.

use std::{collections::BTreeMap, sync::Arc};

use recmesh_catalog::Catalog;
use recmesh_contract::{Class, Failure, Mask, reason};

/// Filters over one catalog.
pub(crate) struct Filter {
    /// Shared by all requests without filters.
    live: Option<Arc<Mask>>,
}

impl Filter {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        Self { live: catalog.live().cloned().map(Arc::new) }
    }

    /// The items that pass; `None` when every item does.
    pub(crate) fn allowed(
        &self,
        catalog: &Catalog,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<Option<Arc<Mask>>, Failure> {
        let mut allowed: Option<Vec<u64>> = None;
        for (key, values) in filters {
            if !catalog.has_attribute_key(key) {
                return Err(unknown(catalog, key));
            }
            let mut fits = Mask::none(catalog.len());
            for value in values {
                for &item in catalog.with_attribute(key, value).unwrap_or_default() {
                    fits.insert(item);
                }
            }
            allowed = Some(match allowed {
                Some(mut words) => {
                    words.iter_mut().zip(fits.words()).for_each(|(word, other)| *word &= other);
                    words
                }
                None => fits.words().to_vec(),
            });
        }
        let Some(mut words) = allowed else { return Ok(self.live.clone()) };
        if let Some(live) = &self.live {
            let live = live.words().iter().copied().chain(std::iter::repeat(0));
            words.iter_mut().zip(live).for_each(|(word, live)| *word &= live);
        }
        Ok(Some(Arc::new(Mask::from_words(words))))
    }
}

fn unknown(catalog: &Catalog, key: &str) -> Failure {
    let keys = catalog.attribute_keys();
    let known = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    let text = format!("filters.{key}: no item has this attribute; there are: {known}");
    Failure::new(Class::Invalid, reason::BAD_FIELD, text)
}
