//! The weights of a lazy decoder: which there are, how they start, where they lie.
//!
//! In: the configuration, codebook sizes and a seed. Out: weights and their places. Codes of all levels lie in one
//! table, level after level, in the input and in the output.

use std::ops::Range;

use recmesh_contract::config;
use recmesh_kernels::{Init, ParamId, Params, Role};

use super::super::header::ITEM_TABLE;

/// Self-attention: four square matrices behind a norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct SelfAttention {
    pub norm: ParamId,
    pub query: ParamId,
    pub key: ParamId,
    pub value: ParamId,
    pub output: ParamId,
}

/// A SwiGLU feed-forward layer behind a norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeedForward {
    pub norm: ParamId,
    /// `[2 · hidden, d]`: gate, then value.
    pub up: ParamId,
    pub down: ParamId,
}

/// A block over the context.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextBlock {
    pub attention: SelfAttention,
    /// `[heads, distances]`.
    pub bias: ParamId,
    pub ffn: FeedForward,
}

/// Lazy cross-attention: queries, output, and a score by distance.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrossAttention {
    pub norm: ParamId,
    pub query: ParamId,
    pub output: ParamId,
    /// `[heads, distances]`.
    pub bias: ParamId,
}

/// A decoder layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub cross: CrossAttention,
    pub own: SelfAttention,
    pub ffn: FeedForward,
    /// Which slice of the context it reads.
    pub slice: usize,
}

/// Norms of one slice of the context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub key: ParamId,
    /// `None`: the values are the keys.
    pub value: Option<ParamId>,
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// `[codes of all levels + 1, d]`; the last row is BOS.
    pub code: ParamId,
    pub item: Option<ParamId>,
    pub context: Vec<ContextBlock>,
    /// `[slices · width, d]`.
    pub kv: ParamId,
    pub slices: Vec<Slice>,
    pub layers: Vec<Layer>,
    /// One norm per level.
    pub head_norms: Vec<ParamId>,
    /// `[codes of all levels, d]`.
    pub head: ParamId,
    /// First row of every level's codes in `code` and `head`, and one past the last.
    pub starts: Vec<u32>,
}

/// Distances with a score of their own; farther ones share the last.
const DISTANCES: usize = 512;

/// Slopes of the first and the last head's score by distance at the start.
const STEEPEST: f32 = 4.0;
const FLATTEST: f32 = 1.0 / 16.0;

/// Deviation of embeddings and heads at the start.
const EMBEDDING: f32 = 0.02;

/// Adds weights under dotted names: drawn from a seed, or zero where a file is about to fill them.
struct Maker {
    params: Params,
    seed: Option<u64>,
    dim: usize,
    hidden: usize,
    heads: usize,
    distances: usize,
}

impl Maker {
    fn add(&mut self, name: &str, role: Role, rows: usize, cols: usize, init: Init) -> ParamId {
        let init = if self.seed.is_some() { init } else { Init::Zeros };
        self.params.add(name, role, rows, cols, init, self.seed.unwrap_or_default())
    }

