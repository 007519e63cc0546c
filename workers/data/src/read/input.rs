//! Opening a file to stream it: gzip by its first bytes, byte-order mark dropped, progress told.
//!
//! In: a path. Out: a buffered reader over the text. Two buffers of fixed size are all the memory it takes, whatever the
//! file's length.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use recmesh_contract::{Progress, Reporter};

use crate::DataError;

/// Bytes of one buffer.
const BUFFER: usize = 64 * 1024;
/// Bytes between two steps of progress.
const STEP: u64 = 1 << 20;
/// The first bytes of a gzip stream (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Tells how many bytes of all files have been read.
pub(crate) struct Meter<'a> {
    reporter: &'a dyn Reporter,
    total: u64,
    done: Cell<u64>,
    told: Cell<u64>,
}

impl<'a> Meter<'a> {
    /// A meter over files of `total` bytes together.
    pub(crate) fn new(reporter: &'a dyn Reporter, total: u64) -> Self {
        Self { reporter, total, done: Cell::new(0), told: Cell::new(0) }
    }

    /// Adds bytes read.
    pub(crate) fn add(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        if self.done.get() - self.told.get() >= STEP {
            self.tell();
        }
    }

    /// Tells where things stand.
    pub(crate) fn tell(&self) {
        self.told.set(self.done.get());
        // A file that grows while it is read must not exceed the total.
        let total = self.total.max(self.done.get());
        let progress = Progress { step: "reading", done: self.done.get(), total, note: String::new() };
        self.reporter.progress(progress);
    }
}

/// Counts what is read through it.
struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.add(read as u64);
        Ok(read)
    }
}

/// Opens a file of text.
pub(super) fn open<'a>(path: &Path, meter: &'a Meter<'a>) -> Result<Box<dyn BufRead + 'a>, DataError> {
    let at = |source| DataError::Open { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(at)?;
    if file.metadata().map_err(at)?.is_dir() {
        return Err(at(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")));
    }
    let named_gzip = path.extension().is_some_and(|extension| extension == "gz");
    text(Metered { inner: file, meter }, named_gzip).map_err(|source| DataError::Read {
        path: path.to_path_buf(),
        line: 0,
        source,
    })
}

/// The text of a stream of bytes: unpacked where it is gzip, without a byte-order mark.
pub(super) fn text<'a>(bytes: impl Read + 'a, named_gzip: bool) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut bytes = BufReader::with_capacity(BUFFER, bytes);
    let gzip = bytes.fill_buf()?.starts_with(&GZIP);
    if named_gzip && !gzip {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its name ends in .gz, but it is no gzip stream"));
    }
    let mut text: Box<dyn BufRead + 'a> =
        if gzip { Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(bytes))) } else { Box::new(bytes) };
    if text.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        text.consume(3);
    }
    Ok(text)
}
