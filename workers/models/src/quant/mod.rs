//! Post-training quantization of a model's linear layers.
//!
//! ```text
//! trained model ─► trial      answers as before, counts what quantised layers would change ─► errors ┐
//!               └► quantised  answers in eight bits ─► compared with the trial elsewhere ────────────┴► Report
//! Report (quantization.json) + codes and scales (quantized.safetensors) ─► open ─► served as the report says
//! ```
//!
//! Embeddings, norms, gates, softmax and heads stay in high precision: a model names the layers that do not. Histories
//! and gates are not known here; whoever calibrates brings them.

mod files;
mod layers;

#[cfg(test)]
mod tests;

pub use files::{CODES, LayerReport, Quality, REPORT, Report, open, report, save};
pub use layers::{Quantisable, errors, layers, quantised, trial, weight_bytes};
