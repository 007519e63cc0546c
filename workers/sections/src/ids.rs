//! Reverse look-up: from an id to its row, by an open-addressing table that lies in the file.
//!
//! In: the strings of a column. Out: `find(id)` in two cache misses, the slot and the text. A slot is 16 bytes: the
//! upper half of the id's hash above `row + 1` (0 when empty), then where the text lies, so that the column of offsets
//! is not read. Table length is a power of two, at most half full; collisions go to the next slot.
//! The hash is fixed (a file is read by other builds and machines) but seeded: ids that cluster make the writer take
//! the next seed, so that no probe exceeds [`MAX_PROBES`] in any file that opens.

use std::ops::Range;

use crate::{Column, SectionError, SectionFile, Strings, StringsWriter, Tag};

/// Longest run of slots a look-up walks. Half-full linear probing stays far below it.
const MAX_PROBES: usize = 256;
/// How many seeds the writer tries.
const SEEDS: u64 = 16;

/// Hash and row, then place; the first slot of a table holds the seed and nothing else.
type Slot = [u64; 2];

const EMPTY: Slot = [0; 2];
/// The part of a slot's first number that is the hash's.
const UPPER: u64 = 0xffff_ffff_0000_0000;
/// The part of a slot's second number that is the text's length; all ones for that and every greater length.
const LENGTH: u64 = 0xffff;

/// Two rows with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The row that has the id first.
    pub first: usize,
    /// The next row that has it too; equal to `first` when instead no seed spreads the ids, which only ids chosen to
    /// collide achieve.
    pub second: usize,
}

/// Builds the table over `ids`, to be written as a section of pairs of 64-bit numbers.
///
/// # Errors
/// When two rows have the same id.
pub fn build_id_index(ids: &StringsWriter) -> Result<Vec<[u64; 2]>, Duplicate> {
    let capacity = (ids.len() * 2).next_power_of_two().max(2);
    let mut clustered = 0;
    for seed in 0..SEEDS {
        let mut table = vec![EMPTY; capacity + 1];
        table[0] = [seed, 0];
        match fill(&mut table[1..], seed, ids)? {
            None => return Ok(table),
            Some(row) => clustered = row,
        }
    }
    Err(Duplicate { first: clustered, second: clustered })
}

/// Fills the slots; gives back a row that would need too long a probe.
fn fill(slots: &mut [Slot], seed: u64, ids: &StringsWriter) -> Result<Option<usize>, Duplicate> {
    let mask = slots.len() - 1;
    // Hashing ahead of placing keeps the random memory accesses independent of each other.
    let hashes: Vec<u64> = (0..ids.len()).map(|row| hash(seed, ids.get(row).as_bytes())).collect();
    for (row, &hash) in hashes.iter().enumerate() {
        let mut at = hash as usize & mask;
        let mut probes = 1;
        while slots[at] != EMPTY {
            let other = row_of(slots[at]);
            if hashes[other] == hash && ids.get(other) == ids.get(row) {
                return Err(Duplicate { first: other, second: row });
            }
            at = (at + 1) & mask;
            probes += 1;
            if probes > MAX_PROBES {
                return Ok(Some(row));
            }
        }
        slots[at] = [upper(hash) | (row as u64 + 1), place(ids.span(row))];
    }
    Ok(None)
}

/// A checked look-up table in an open file.
#[derive(Clone, Copy, Debug)]
pub struct IdIndex {
    slots: Column<Slot>,
    ids: Strings,
}

impl IdIndex {
    /// Finds and checks the table over the `rows` strings of `ids`: it finds every one of them at its own row.
    ///
    /// # Errors
    /// When the section is missing or does not do so.
    pub fn open(file: &SectionFile, tag: Tag, ids: Strings, rows: usize) -> Result<Self, SectionError> {
        let index = Self { slots: file.column(tag)?, ids };
        let table = file.get(index.slots);
        let wrong = |problem: String| Err(SectionError::section(file.path(), tag, problem));
        if table.len() < 3 || !(table.len() - 1).is_power_of_two() {
            return wrong(format!("{} slots are no look-up table", table.len()));
        }
        let true_to_its_row = |slot: Slot| row_of(slot) < rows && slot[1] == place(ids.span(file, row_of(slot)));
        if let Some(at) = table[1..].iter().position(|&slot| slot != EMPTY && !true_to_its_row(slot)) {
            return wrong(format!("slot {at} names no row of {rows}, or not where its text lies"));
        }
        match (0..rows).find(|&row| index.find(file, ids.get(file, row)) != Some(row as u32)) {
            Some(row) => wrong(format!("does not find row {row}, or two rows have its id")),
            None => Ok(index),
        }
    }

