//! What a source file looks like: it opens with its purpose and stays short.

use std::fs;

use super::{root, sources};

/// Lines above which a file is split by noun.
const LONGEST: usize = 600;

#[test]
fn every_file_says_what_it_is_for() {
    for path in sources(&root()) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{}: begin with `//!` and what the file is for", path.display());
    }
}

#[test]
fn no_file_is_too_long() {
    for path in sources(&root()) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LONGEST, "{}: {lines} lines, split it by noun at {LONGEST}", path.display());
    }
}

#[test]
fn nothing_is_left_unfinished() {
    // Written in halves so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("unimple", "mented!")];
    for path in sources(&root()) {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            for word in words {
                assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
            }
        }
    }
}
