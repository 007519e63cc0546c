//! Files that appear whole or not at all: a temporary neighbour, fsync, rename, fsync of the folder.
//!
//! In: a path and what to write. Out: the file under its name, surviving a crash of the machine. A failed or killed
//! write leaves the old file, and at most a hidden `.partial` neighbour.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::SectionError;

/// Writes `bytes` to `path`, replacing what was there in one step.
///
/// # Errors
/// When the folder does not exist, is full or is not writable; the error names the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), SectionError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Writes what `write` writes, replacing what was there in one step.
///
/// # Errors
/// The same, and when `write` fails.
pub fn write_atomic_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), SectionError> {
    let partial = partial_name(path);
    let mut file = File::create_new(&partial).map_err(SectionError::io(path, "create"))?;
    let written = write(&mut file)
        .and_then(|()| file.sync_all())
        .map_err(SectionError::io(path, "write"))
        .and_then(|()| fs::rename(&partial, path).map_err(SectionError::io(path, "rename into place")));
    if let Err(error) = written {
        // The write error is what matters; a partial file that cannot be removed is hidden and harmless.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    sync_folder(folder_of(path))
}

/// Makes sure that the names in a folder survive a crash of the machine.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), SectionError> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    match synced {
        // Some network file systems cannot sync folders; their renames are as durable as they make them.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other.map_err(SectionError::io(folder, "sync")),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn partial_name(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    folder_of(path).join(format!(".{name}.{}-{count}.partial", process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"old and long").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"old").unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = write_atomic_with(&path, |file| file.write_all(b"half").and(Err(full()))).unwrap_err();
        assert!(error.to_string().contains("a.json: cannot write"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let error = write_atomic(&folder.path().join("absent/b.json"), b"x").unwrap_err();
        assert!(error.to_string().contains("absent/b.json: cannot create"), "{error}");
    }

    #[test]
    fn a_folder_under_that_name_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"x").unwrap_err();
        assert!(error.to_string().contains("rename into place"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
