//! Strings to dense numbers, in order of first appearance.
//!
//! In: strings. Out: the same number for the same string, from 0. Each string is kept once, in a [`Strings`] blob; the
//! table beside it holds four bytes a slot, which matters for tens of millions of ids.

use std::hash::{BuildHasher, RandomState};

use crate::Strings;

/// An empty slot.
const FREE: u32 = u32::MAX;

/// Strings to dense numbers.
#[derive(Clone, Debug)]
pub(crate) struct Interner {
    strings: Strings,
    /// Open addressing with linear probing; a power of two, at most half full.
    slots: Vec<u32>,
    hasher: RandomState,
}

impl Default for Interner {
    fn default() -> Self {
        Self { strings: Strings::default(), slots: vec![FREE; 16], hasher: RandomState::new() }
    }
}

impl Interner {
    /// How many different strings.
    pub(crate) fn len(&self) -> usize {
        self.strings.len()
    }

    /// The number of a string, new if need be; `None` when there are as many as numbers go.
    pub(crate) fn intern(&mut self, text: &str) -> Option<u32> {
        let slot = match self.probe(text) {
            Ok(number) => return Some(number),
            Err(slot) => slot,
        };
        let number = u32::try_from(self.strings.len()).ok().filter(|&number| number != FREE)?;
        self.strings.push(text);
        self.slots[slot] = number;
        if self.strings.len() * 2 > self.slots.len() {
            self.grow();
        }
        Some(number)
    }

    /// The number of a string that has one.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.probe(text).ok()
    }

    /// Every string, by number.
    pub(crate) fn strings(&self) -> &Strings {
        &self.strings
    }

    /// Every string, by number, without the table.
    pub(crate) fn into_strings(self) -> Strings {
        self.strings
    }

    /// The string's number, or the slot it would go to.
    fn probe(&self, text: &str) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        loop {
            match self.slots[slot] {
                FREE => return Err(slot),
                number if self.strings.get(number as usize) == text => return Ok(number),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![FREE; mask + 1];
        for (number, text) in (0u32..).zip(self.strings.iter()) {
            let mut slot = self.hasher.hash_one(text) as usize & mask;
            while slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            slots[slot] = number;
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_by_first_appearance_and_stay() {
        let mut interner = Interner::default();
        for round in 0..2 {
            for i in 0..1000u32 {
                assert_eq!(interner.intern(&format!("id{}", i * 7)), Some(i), "round {round}");
            }
        }
        assert_eq!(interner.find("id14"), Some(2));
        assert_eq!(interner.find("id15"), None);
        assert_eq!(interner.into_strings().get(999), "id6993");
    }
}
