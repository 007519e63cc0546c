//! Lines of bounded length.
//!
//! In: a buffered reader. Out: line after line as text, without its end (`\n` or `\r\n`), with its number from 1; or the
//! reason why a line cannot be used. A line longer than the bound is skipped without being kept.

use std::io::{self, BufRead};

/// The longest line (and quoted record) in bytes. A user with a hundred thousand items fits.
pub(super) const MAX_LINE: usize = 4 << 20;

/// A reader of lines.
pub(super) struct Lines<R> {
    reader: R,
    bound: usize,
    buffer: Vec<u8>,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `bound` bytes.
    pub(super) fn new(reader: R, bound: usize) -> Self {
        Self { reader, bound, buffer: Vec::new(), line: 0 }
    }

    /// The number of the last line that was read whole.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The next line and its number; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Result<&str, String>)>> {
        self.buffer.clear();
        let mut length = 0usize;
        let mut ended = false;
        while !ended {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                if length == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(chunk.len());
            ended = end.is_some();
            if length + taken <= self.bound {
                self.buffer.extend_from_slice(&chunk[..taken]);
            }
            length += taken + usize::from(ended);
            self.reader.consume(taken + usize::from(ended));
        }
        self.line += 1;
        if length - usize::from(ended) > self.bound {
            return Ok(Some((self.line, Err(format!("the line is longer than {} bytes", self.bound)))));
        }
        let bytes = self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer);
        Ok(Some((self.line, std::str::from_utf8(bytes).map_err(|_| "the line is not UTF-8".to_owned()))))
    }

    /// How many bytes the buffer has room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
