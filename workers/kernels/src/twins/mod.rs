//! Every kernel three times behind one trait: naive in f64, on the CPU, on a CUDA device.
//!
//! ```text
//! Reference (f64, loops) ─┐
//! Cpu (what serves)      ─┼─► checks: the same cases, a bound for every element ─► Outcome
//! cuda::Engine           ─┘
//! ```
//! In: host matrices. Out: host matrices, so that results can be compared; what is served keeps its memory on the device
//! and never goes through here. The bound between an implementation and the reference stands beside each check in
//! [`checks`] and follows from the implementation's [`Arithmetic`]; cases are random, adversarial, ragged, empty and
//! trained. Nothing here is fast.

pub mod bounds;
pub mod cases;
pub mod checks;
mod cpu;
mod reference;

pub use cpu::Cpu;
pub use reference::Reference;

use crate::fp8::{Quantised, Scaling};

/// A row-major matrix that is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `rows × cols` values.
    pub data: &'a [f32],
    /// Columns; rows follow.
    pub cols: usize,
}

impl<'a> Rows<'a> {
    /// A matrix over a slice.
    ///
    /// # Panics
    /// If the slice is not a whole number of rows.
    #[must_use]
    pub fn new(data: &'a [f32], cols: usize) -> Self {
        assert!(if cols == 0 { data.is_empty() } else { data.len().is_multiple_of(cols) }, "rows of {cols} columns");
        Self { data, cols }
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.cols).unwrap_or(0)
    }

    /// One row.
    #[must_use]
    pub fn row(&self, at: usize) -> &'a [f32] {
        &self.data[at * self.cols..(at + 1) * self.cols]
    }
}

/// E4M3 codes and their scales, as a quantising kernel leaves them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// Columns under one scale.
    pub width: usize,
    /// Columns.
    pub cols: usize,
    /// `rows × cols`.
    pub codes: Vec<u8>,
    /// `rows × ⌈cols / width⌉`.
    pub scales: Vec<f32>,
}

/// Many query rows against keys that they share: `softmax(q · kᵀ / √width) · v`, per head.
#[derive(Clone, Copy, Debug)]
pub struct CrossAttention<'a> {
    /// `rows × (heads · width)`.
    pub queries: Rows<'a>,
    /// `context × width`: one key head for all query heads.
    pub keys: Rows<'a>,
    /// As the keys.
    pub values: Rows<'a>,
    /// Query heads.
    pub heads: usize,
    /// Requests: query rows `rows[i]..rows[i + 1]` see keys `context[i]..context[i + 1]`. An empty context gives zeros.
    pub rows: &'a [u32],
    /// As above.
    pub context: &'a [u32],
}

/// Every beam against its own short past: one key per level, found by its ancestors.
#[derive(Clone, Copy, Debug)]
pub struct BeamAttention<'a> {
    /// `beams × (heads · width)`.
    pub queries: Rows<'a>,
    /// Keys of each level so far, `rows of the level × (heads · width)`; the last level is the beams' own.
    pub keys: &'a [Rows<'a>],
    /// As the keys.
    pub values: &'a [Rows<'a>],
    /// Heads, of queries and keys alike.
    pub heads: usize,
    /// For each level, which row of the level before each of its rows continues; that of level 0 is not read.
    pub parents: &'a [&'a [u32]],
}

impl BeamAttention<'_> {
    /// The row of each level that is an ancestor of a row of the last.
    #[must_use]
    pub fn chain(&self, row: usize) -> Vec<usize> {
        let mut chain = vec![row; self.keys.len()];
        for level in (1..chain.len()).rev() {
            chain[level - 1] = self.parents[level][chain[level]] as usize;
        }
        chain
    }
}

/// One level of a constrained beam search.
#[derive(Clone, Copy, Debug)]
pub struct BeamStep<'a> {
    /// `beams × codes`.
    pub logits: Rows<'a>,
    /// Log-probability of each beam so far.
    pub scores: &'a [f32],
    /// The trie's node each beam stands at; no two at the same.
    pub nodes: &'a [u32],
    /// Children of node `n` are `offsets[n]..offsets[n + 1]`.
    pub offsets: &'a [u32],
    /// The code of each child, ascending within a node.
    pub codes: &'a [u32],
    /// How many to keep.
    pub k: usize,
}

/// A beam one level longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extension {
    /// Log-probability.
    pub score: f64,
    /// The beam it came from.
    pub parent: u32,
    /// Its code at this level.
    pub code: u32,
    /// Its node at the next depth: a position in [`BeamStep::codes`].
    pub child: u32,
}

/// The best rows of a table by inner product: a scan in E4M3, then exact products of the candidates.
#[derive(Clone, Copy, Debug)]
pub struct ItemSearch<'a> {
    /// `queries × width`.
    pub queries: Rows<'a>,
    /// `items × width`.
    pub table: Rows<'a>,
    /// The table in E4M3, scaled by row.
    pub codes: &'a Quantised,
    /// How many the scan passes on, at least `k`.
    pub candidates: usize,
    /// How many to return.
    pub k: usize,
}

