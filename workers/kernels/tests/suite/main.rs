//! The kernels against a naive machine: values, gradients, levels, memory, and a small training run.

mod check;
mod fp8;
mod gradients;
mod levels;
mod machine;
mod naive;
mod packed;
mod tapes;
mod twins;
