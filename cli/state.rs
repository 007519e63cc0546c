//! The state folder: artifacts, the run's records, the address in use.
//!
//! `<state>/artifacts/…` · `<state>/recmesh.redb` · `<state>/address`. One process at a time writes it.

use std::path::Path;

use anyhow::{Context, Result};
use recmesh_store::{RunState, Store};

/// An open state folder.
pub struct State {
    /// Artifacts.
    pub store: Store,
    /// Reports and releases; held exclusively.
    pub records: RunState,
}

impl State {
    /// Opens the folder, making it when it is missing.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be written.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        let records = RunState::open(folder)?;
        let store = Store::open(&folder.join("artifacts"))?;
        Ok(Self { store, records })
    }

    /// Opens a folder that must be there already.
    ///
    /// # Errors
    /// When there is none, or another process holds it.
    pub fn existing(folder: &Path) -> Result<Self> {
        anyhow::ensure!(
            folder.is_dir(),
            "there is no state folder {}: `recmesh up` or `train` makes one",
            folder.display()
        );
        Self::open(folder)
    }
}