/// How an implementation rounds: what its bound follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// f64 throughout.
    Reference,
    /// f32 products and sums.
    Single,
    /// A Hopper tensor core: eight-bit products summed at 13 fraction bits; attention over bf16 operands and
    /// probabilities with f32 sums; f32 elsewhere.
    TensorCore,
}

/// The kernels of serving, one method each. Shapes that do not fit panic in all three implementations alike.
pub trait Kernels {
    /// What results are made of.
    type Number: Copy + Into<f64>;
    /// Why a kernel gave no result.
    type Error: std::fmt::Display;

    /// How results are rounded.
    fn arithmetic(&self) -> Arithmetic;

    /// Whether an operation is here at all; a check of one that is not is skipped aloud.
    fn has(&self, _operation: Operation) -> bool {
        true
    }

    /// Whether the quantising operations know a scaling.
    fn scales_by(&self, _scaling: Scaling) -> bool {
        true
    }

    /// Codes of rows; scales by row or by 1 × 128.
    ///
    /// # Errors
    /// If the device fails.
    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Self::Error>;

    /// Codes of `x / √(mean x² + ε) · gain`.
    ///
    /// # Errors
    /// If the device fails.
    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, Self::Error>;

    /// Codes of `silu(left half) ∘ right half`.
    ///
    /// # Errors
    /// If the device fails.
    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Self::Error>;

    /// Codes of rows that bf16 holds exactly, a scale a row.
    ///
    /// # Errors
    /// If the device fails.
    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, Self::Error>;

    /// `x / √(mean x² + ε) · gain`, rounded to bf16: what layers in bf16 take.
    ///
    /// # Errors
    /// If the device fails.
    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<Self::Number>, Self::Error>;

    /// `silu(left half) ∘ right half`, rounded to bf16.
    ///
    /// # Errors
    /// If the device fails.
    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<Self::Number>, Self::Error>;

    /// `a · bᵀ` of the dequantised matrices, `m × n`.
    ///
    /// # Errors
    /// If the device fails.
    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<Self::Number>, Self::Error>;

    /// [`Kernels::product`] of matrices scaled by row, rounded to bf16.
    ///
    /// # Errors
    /// If the device fails.
    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<Self::Number>, Self::Error>;

    /// One product an expert, one after another: rows sorted by expert against each expert's weights.
    ///
    /// # Errors
    /// If the device fails.
    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<Self::Number>, Self::Error>;

    /// Attention of beams to the context they share.
    ///
    /// # Errors
    /// If the device fails.
    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<Self::Number>, Self::Error>;

    /// Attention of beams to their own past.
    ///
    /// # Errors
    /// If the device fails.
    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<Self::Number>, Self::Error>;

    /// The best `k` children of all beams, best first: log-softmax over all codes, then only codes of the trie. Equal
    /// scores by child. Fewer where the trie has fewer; a score that is no number is dropped.
    ///
    /// # Errors
    /// If the device fails.
    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, Self::Error>;

    /// Rows of a table.
    ///
    /// # Errors
    /// If the device fails.
    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, Self::Error>;

    /// For each query the best rows with their exact products, best first; equal products by row.
    ///
    /// # Errors
    /// If the device fails.
    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, Self::Error>;
}

/// The operations, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Named as the methods of `Kernels`, which say what they are.
pub enum Operation {
    Quantise,
    RmsNormQuantise,
    SwigluQuantise,
    QuantiseBf16,
    RmsNorm,
    Swiglu,
    Product,
    ProductBf16,
    BlockProduct,
    GroupedProduct,
    CrossAttention,
    BeamAttention,
    BeamStep,
    EmbeddingGather,
    ItemTopK,
}

impl Operation {
    /// All of them, in the order they are checked.
    pub const ALL: [Self; 15] = [
        Self::Quantise,
        Self::RmsNormQuantise,
        Self::SwigluQuantise,
        Self::QuantiseBf16,
        Self::RmsNorm,
        Self::Swiglu,
        Self::Product,
        Self::ProductBf16,
        Self::BlockProduct,
        Self::GroupedProduct,
        Self::CrossAttention,
        Self::BeamAttention,
        Self::BeamStep,
        Self::EmbeddingGather,
        Self::ItemTopK,
    ];

    /// Its name in reports and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quantise => "quantise",
            Self::RmsNormQuantise => "rmsnorm_quantise",
            Self::SwigluQuantise => "swiglu_quantise",
            Self::QuantiseBf16 => "quantise_bf16",
            Self::RmsNorm => "rmsnorm_bf16",
            Self::Swiglu => "swiglu_bf16",
            Self::Product => "fp8_gemm",
            Self::ProductBf16 => "fp8_gemm_bf16",
            Self::BlockProduct => "fp8_gemm_block_scales",
            Self::GroupedProduct => "grouped_gemm",
            Self::CrossAttention => "cross_attention",
            Self::BeamAttention => "beam_attention",
            Self::BeamStep => "beam_step",
            Self::EmbeddingGather => "embedding_gather",
            Self::ItemTopK => "item_top_k",
        }
    }
}