    fn table(&mut self, name: &str, rows: usize) -> ParamId {
        self.add(name, Role::Embedding, rows, self.dim, Init::Normal(EMBEDDING))
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> ParamId {
        self.add(name, Role::Matrix, rows, cols, Init::Normal((2.0 / (rows + cols) as f32).sqrt()))
    }

    fn norm(&mut self, name: &str, cols: usize) -> ParamId {
        self.add(&format!("{name}.gain"), Role::Vector, 1, cols, Init::Ones)
    }

    /// Scores by distance, falling with slopes spread over the heads (after ALiBi, arXiv 2108.12409): the first head
    /// starts on the newest item alone, the last one near the mean of the history. From zero, a rate of 1e-3 would need
    /// thousands of steps to single out the newest item.
    fn bias(&mut self, name: &str) -> ParamId {
        let id = self.add(name, Role::Vector, self.heads, self.distances, Init::Zeros);
        if self.seed.is_some() {
            let (heads, distances) = (self.heads, self.distances);
            let scores = &mut self.params.get_mut(id).data;
            for (head, row) in scores.chunks_exact_mut(distances).enumerate() {
                let place = if heads == 1 { 0.5 } else { head as f32 / (heads - 1) as f32 };
                let slope = STEEPEST * (FLATTEST / STEEPEST).powf(place);
                row.iter_mut().zip(0u16..).for_each(|(score, distance)| *score = -slope * f32::from(distance));
            }
        }
        id
    }

    fn own(&mut self, name: &str) -> SelfAttention {
        let dim = self.dim;
        SelfAttention {
            norm: self.norm(&format!("{name}.norm"), dim),
            query: self.matrix(&format!("{name}.query"), dim, dim),
            key: self.matrix(&format!("{name}.key"), dim, dim),
            value: self.matrix(&format!("{name}.value"), dim, dim),
            output: self.matrix(&format!("{name}.output"), dim, dim),
        }
    }

    fn ffn(&mut self, name: &str) -> FeedForward {
        let (dim, hidden) = (self.dim, self.hidden);
        FeedForward {
            norm: self.norm(&format!("{name}.norm"), dim),
            up: self.matrix(&format!("{name}.up"), 2 * hidden, dim),
            down: self.matrix(&format!("{name}.down"), dim, hidden),
        }
    }
}

impl Layout {
    /// Weights drawn from `seed`; without one all zero, to be filled from a file.
    pub(super) fn new(
        config: &config::LazyDecoder,
        codebooks: &[u32],
        items: usize,
        seed: Option<u64>,
    ) -> (Params, Self) {
        let (dim, heads) = (config.d_model as usize, config.heads as usize);
        let distances = (config.context_length as usize).min(DISTANCES);
        let mut make =
            Maker { params: Params::default(), seed, dim, hidden: dim * config.ffn as usize, heads, distances };
        let mut starts = vec![0];
        for codes in codebooks {
            starts.push(starts[starts.len() - 1] + codes);
        }
        let codes = starts[codebooks.len()] as usize;
        let code = make.table("code", codes + 1);
        let item = config.item_embedding.then(|| make.table(ITEM_TABLE, items));
        let context = (0..config.context_layers).map(|block| ContextBlock {
            attention: make.own(&format!("context.{block}.attention")),
            bias: make.bias(&format!("context.{block}.attention.bias")),
            ffn: make.ffn(&format!("context.{block}.ffn")),
        });
        let context = context.collect();
        let width = dim / heads * config.kv_groups as usize;
        let (kv_layers, split) = (config.kv_layers as usize, config.kv_split as usize);
        let kv = make.matrix("context.kv", kv_layers * split * width, dim);
        let slices = (0..kv_layers).map(|slice| Slice {
            key: make.norm(&format!("context.kv.{slice}.key"), width),
            value: (split == 2).then(|| make.norm(&format!("context.kv.{slice}.value"), width)),
        });
        let slices = slices.collect();
        let layers = (0..config.layers as usize).map(|layer| Layer {
            cross: CrossAttention {
                norm: make.norm(&format!("layers.{layer}.cross.norm"), dim),
                query: make.matrix(&format!("layers.{layer}.cross.query"), dim, dim),
                output: make.matrix(&format!("layers.{layer}.cross.output"), dim, dim),
                bias: make.bias(&format!("layers.{layer}.cross.bias")),
            },
            own: make.own(&format!("layers.{layer}.attention")),
            ffn: make.ffn(&format!("layers.{layer}.ffn")),
            slice: slice_of(layer, kv_layers, config.layers as usize),
        });
        let layers = layers.collect();
        let head_norms = (0..codebooks.len()).map(|level| make.norm(&format!("head.{level}.norm"), dim)).collect();
        let head = make.table("head", codes);
        let layout = Self { code, item, context, kv, slices, layers, head_norms, head, starts };
        (make.params, layout)
    }

    /// Row of BOS in the code table.
    pub(super) fn bos(&self) -> u32 {
        self.starts[self.starts.len() - 1]
    }

    /// Rows of a level's codes in the code table and the head.
    pub(super) fn codes(&self, level: usize) -> Range<usize> {
        self.starts[level] as usize..self.starts[level + 1] as usize
    }
}

/// Which of `slices` layer `layer` of `layers` reads: `⌊layer · slices / layers⌋`.
pub(super) fn slice_of(layer: usize, slices: usize, layers: usize) -> usize {
    layer * slices / layers
}