    /// The row of an id in the file that the table was opened in.
    #[must_use]
    pub fn find(&self, file: &SectionFile, id: &str) -> Option<u32> {
        let table = file.get(self.slots);
        let hash = hash(table[0][0], id.as_bytes());
        let (slots, texts) = (&table[1..], self.ids.bytes(file));
        let mask = slots.len() - 1;
        for step in 0..MAX_PROBES {
            let slot = slots[(hash as usize).wrapping_add(step) & mask];
            if slot == EMPTY {
                return None;
            }
            if slot[0] & UPPER == upper(hash) {
                let row = row_of(slot);
                let span = text_of(slot[1]).unwrap_or_else(|| self.ids.span(file, row));
                if &texts[span] == id.as_bytes() {
                    return Some(row as u32);
                }
            }
        }
        None
    }
}

fn upper(hash: u64) -> u64 {
    hash & UPPER
}

/// The row of a slot that is not empty; a row of the largest number for a lower half of zero, which no writer makes.
fn row_of(slot: Slot) -> usize {
    (slot[0] as u32).wrapping_sub(1) as usize
}

/// Where a text lies: 48 bits of its beginning, more than memory has, above its length.
fn place(text: Range<usize>) -> u64 {
    (text.start as u64) << 16 | (text.len() as u64).min(LENGTH)
}

/// Where the text of a place lies, unless it is too long for the place to say.
fn text_of(place: u64) -> Option<Range<usize>> {
    let (start, length) = ((place >> 16) as usize, place & LENGTH);
    (length != LENGTH).then(|| start..start + length as usize)
}

/// Multiply-and-fold over eight bytes at a time. Part of the file format: changing it needs a new format version.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut state = fold(seed ^ 0xd6e8_feb8_6659_fd93, ODD) ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = fold(state ^ u64::from_le_bytes(word), ODD).wrapping_add(ODD);
    }
    fold(state, 0xff51_afd7_ed55_8ccd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_frozen() {
        // These numbers are in files; they may never change under this format version.
        let got: Vec<u64> = ["", "1", "movie-27", "naïve ☃"].iter().map(|id| hash(3, id.as_bytes())).collect();
        assert_eq!(got, FROZEN, "{got:#x?}");
    }

    const FROZEN: [u64; 4] =
        [0x0ac2_cbdd_c4a9_522e, 0x15b7_79ae_b8ab_836c, 0x0d2d_f2a3_0583_0503, 0xd387_1ddd_7c05_9710];

    fn column(ids: impl IntoIterator<Item = String>) -> StringsWriter {
        let mut column = StringsWriter::default();
        ids.into_iter().for_each(|id| column.push(&id));
        column
    }

    #[test]
    fn places_tell_where_texts_lie() {
        for text in [0..0, 7..9, 1 << 40..(1 << 40) + 65_534] {
            assert_eq!(text_of(place(text.clone())), Some(text));
        }
        assert_eq!(text_of(place(5..5 + 65_535)), None);
        assert_eq!(text_of(place(5..5 + 70_000)), None);
    }

    #[test]
    fn names_the_two_rows_of_a_duplicate() {
        let ids = ["a", "b", "c", "b"].map(str::to_owned);
        assert_eq!(build_id_index(&column(ids)), Err(Duplicate { first: 1, second: 3 }));
    }

    #[test]
    fn probes_are_short_for_the_ids_that_data_sets_have() {
        for pattern in [|i: usize| i.to_string(), |i| format!("B{i:09}"), |i| format!("{:032x}", i * 7919)] {
            let table = build_id_index(&column((0..20_000).map(pattern))).unwrap();
            assert_eq!(table[0], EMPTY, "the first seed does");
            let longest = table[1..].split(|&slot| slot == EMPTY).map(<[Slot]>::len).max().unwrap();
            assert!(longest < 100, "{longest}");
        }
    }
}
