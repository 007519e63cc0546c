//! Numeric primitives: parameters, a tape of fused operations with hand-written backward passes, top-k, linear algebra.
//!
//! ```text
//! Params ─► Tape::train ─► loss ─► backward ─► Grads
//! Params ─► Tape::serve ─► values
//! ```
//!
//! All matrices are row-major f32. Rows of a batch are ragged: sequences lie one after another without padding, and
//! attention is told by spans who sees what. Nothing here knows items, users or papers.

mod params;
mod tape;

pub use params::{Grads, Init, ParamId, Params, Role, Tensor};
pub use tape::{Activation, Attention, RelativeBias, Span, Tape, Var, Workspace};
