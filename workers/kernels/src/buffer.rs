//! Memory that is reused: cache-line aligned buffers and the pool they come from and go back to.
//!
//! In: a length. Out: a buffer of that length with **stale contents** (whoever takes one writes it all, or asks for
//! zeros). After a round or two of equal requests the pool makes no new buffer. Rounds of unequal requests share buffers:
//! one may be up to twice as long as needed, and one that is too short is replaced, not kept beside its longer
//! successor. So the pool holds about what a round needs at once, whatever lengths it has seen.

#![allow(unsafe_code)] // Lines of 16 floats are seen as floats or as words: same size, every bit pattern valid.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// A cache line, so that a vector load never spans two.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// `len` floats, or as many 32-bit words.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// This memory, or more where it is too short, as zeros of another length.
    pub(crate) fn zeroed(mut self, len: usize) -> Self {
        self.lines.clear();
        self.lines.resize(len.div_ceil(16), Line([0.0; 16]));
        Self { len, ..self }
    }

    /// The same memory as words.
    pub(crate) fn words(&self) -> &[u32] {
        // SAFETY: `len ≤ 16 · lines.len()` initialised floats; u32 has the same size, a smaller-or-equal alignment,
        // and no invalid bit pattern.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<u32>(), self.len) }
    }

    /// The same memory as words, to be written.
    pub(crate) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as in `words`; the borrow is exclusive, and any word is a valid float.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<u32>(), self.len) }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len ≤ 16 · lines.len()`, and a `Line` is exactly 16 floats without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<f32>(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<f32>(), self.len) }
    }
}

/// Free buffers by size class (four classes an octave).
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: BTreeMap<usize, Vec<Vec<Line>>>,
    made: usize,
}

impl Pool {
    /// A buffer with stale contents.
    pub(crate) fn take(&mut self, len: usize) -> Buffer {
        let class = class_of(len.div_ceil(16));
        if class == 0 {
            return Buffer::default();
        }
        let free = |(&class, free): (&usize, &Vec<Vec<Line>>)| (!free.is_empty()).then_some(class);
        if let Some(lines) = self.free.range(class..=2 * class).find_map(free).and_then(|fits| self.pop(fits)) {
            return Buffer { lines, len };
        }
        // The longer buffer serves what the one next to it in length was kept for.
        let short = self.free.range(class.div_ceil(2)..class).rev().find_map(free);
        drop(short.and_then(|short| self.pop(short)));
        self.made += 1;
        Buffer { lines: vec![Line([0.0; 16]); class], len }
    }

    fn pop(&mut self, class: usize) -> Option<Vec<Line>> {
        self.free.get_mut(&class)?.pop()
    }

    /// A buffer of zeros.
    pub(crate) fn zeros(&mut self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A copy.
    pub(crate) fn copy(&mut self, values: &[f32]) -> Buffer {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// A copy of words.
    pub(crate) fn copy_words(&mut self, words: &[u32]) -> Buffer {
        let mut buffer = self.take(words.len());
        buffer.words_mut().copy_from_slice(words);
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, buffer: Buffer) {
        if !buffer.lines.is_empty() {
            self.free.entry(buffer.lines.len()).or_default().push(buffer.lines);
        }
    }

    /// Buffers ever made.
    pub(crate) fn made(&self) -> usize {
        self.made
    }
}

/// Lines rounded up to a quarter of a power of two.
fn class_of(lines: usize) -> usize {
    if lines <= 4 {
        return lines;
    }
    let step = 1 << ((lines - 1).ilog2() - 2);
    lines.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter_and_are_their_own_class() {
        for lines in 0..5000 {
            let class = class_of(lines);
            assert!(class >= lines && class * 4 <= lines * 5 + 4, "{lines} {class}");
            assert_eq!(class_of(class), class);
        }
    }

    #[test]
    fn a_returned_buffer_is_used_again_and_is_aligned() {
        let mut pool = Pool::default();
        let first = pool.take(100);
        assert_eq!((first.len(), first.as_ptr() as usize % 64), (100, 0));
        pool.give(first);
        let second = pool.take(97);
        assert_eq!((second.len(), pool.made()), (97, 1));
        let none = pool.take(0);
        assert!(none.is_empty() && none.words().is_empty());
        pool.give(none);
        pool.give(second);
        assert_eq!(pool.made(), 1);
    }

    /// Rounds whose lengths change, as those of ragged batches do.
    #[test]
    fn lengths_that_change_do_not_pile_up() {
        let mut pool = Pool::default();
        let round = |pool: &mut Pool, length: usize| {
            let taken: Vec<Buffer> = (1..=10).map(|part| pool.take(length * part)).collect();
            taken.into_iter().for_each(|buffer| pool.give(buffer));
        };
        let held = |pool: &Pool| pool.free.iter().map(|(class, free)| class * 16 * free.len()).sum::<usize>();
        let mut longest = 0;
        for length in [1000, 1100, 1300, 900, 1600, 1234, 1999, 1500] {
            longest = longest.max(length);
            round(&mut pool, length);
            let held = held(&pool) as f64 / (longest * 55) as f64;
            assert!(held < 1.6, "{length}: {held} of what the longest round needs");
        }
        let made = pool.made();
        round(&mut pool, 1999);
        round(&mut pool, 1050);
        assert_eq!(pool.made(), made, "what was long enough once stays");
    }

    #[test]
    fn words_and_floats_share_bits() {
        let mut pool = Pool::default();
        let mut buffer = pool.copy_words(&[1.0_f32.to_bits(), 7]);
        assert_eq!(buffer[0], 1.0);
        buffer[1] = -2.0;
        assert_eq!(buffer.words()[1], (-2.0_f32).to_bits());
        assert!(pool.zeros(40).iter().all(|&x| x == 0.0));
    }
}
