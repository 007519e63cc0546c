//! Where the files of a data set lie.
//!
//! In: the folder a caller gives and the paths of a manifest. Out: paths to open, never outside the folder. Where the
//! caller gives a file instead of a folder, that file is the main one, and the others lie beside it.

use std::path::{Path, PathBuf};

use recmesh_contract::config::{DatasetParams, Source};
use recmesh_contract::stays_below;

use crate::DataError;

/// The main file (`source.interactions.path`, `source.examples.path`).
pub(crate) fn main_file(folder: &Path, path: &str) -> Result<PathBuf, DataError> {
    let below = inside(folder, path)?;
    Ok(if folder.is_file() { folder.to_path_buf() } else { below })
}

/// Any other file.
pub(crate) fn side_file(folder: &Path, path: &str) -> Result<PathBuf, DataError> {
    match folder.parent() {
        Some(parent) if folder.is_file() => inside(parent, path),
        _ => inside(folder, path),
    }
}

/// Every file that a data set is read from, in a fixed order; none for a planted world.
pub(crate) fn files(params: &DatasetParams, folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (main, sides) = match &params.source {
        Source::Planted(_) => return Ok(Vec::new()),
        Source::Interactions(source) => {
            let entities = [&source.items, &source.users].into_iter().flatten();
            let sides = entities.flat_map(|entity| [Some(&entity.path), entity.attribute_map.as_ref()]);
            (&source.path, sides.flatten().collect::<Vec<_>>())
        }
        Source::Examples(source) => {
            (&source.path, [&source.validation_path, &source.test_path].into_iter().flatten().collect())
        }
    };
    std::iter::once(main_file(folder, main)).chain(sides.into_iter().map(|path| side_file(folder, path))).collect()
}

fn inside(folder: &Path, path: &str) -> Result<PathBuf, DataError> {
    if stays_below(path) { Ok(folder.join(path)) } else { Err(DataError::Outside { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_folder() {
        let folder = Path::new("/data/set");
        assert_eq!(main_file(folder, "a/b.csv").unwrap(), Path::new("/data/set/a/b.csv"));
        for path in ["../b.csv", "a/../../b", "/etc/passwd", ""] {
            assert!(matches!(main_file(folder, path), Err(DataError::Outside { .. })), "{path}");
            assert!(matches!(side_file(folder, path), Err(DataError::Outside { .. })), "{path}");
        }
    }

    #[test]
    fn a_file_given_as_the_folder_is_the_main_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.inter");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(main_file(&file, "ml-100k.inter").unwrap(), file);
        assert_eq!(side_file(&file, "ml-100k.item").unwrap(), dir.path().join("ml-100k.item"));
    }
}
