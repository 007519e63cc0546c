//! The store: immutable artifacts, the histories that serving reads, and the state of a run.
//!
//! ```text
//! job ─► Draft (temporary folder) ─► commit: digests, manifest, fsync, rename ─► Artifact <kind>/<name>/<version>/
//!                                                                                 │ open: every digest checked
//! data set ─► Histories (mapped)      supervisor ─► RunState (redb)               └► job, pool
//! ```
//!
//! The folder may be a cache in front of an object store (feature `object-store`): then a draft is sent there before it
//! is put in its place here, and what is opened is fetched when it is not here yet.
//!
//! A version appears whole or not at all and never changes. What is truncated, changed or incomplete is refused with
//! the file and the reason. The store knows no format of what it keeps.

mod artifact;
mod digest;
mod draft;
mod error;
mod gc;
mod histories;
mod holder;
mod manifest;
#[cfg(feature = "object-store")]
mod objects;
mod place;
mod remote;
mod run_state;
mod store;

pub use artifact::Artifact;
pub use digest::sha256_file;
pub use draft::Draft;
pub use error::{ArtifactFlaw, Result, StoreError, write_atomic};
pub use gc::Garbage;
pub use histories::Histories;
pub use manifest::{FileEntry, Lineage, Manifest};
pub use place::{Bucket, Place, Provider};
pub use run_state::{Records, RunState};
pub use store::Store;

#[cfg(test)]
mod tests;
