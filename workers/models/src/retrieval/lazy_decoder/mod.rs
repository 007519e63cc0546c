//! OneRec-V2's lazy decoder (arXiv 2508.20900, section 3) over semantic IDs.
//!
//! ```text
//! history ─► Σ code embeddings (+ item) ─► [context blocks] ─► one projection ─► slices ─► norms ─► keys, values
//! BOS, s1, s2 ─► layers of (cross-attention, causal self-attention, feed-forward) ─► norm and head per level
//! ```
//!
//! The layers have no key and no value weights for the context: layer `l` reads slice `⌊l · kvLayers / layers⌋` as it
//! is. Tokens of the context carry no position; recency enters as a learned score by distance in the cross-attention.
//! So the context of a sequence is computed once, and every prefix of it is the context of the item that follows: one
//! pass trains all positions. Serving computes the context once per request and shares it between beams. Each layer
//! keeps an output projection after the cross-attention: with few key/value groups its heads return averages of the
//! same values, and nothing else before the feed-forward layer would mix them.

mod blocks;
mod context;
#[cfg(feature = "cuda")]
mod device;
mod layout;
mod model;
mod serve;

#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub use device::{BOUND, DeviceServer, QUANTISED_BOUND};
pub(super) use model::IN_BYTES;
pub use model::LazyDecoder;
pub use serve::Server;
