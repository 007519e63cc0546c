//! What a CPU does fast: loops compiled for several instruction sets, one exponential, matrix products.
//!
//! In: plain slices and a [`Level`]. Out: slices. Nothing here knows tapes or parameters, and nothing starts a thread.
//! Reductions run over 16 fixed lanes and a fixed tree, so a result depends on the inputs and the level only.

pub(crate) mod level;

pub mod bf16;
pub(crate) mod coded;
pub(crate) mod elementwise;
pub(crate) mod exp;
pub(crate) mod matmul;
pub(crate) mod panels;
pub(crate) mod reduce;
pub(crate) mod thin;
pub(crate) mod transpose;

pub use level::Level;
pub(crate) use level::{Isa, kernel};
