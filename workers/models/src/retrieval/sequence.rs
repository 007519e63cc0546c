//! A training example of the sequence models, and its window.
//!
//! In: a user's train sequence. Out: the newest part of it, as far as a model reads.

use recmesh_contract::ItemIndex;

/// A user's train sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceExample {
    /// The items, oldest first.
    pub items: Vec<ItemIndex>,
}

impl SequenceExample {
    /// The newest `length` inputs with the target after the last of them; every item but the first is a target.
    /// Fewer than two items teach nothing: the window is empty.
    pub(super) fn window(&self, length: usize) -> &[ItemIndex] {
        if self.items.len() < 2 { &[] } else { newest(&self.items, length + 1) }
    }

    /// Targets in the window.
    pub(super) fn targets(&self, length: usize) -> usize {
        self.window(length).len().saturating_sub(1)
    }
}

/// The last `length` items.
pub(super) fn newest(items: &[ItemIndex], length: usize) -> &[ItemIndex] {
    &items[items.len().saturating_sub(length)..]
}
