//! Holds the catalog that serves while another is swapped in. In: whole catalogs. Out: one of them, never a mixture.

use std::sync::{Arc, PoisonError, RwLock};

use crate::Catalog;

/// A place for the current catalog. A reader keeps what it loaded for as long as its work lasts; the old map goes away
/// with its last reader.
#[derive(Debug)]
pub struct CatalogCell {
    current: RwLock<Arc<Catalog>>,
}

impl CatalogCell {
    /// Starts with `catalog`.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { current: RwLock::new(catalog) }
    }

    /// The catalog that is current now.
    #[must_use]
    pub fn load(&self) -> Arc<Catalog> {
        // Nothing can panic while the lock is held, so a poisoned lock still holds a whole catalog.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes `catalog` current and gives back the one that was.
    pub fn swap(&self, catalog: Arc<Catalog>) -> Arc<Catalog> {
        std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), catalog)
    }
}
