//! Who works in a run's folder: a small file beside the state, readable while the state is locked.
//!
//! In: the holding process tells its pid. Out: other processes read it. The record counts only while its lock is held,
//! so that a killed process leaves no false record.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    process,
};

use serde::{Deserialize, Serialize};

use crate::{Result, StoreError, write_atomic};

const RECORD: &str = "run.json";
const LOCK: &str = "run.lock";

/// The process that works in a run's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
}

impl Holder {
    /// Whether a living process holds `folder`.
    pub(crate) fn lives(folder: &Path) -> Result<bool> {
        let lock = folder.join(LOCK);
        let file = match File::open(&lock) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other.map_err(StoreError::io(&lock, "open"))?,
        };
        // Shared, so that two processes that look do not take each other for the holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(StoreError::io(&lock, "lock")(error)),
        }
    }

    /// The living holder of `folder`, where one has told.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        if !Self::lives(folder)? {
            return Ok(None);
        }
        let record = folder.join(RECORD);
        match fs::read(&record) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(&record, "read")(error)),
            // Written by another version, perhaps: then it tells nothing.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        }
    }
}

/// This process's record; goes away when dropped.
#[derive(Debug)]
pub struct Holding {
    record: PathBuf,
    _locked: File,
}

impl Holding {
    /// Takes the record; called only by the process that already holds the state's own lock.
    pub fn take(folder: &Path) -> Result<Self> {
        let (record, lock) = (folder.join(RECORD), folder.join(LOCK));
        // A record of a killed process goes before the lock comes, so that it never looks alive.
        match fs::remove_file(&record) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(StoreError::io(&record, "remove")(error)),
            _ => {}
        }
        let locked = File::options().create(true).append(true).open(&lock).map_err(StoreError::io(&lock, "open"))?;
        // Waits at most for a reader of the record, which is done at once.
        locked.lock().map_err(StoreError::io(&lock, "lock"))?;
        // A number always serializes.
        write_atomic(&record, &serde_json::to_vec(&Holder { pid: process::id() }).unwrap_or_default())?;
        Ok(Self { record, _locked: locked })
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.record);
    }
}
