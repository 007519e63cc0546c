//! Many strings in two allocations: one blob of bytes and where each string ends in it.
//!
//! In: strings, one after another. Out: them again, by number. Ids, titles and texts of entities are kept this way, in
//! memory and in files; nothing here is ever sorted or removed.

/// Strings by number, kept as one blob and one offset each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strings {
    text: String,
    offsets: Vec<u64>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { text: String::new(), offsets: vec![0] }
    }
}

impl Strings {
    /// How many strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String `i`.
    ///
    /// # Panics
    /// When `i` is not below [`Self::len`].
    #[must_use]
    pub fn get(&self, i: usize) -> &str {
        &self.text[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Every string in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Adds a string at the end.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.offsets.push(self.text.len() as u64);
    }

    /// The blob and the offsets: `len() + 1` of them, the first zero, ascending.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u64]) {
        (self.text.as_bytes(), &self.offsets)
    }

    /// Strings from a blob and offsets as [`Self::parts`] gives them; `None` when they do not fit together or a string
    /// is not UTF-8.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, offsets: Vec<u64>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let ends = offsets.first() == Some(&0) && offsets.last() == Some(&(text.len() as u64));
        let ascending = offsets.windows(2).all(|w| w[0] <= w[1]);
        let whole = ends && ascending && offsets.iter().all(|&at| text.is_char_boundary(at as usize));
        whole.then_some(Self { text, offsets })
    }
}

impl<'a> FromIterator<&'a str> for Strings {
    fn from_iter<I: IntoIterator<Item = &'a str>>(strings: I) -> Self {
        let mut made = Self::default();
        for text in strings {
            made.push(text);
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_broken_parts_do_not() {
        let strings: Strings = ["a", "", "äö"].into_iter().collect();
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["a", "", "äö"]);
        let (bytes, offsets) = strings.parts();
        assert_eq!(Strings::from_parts(bytes.to_vec(), offsets.to_vec()), Some(strings.clone()));
        for broken in [vec![], vec![1, 5], vec![0, 2, 5], vec![0, 3, 1, 5], vec![0, 1, 4]] {
            assert_eq!(Strings::from_parts(bytes.to_vec(), broken.clone()), None, "{broken:?}");
        }
        assert_eq!(Strings::from_parts(vec![0xff], vec![0, 1]), None);
    }
}
