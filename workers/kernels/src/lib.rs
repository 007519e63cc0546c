//! Numeric primitives: parameters, a tape of fused operations with hand-written backward passes, top-k, linear algebra.
//!
//! ```text
//! Params ─► Tape::train ─► loss ─► backward ─► Grads
//! Params ─► Tape::serve ─► values
//! ```
//!
//! All matrices are row-major f32. Rows of a batch are ragged: sequences lie one after another without padding, and
//! attention is told by spans who sees what. Nothing here knows items, users or papers.

mod buffer;
mod cores;
mod cpu;
pub mod cuda;
pub mod fp8;
mod graph;
pub mod int8;
pub mod linalg;
mod noise;
mod ops;
mod packed;
mod params;
mod quantised;
mod tape;
mod team;
mod threads;
pub mod topk;
mod trial;
pub mod twins;
mod weights_bf16;
mod workspace;

pub use cores::Lease;
pub use cpu::{Level, bf16};
pub use graph::Var;
pub use ops::attention::{Attention, RelativeBias, Span};
pub use ops::elementwise::Activation;
pub use packed::Packed;
pub use params::{Grads, Init, ParamId, Params, Role, Tensor};
pub use quantised::{QuantisedLinear, QuantisedWeights};
pub use tape::Tape;
pub use team::Team;
pub use threads::share;
pub use weights_bf16::Bf16Weights;
pub use workspace::Workspace;
