//! Paths that manifests write: relative to a data set's folder, and never out of it.
//!
//! In: a path as text. Out: whether it stays below the folder it starts from. Touches no file.

use std::path::{Component, Path};

/// Whether a path names something below the folder that it is relative to: it is not empty, not absolute and has no
/// `..`.
#[must_use]
pub fn stays_below(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && Path::new(path).components().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_folder() {
        for good in ["a.csv", "a/b.csv", "./a", "a..b"] {
            assert!(stays_below(good), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../../b", ".."] {
            assert!(!stays_below(bad), "{bad}");
        }
    }
}
