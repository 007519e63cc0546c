//! Records of separated values (RFC 4180): quoting, doubled quotes, line ends within quotes, bounded length.
//!
//! In: a buffered reader. Out: record after record as bytes by field, with the line it starts on. A quote counts only at
//! a field's start; what follows a closing quote belongs to the field. Lines end in `\n` or `\r\n`; empty lines are no
//! records. Never interprets a value.

use std::io::{self, BufRead};

/// What a record turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Fields are in place.
    Record,
    /// An unquoted record beyond the bound; it was skipped.
    TooLong,
    /// A quoted field that goes on beyond the bound, or to the end of the file.
    Unclosed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Field,
    Quoted,
    QuoteInQuoted,
}

/// A reader of records, with the fields of the last one.
pub(super) struct Records<R> {
    reader: R,
    separator: u8,
    bound: usize,
    bytes: Vec<u8>,
    /// Where each field ends, and whether it was quoted.
    ends: Vec<(usize, bool)>,
    /// The line on which the last record starts.
    start: u64,
    /// Line ends seen so far.
    lines: u64,
}

impl<R: BufRead> Records<R> {
    /// Records of at most `bound` bytes.
    pub(super) fn new(reader: R, separator: u8, bound: usize) -> Self {
        Self { reader, separator, bound, bytes: Vec::new(), ends: Vec::new(), start: 1, lines: 0 }
    }

    /// The line on which the last record starts, from 1.
    pub(super) fn line(&self) -> u64 {
        self.start
    }

    /// How many fields the last record has.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field of the last record, and whether it was quoted.
    pub(super) fn field(&self, i: usize) -> (&[u8], bool) {
        let from = if i == 0 { 0 } else { self.ends[i - 1].0 };
        let (end, quoted) = self.ends[i];
        (&self.bytes[from..end], quoted)
    }

    /// Reads the next record; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        let Self { reader, separator, bound, bytes, ends, start, lines } = self;
        bytes.clear();
        ends.clear();
        let (mut state, mut quoted, mut length) = (State::RecordStart, false, 0usize);
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(match state {
                    State::RecordStart => None,
                    State::Quoted => Some(Found::Unclosed),
                    _ if length > *bound => Some(Found::TooLong),
                    _ => {
                        close_last(bytes, ends, quoted, state);
                        Some(Found::Record)
                    }
                });
            }
            let mut used = 0;
            let mut done = false;
            for &byte in chunk {
                used += 1;
                if state == State::RecordStart {
                    if byte == b'\n' || byte == b'\r' {
                        *lines += u64::from(byte == b'\n');
                        continue;
                    }
                    *start = *lines + 1;
                    (state, quoted, length) = (State::FieldStart, false, 0);
                }
                length += 1;
                let keep = length <= *bound;
                match (state, byte) {
                    (State::FieldStart, b'"') => (state, quoted) = (State::Quoted, true),
                    (State::Quoted, b'"') => state = State::QuoteInQuoted,
                    (State::QuoteInQuoted, b'"') | (State::Quoted, _) => {
                        *lines += u64::from(byte == b'\n');
                        if !keep {
                            reader.consume(used);
                            return Ok(Some(Found::Unclosed));
                        }
                        bytes.push(byte);
                        state = State::Quoted;
                    }
                    (_, b'\n') => {
                        *lines += 1;
                        done = true;
                        break;
                    }
                    (_, byte) if byte == *separator => {
                        if keep {
                            ends.push((bytes.len(), quoted));
                        }
                        (state, quoted) = (State::FieldStart, false);
                    }
                    (_, byte) => {
                        if keep {
                            bytes.push(byte);
                        }
                        state = State::Field;
                    }
                }
            }
            reader.consume(used);
            if done {
                if length - 1 > *bound {
                    return Ok(Some(Found::TooLong));
                }
                close_last(bytes, ends, quoted, state);
                return Ok(Some(Found::Record));
            }
        }
    }

    /// How many bytes the buffers have room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(usize, bool)>()
    }
}

/// Ends the last field of a record, without the `\r` of a `\r\n`; a `\r` within quotes is the field's own.
fn close_last(bytes: &mut Vec<u8>, ends: &mut Vec<(usize, bool)>, quoted: bool, state: State) {
    let from = ends.last().map_or(0, |&(end, _)| end);
    if state == State::Field && bytes.len() > from && bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    ends.push((bytes.len(), quoted));
}
