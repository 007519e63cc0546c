//! Eight-bit floats: their codes, matrices scaled into them, products of such matrices, and whether a model bears it.
//!
//! ```text
//! f32 rows ─► Quantised (codes, scales) ─► serve          bf16, f32 accumulation, within a written bound ─► linear maps
//!                                       └► emulate::gemm  a tensor core in bits, for tests only
//! errors of every layer ─► gates::judge ─► serve in FP8, or stay in high precision and say why
//! ```
//!
//! The two products are never confused: what is served never emulates, and what emulates is too slow to serve. Nothing
//! here knows models; which of their matrices stay in high precision is the caller's decision.

mod convert;
pub mod emulate;
mod format;
mod fused;
pub mod gates;
mod quantised;
pub mod serve;

pub use convert::{decode, encode};
pub use format::Format;
pub use quantised::{BLOCK, Quantised, Scaling};
