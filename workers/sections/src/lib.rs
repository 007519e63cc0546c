//! Immutable files of named sections: written once, checked whole, mapped, never changed.
//!
//! ```text
//! arrays ─► write ─► | magic, version, length | table | section … section | SHA-256 | ─► SectionFile ─► columns
//! ```
//!
//! Numbers are little-endian; every section begins at a multiple of 64 bytes; the digest covers everything before it.
//! A file that opens is whole: magic, version, length, digest, table and every typed column have been checked, so that
//! reading it later can neither fail nor leave its bounds. This crate knows no item and no user.

#[cfg(target_endian = "big")]
compile_error!("section files are mapped as they are and hold little-endian numbers");

mod atomic;
mod error;
mod file;
mod ids;
mod map;
mod strings;
mod write;

pub use atomic::{sync_folder, write_atomic, write_atomic_with};
pub use error::{Flaw, SectionError, Tag};
pub use file::{Column, Format, SectionFile};
pub use ids::{Duplicate, IdIndex, build_id_index};
pub use strings::{Strings, StringsWriter};
pub use write::{Section, write};

#[cfg(test)]
mod tests;
