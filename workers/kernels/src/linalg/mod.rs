//! Linear algebra: matrix products, the polar factor by Newton–Schulz, eigen and singular vectors.
//!
//! In: row-major matrices, or functions that apply one. Out: factors. Single-threaded, and the same for equal inputs.

mod eigen;
mod newton_schulz;
mod svd;

pub use crate::cpu::matmul::{Output, View, gemm};
pub use eigen::{Eigen, symmetric_eigen};
pub use newton_schulz::{QUINTIC, newton_schulz};
pub use svd::{Sketch, Svd, randomized_svd};

#[cfg(test)]
mod tests;
