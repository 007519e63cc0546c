//! The store that `--store` names: a folder, or an object store with the folder of `--cache` in front of it.
//!
//! In: the two arguments; for an object store also the environment, since that is where a Secret's keys arrive. Out: an
//! open store. What no other try can mend is a wrong argument.

use std::{env, io::ErrorKind, path::Path};

use anyhow::Result;
use recmesh_store::{Bucket, Place, Store, StoreError};

use crate::console::Wrong;

/// Reads `--store`.
///
/// # Errors
/// When it is a URI that names no place.
pub fn place(store: &Path) -> Result<Place, Wrong> {
    Place::parse(store).map_err(|error| Wrong(format!("--store: {error}")))
}

/// Opens an object store.
///
/// # Errors
/// When this program has none, its settings are wrong, or the cache cannot be written.
pub fn bucket(bucket: &Bucket, cache: &Path) -> Result<Store> {
    let settings =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Store::open_bucket(bucket, settings, cache).map_err(|error| match &error {
        StoreError::NoObjectStores { .. } => Wrong(format!("--store: {error}")).into(),
        StoreError::Io { source, .. } if source.kind() == ErrorKind::InvalidInput => Wrong(error.to_string()).into(),
        _ => anyhow::Error::new(error).context("the cache cannot be used: give --cache a folder that may be written"),
    })
}
