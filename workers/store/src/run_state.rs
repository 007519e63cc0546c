//! What a run remembers: reports and releases. In: small records. Out: the same after a restart or a kill.
//!
//! One redb file, `run.redb`; every `put` is one durable transaction. Exclusive: a second process is told who holds it.
//! Beside it `records.json` says the same to everybody who only reads, also while the state is held.
//! Nothing here decides anything, and artifacts are never in it: losing the files loses no work.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use recmesh_contract::{JobReport, JobState, Name, Release};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Result, StoreError,
    holder::{Holder, Holding},
    write_atomic,
};

const FILE: &str = "run.redb";
/// (kind, name) → report as JSON.
const REPORTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("reports");
/// pipeline → release as JSON.
const RELEASES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("releases");

/// What a run remembers, as anybody may read it at any time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Records {
    /// Every job's last report, by kind and name.
    pub reports: Vec<JobReport>,
    /// What each pipeline serves.
    pub releases: BTreeMap<Name, Release>,
}

impl Records {
    const FILE: &str = "records.json";

    /// Reads the records of `folder` as of the last change; empty where no run has been. Waits for nobody. A job that
    /// ran when its process was killed has failed: nobody works on it.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StoreError::io(&path, "read")(error)),
            Ok(bytes) => {
                let mut records: Self = serde_json::from_slice(&bytes).map_err(record(&path))?;
                if !Holder::lives(folder)? {
                    records.reports.iter_mut().for_each(interrupted);
                }
                Ok(records)
            }
        }
    }
}

fn interrupted(report: &mut JobReport) {
    if report.state == JobState::Running {
        report.state = JobState::Failed;
        report.message = Some("its process ended before it was done: start it again".to_owned());
    }
}

/// The state of a run; one process has it at a time.
#[derive(Debug)]
pub struct RunState {
    path: PathBuf,
    records: PathBuf,
    // Before the database, so that the record is gone before another process can hold the state.
    _holding: Holding,
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
        let records = folder.join(Records::FILE);
        let state = Self { path, records, _holding: Holding::take(folder)?, database };
        // A process may have been killed between its last change and this file.
        state.tell()?;
        Ok(state)
    }

    /// Keeps a job's report, replacing the earlier one of the same kind and name.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn put_report(&self, report: &JobReport) -> Result<()> {
        let write = self.database.begin_write().map_err(state(&self.path))?;
        let mut table = write.open_table(REPORTS).map_err(state(&self.path))?;
        let key = (report.kind.as_str(), report.name.as_str());
        table.insert(key, self.json(report)?.as_slice()).map_err(state(&self.path))?;
        drop(table);
        write.commit().map_err(state(&self.path))?;
        self.tell()
    }

    /// Every job's last report, by kind and name.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn reports(&self) -> Result<Vec<JobReport>> {
        self.all(REPORTS, |_, report| self.parse(report))
    }

    /// Keeps what each pipeline serves; pipelines that are not among them serve no longer.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn put_releases(&self, releases: &BTreeMap<Name, Release>) -> Result<()> {
        let write = self.database.begin_write().map_err(state(&self.path))?;
        let mut table = write.open_table(RELEASES).map_err(state(&self.path))?;
        table.retain(|_, _| false).map_err(state(&self.path))?;
        for (pipeline, release) in releases {
            table.insert(pipeline.as_str(), self.json(release)?.as_slice()).map_err(state(&self.path))?;
        }
        drop(table);
        write.commit().map_err(state(&self.path))?;
        self.tell()
    }

    /// What each pipeline serves.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn releases(&self) -> Result<BTreeMap<Name, Release>> {
        let rows = self.all(RELEASES, |pipeline, release| {
            let name = Name::new(pipeline).map_err(record(&self.path))?;
            Ok((name, self.parse(release)?))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Writes everything for those who only read.
    fn tell(&self) -> Result<()> {
        let records = Records { reports: self.reports()?, releases: self.releases()? };
        write_atomic(&self.records, &self.json(&records)?)
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
