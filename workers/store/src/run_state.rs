//! What a run remembers: reports, releases, digests of files already read. In: small records. Out: the same after a
//! restart or a kill.
//!
//! One redb file, `run.redb`; every `put` is one durable transaction. Exclusive: a second process is told who holds it.
//! Nothing here decides anything, and artifacts are never in it: losing the file loses no work.

use std::{
    fs,
    io::ErrorKind,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use recmesh_contract::{JobReport, Name, Release};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Result, StoreError,
    holder::{Holder, Holding},
};

const FILE: &str = "run.redb";
/// (kind, name) → report as JSON.
const REPORTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("reports");
/// pipeline → release as JSON.
const RELEASES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("releases");
/// path → (bytes, nanoseconds since 1970 of the last change, SHA-256).
const DIGESTS: TableDefinition<'_, &[u8], (u64, u64, &str)> = TableDefinition::new("digests");

/// The state of a run; one process has it at a time.
#[derive(Debug)]
pub struct RunState {
    path: PathBuf,
    // Before the database, so that the record is gone before another process can hold the state.
    holding: Holding,
    database: Database,
}

impl RunState {
    /// Opens the state in `folder`, which is made if needed, and takes it for this process.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another process has it; [`StoreError::State`] when the file is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(StoreError::io(folder, "create"))?;
        let path = folder.join(FILE);
        // redb panics on some damaged files, most of all in debug builds; here, where a file is first read, that is an
        // error like any other. Its integrity check then finds what opening does not touch.
        let opened = catch_unwind(|| {
            let mut database = Database::create(&path)?;
            database.check_integrity()?;
            Ok(database)
        });
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
                let pid = Holder::read(folder)?.map(|holder| holder.pid);
                return Err(StoreError::Held { folder: folder.to_owned(), pid });
            }
            Ok(Err(error)) => return Err(state(&path)(error)),
            Err(_) => return Err(StoreError::State { path, problem: "the database is damaged".into() }),
        };
        Ok(Self { path, holding: Holding::take(folder)?, database })
    }

    /// The process that has the state of `folder` now and where it listens; `None` when none has it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn holder(folder: &Path) -> Result<Option<Holder>> {
        Holder::read(folder)
    }

    /// Keeps a job's report, replacing the earlier one of the same kind and name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn put_report(&self, report: &JobReport) -> Result<()> {
        self.put(REPORTS, (report.kind.as_str(), report.name.as_str()), self.json(report)?.as_slice())
    }

    /// Every job's last report, by kind and name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn reports(&self) -> Result<Vec<JobReport>> {
        self.all(REPORTS, |_, report| self.parse(report))
    }

    /// Keeps the release that a pipeline serves.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn put_release(&self, pipeline: &Name, release: &Release) -> Result<()> {
        self.put(RELEASES, pipeline.as_str(), self.json(release)?.as_slice())
    }

    /// Every pipeline's release, by pipeline.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn releases(&self) -> Result<Vec<(Name, Release)>> {
        self.all(RELEASES, |pipeline, release| {
            let name = Name::new(pipeline).map_err(record(&self.path))?;
            Ok((name, self.parse(release)?))
        })
    }

    /// Remembers the SHA-256 of a file that had this length and time of change.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn put_digest(&self, path: &Path, size: u64, modified: SystemTime, sha256: &str) -> Result<()> {
        self.put(DIGESTS, path.as_os_str().as_encoded_bytes(), (size, nanoseconds(modified), sha256))
    }

    /// The remembered SHA-256, unless the file has changed its length or its time of change since.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_digest(&self, path: &Path, size: u64, modified: SystemTime) -> Result<Option<String>> {
        let read = self.database.begin_read().map_err(state(&self.path))?;
        let table = match read.open_table(DIGESTS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other.map_err(state(&self.path))?,
        };
        let found = table.get(path.as_os_str().as_encoded_bytes()).map_err(state(&self.path))?;
        Ok(found.and_then(|entry| {
            let (size_then, modified_then, sha256) = entry.value();
            (size_then == size && modified_then == nanoseconds(modified)).then(|| sha256.to_owned())
        }))
    }

    /// Tells other processes where this one listens; see [`RunState::holder`].
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put_address(&self, address: &str) -> Result<()> {
        self.holding.change(|holder| holder.address = Some(address.to_owned()))
    }

    /// Where this process listens, once it has told.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        self.holding.holder().address
    }

    fn put<K: redb::Key, V: redb::Value>(
        &self,
        table: TableDefinition<'_, K, V>,
        key: K::SelfType<'_>,
        value: V::SelfType<'_>,
    ) -> Result<()> {
        let write = self.database.begin_write().map_err(state(&self.path))?;
        let mut open = write.open_table(table).map_err(state(&self.path))?;
        open.insert(key, value).map_err(state(&self.path))?;
        drop(open);
        write.commit().map_err(state(&self.path))
    }

    fn all<K: redb::Key, V: redb::Value, T>(
        &self,
        table: TableDefinition<'_, K, V>,
        mut read_row: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let read = self.database.begin_read().map_err(state(&self.path))?;
        let table = match read.open_table(table) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            other => other.map_err(state(&self.path))?,
        };
        let mut rows = Vec::new();
        for row in table.iter().map_err(state(&self.path))? {
            let (key, value) = row.map_err(state(&self.path))?;
            rows.push(read_row(key.value(), value.value())?);
        }
        Ok(rows)
    }

    fn json(&self, value: &impl Serialize) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(record(&self.path))
    }

    fn parse<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T> {
        serde_json::from_slice(json).map_err(record(&self.path))
    }
}

/// A full disk or a missing permission is told as such; everything else means that the file is damaged.
fn state<E: Into<redb::Error>>(path: &Path) -> impl Fn(E) -> StoreError {
    let path = path.to_owned();
    move |error| match error.into() {
        redb::Error::Io(source) if !matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            StoreError::Io { path: path.clone(), verb: "read or write", source }
        }
        error => StoreError::State { path: path.clone(), problem: error.to_string() },
    }
}

fn record<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::State { path: path.clone(), problem: format!("a record is unreadable: {error}") }
}

/// Since 1970; times before and far beyond count as those borders, which is as good for telling times apart.
fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
