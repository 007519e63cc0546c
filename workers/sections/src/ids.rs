//! Reverse look-up: from an id to its row, by an open-addressing table that lies in the file.
//!
//! In: the strings of a column. Out: `find(id)` in one or two cache misses. A slot is 0 when empty, else the upper half
//! of the id's hash above `row + 1`. Table length is a power of two, at most half full; collisions go to the next slot.
//! The hash is fixed (a file is read by other builds and machines) but seeded: ids that cluster make the writer take
//! the next seed, so that no probe exceeds [`MAX_PROBES`] in any file that opens.

use crate::{Column, SectionError, SectionFile, Strings, Tag};

/// Longest run of slots a look-up walks. Half-full linear probing stays far below it.
const MAX_PROBES: usize = 256;
/// How many seeds the writer tries.
const SEEDS: u64 = 16;

/// Two rows with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The row that has the id first.
    pub first: usize,
    /// The next row that has it too; equal to `first` when instead no seed spreads the ids, which only ids chosen to
    /// collide achieve.
    pub second: usize,
}

/// Builds the table over `rows` ids, to be written as a section of 64-bit numbers: seed, then slots.
///
/// # Errors
/// When two rows have the same id.
pub fn build_id_index<'a>(rows: usize, id: impl Fn(usize) -> &'a str) -> Result<Vec<u64>, Duplicate> {
    let capacity = (rows * 2).next_power_of_two().max(2);
    let mut clustered = 0;
    for seed in 0..SEEDS {
        let mut table = vec![0u64; capacity + 1];
        table[0] = seed;
        match fill(&mut table[1..], seed, rows, &id)? {
            None => return Ok(table),
            Some(row) => clustered = row,
        }
    }
    Err(Duplicate { first: clustered, second: clustered })
}

/// Fills the slots; gives back a row that would need too long a probe.
fn fill<'a>(
    slots: &mut [u64],
    seed: u64,
    rows: usize,
    id: impl Fn(usize) -> &'a str,
) -> Result<Option<usize>, Duplicate> {
    let mask = slots.len() - 1;
    // Hashing ahead of placing keeps the random memory accesses independent of each other.
    let hashes: Vec<u64> = (0..rows).map(|row| hash(seed, id(row).as_bytes())).collect();
    for (row, &hash) in hashes.iter().enumerate() {
        let mut at = hash as usize & mask;
        let mut probes = 1;
        while slots[at] != 0 {
            let other = row_of(slots[at]);
            if hashes[other] == hash && id(other) == id(row) {
                return Err(Duplicate { first: other, second: row });
            }
            at = (at + 1) & mask;
            probes += 1;
            if probes > MAX_PROBES {
                return Ok(Some(row));
            }
        }
        slots[at] = upper(hash) | (row as u64 + 1);
    }
    Ok(None)
}

/// A checked look-up table in an open file.
#[derive(Clone, Copy, Debug)]
pub struct IdIndex {
    slots: Column<u64>,
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
            return wrong(format!("{} numbers are no look-up table", table.len()));
        }
        if let Some(slot) = table[1..].iter().position(|&slot| slot != 0 && row_of(slot) >= rows) {
            return wrong(format!("slot {slot} names a row beyond {rows}"));
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
        let hash = hash(table[0], id.as_bytes());
        let slots = &table[1..];
        let mask = slots.len() - 1;
        (0..MAX_PROBES)
            .map(|step| slots[(hash as usize).wrapping_add(step) & mask])
            .take_while(|&slot| slot != 0)
            .filter(|&slot| slot & UPPER == upper(hash))
            .map(row_of)
            .find(|&row| self.ids.get(file, row) == id)
            .map(|row| row as u32)
    }
}

const UPPER: u64 = 0xffff_ffff_0000_0000;

fn upper(hash: u64) -> u64 {
    hash & UPPER
}

/// The row of a slot that is not empty; a row of the largest number for a lower half of zero, which no writer makes.
fn row_of(slot: u64) -> usize {
    (slot as u32).wrapping_sub(1) as usize
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

    #[test]
    fn names_the_two_rows_of_a_duplicate() {
        let ids = ["a", "b", "c", "b"];
        assert_eq!(build_id_index(4, |i| ids[i]), Err(Duplicate { first: 1, second: 3 }));
    }

    #[test]
    fn probes_are_short_for_the_ids_that_data_sets_have() {
        for pattern in [|i: usize| i.to_string(), |i| format!("B{i:09}"), |i| format!("{:032x}", i * 7919)] {
            let ids: Vec<String> = (0..20_000).map(pattern).collect();
            let table = build_id_index(ids.len(), |i| ids[i].as_str()).unwrap();
            assert_eq!(table[0], 0, "the first seed does");
            let longest = table[1..].split(|&slot| slot == 0).map(<[u64]>::len).max().unwrap();
            assert!(longest < 100, "{longest}");
        }
    }
}
