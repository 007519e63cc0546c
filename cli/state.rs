//! The state folder: artifacts, the run's records, the address in use.
//!
//! `<state>/artifacts/…` · `<state>/run.redb` · `<state>/records.json` · `<state>/address`. One process at a time writes
//! it; the last two may be read at any time.

use std::path::Path;

use anyhow::{Context, Result};
use recmesh_store::{Records, RunState, Store};

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
        exists(folder)?;
        Self::open(folder)
    }
}

/// The records of a folder that must be there already, also while another process holds it.
///
/// # Errors
/// When there is none, or its records cannot be read.
pub fn records(folder: &Path) -> Result<Records> {
    exists(folder)?;
    Ok(Records::read(folder)?)
}

fn exists(folder: &Path) -> Result<()> {
    let shown = folder.display();
    anyhow::ensure!(folder.is_dir(), "there is no state folder {shown}: `recmesh up` or `train` makes one");
    Ok(())
}
