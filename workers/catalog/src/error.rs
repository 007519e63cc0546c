//! Why a catalog could not be written or opened. Every message names the file and what is wrong with it.

use std::path::PathBuf;

use recmesh_sections::SectionError;

/// Why a catalog could not be written or opened.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file could not be read or written, or is no whole catalog.
    #[error(transparent)]
    File(#[from] SectionError),
    /// There is nothing to recommend.
    #[error("{}: a catalog needs at least one item", path.display())]
    NoItems {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The codebooks cannot be used.
    #[error(
        "{}: codebook sizes {codebooks:?} cannot be used: give 1 to {levels} levels of 1 to {codes} codes",
        path.display()
    )]
    Codebooks {
        /// The file that was to be written.
        path: PathBuf,
        /// The sizes given.
        codebooks: Vec<u32>,
        /// Most levels.
        levels: usize,
        /// Most codes of a level.
        codes: u32,
    },
    /// More items than 32-bit node numbers can take.
    #[error("{}: {items} items of {levels} levels are more than a catalog can number", path.display())]
    TooManyItems {
        /// The file that was to be written.
        path: PathBuf,
        /// Items given.
        items: usize,
        /// Levels given.
        levels: usize,
    },
    /// An item has more or fewer codes than there are levels.
    #[error("{}: item {id:?} has {found} codes, expected one for each of {levels} levels", path.display())]
    Levels {
        /// The file that was to be written.
        path: PathBuf,
        /// The item.
        id: String,
        /// Its codes.
        found: usize,
        /// The levels.
        levels: usize,
    },
    /// An item has a code that its codebook does not have.
    #[error("{}: item {id:?} has code {code} at level {level}, whose codebook has {codes} codes", path.display())]
    Code {
        /// The file that was to be written.
        path: PathBuf,
        /// The item.
        id: String,
        /// Counted from 1.
        level: usize,
        /// The code.
        code: u32,
        /// The codebook's size.
        codes: u32,
    },
    /// Two items have the same id.
    #[error("{}: id {id:?} is given to item {first} and to item {second}", path.display())]
    DuplicateId {
        /// The file that was to be written.
        path: PathBuf,
        /// The id.
        id: String,
        /// Index of the first item that has it.
        first: usize,
        /// Index of the next one.
        second: usize,
    },
    /// Too many ids fall on the same place of the look-up table.
    #[error("{}: ids collide with {id:?} under every hash seed; they look chosen to do so", path.display())]
    CollidingIds {
        /// The file that was to be written.
        path: PathBuf,
        /// One of them.
        id: String,
    },
    /// The liveness mask is not one of this many items.
    #[error("{}: the liveness mask does not fit {items} items", path.display())]
    Live {
        /// The file that was to be written.
        path: PathBuf,
        /// Items given.
        items: usize,
    },
}
