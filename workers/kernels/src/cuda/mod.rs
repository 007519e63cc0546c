//! The kernels on an NVIDIA device, through its driver alone: no toolkit to build, none to run.
//!
//! ```text
//! probe ─► Device ─► Engine (one stream, modules: cubin, else NVRTC) ─► Kernels, Graphs, Decoder
//!       └► Absent, with the reason
//! ```
//! In: host matrices, or weights packed once. Out: the same as the CPU's, within the bounds of [`crate::twins`]. Without
//! the feature `cuda` only [`probe`] is here, and answers so. Never panics for want of a library, a symbol or a device.
//! **None of this has run on a device**, but on the emulated driver of `cuda/emulator/driver`.

mod error;
mod probe;

#[cfg(feature = "cuda")]
mod blas;
#[cfg(feature = "cuda")]
mod choice;
#[cfg(feature = "cuda")]
mod decoder;
#[cfg(feature = "cuda")]
mod engine;
#[cfg(feature = "cuda")]
mod graphs;
#[cfg(feature = "cuda")]
mod layers;
#[cfg(feature = "cuda")]
mod modules;
#[cfg(feature = "cuda")]
mod products;
#[cfg(feature = "cuda")]
mod twin;

#[cfg(feature = "cuda")]
pub use blas::{Blas, Operands, Plan};
#[cfg(feature = "cuda")]
pub use choice::{GemmTable, Multiplier};
#[cfg(feature = "cuda")]
pub use decoder::{
    Decoder, DecoderWeights, Found, Given, Map, NONE, Norm, Request, Shape, Source, TrieLevel, TrieLevels, Walk,
};
#[cfg(feature = "cuda")]
pub use engine::{Engine, TensorMap};
pub use error::CudaError;
#[cfg(feature = "cuda")]
pub use graphs::Graphs;
#[cfg(feature = "cuda")]
pub use layers::Precision;
#[cfg(feature = "cuda")]
pub use modules::Origin;
pub use probe::{Absent, CAPABILITY, Device, Probe, probe};
#[cfg(feature = "cuda")]
pub use products::Packed;
