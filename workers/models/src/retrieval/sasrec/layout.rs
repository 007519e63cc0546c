//! The weights of a SASRec: which there are, how they start, where they lie.
//!
//! In: the configuration and a seed. Out: weights and their places.

use recmesh_contract::config;
use recmesh_kernels::{Init, ParamId, Params, Role};

use super::super::header::ITEM_TABLE;

/// Gain and bias of a layer norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub gain: ParamId,
    pub bias: ParamId,
}

/// One block: attention and feed-forward layer, each behind a norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub attention_norm: Norm,
    pub query: ParamId,
    pub key: ParamId,
    pub value: ParamId,
    pub output: ParamId,
    pub ffn_norm: Norm,
    pub up: ParamId,
    pub up_bias: ParamId,
    pub down: ParamId,
    pub down_bias: ParamId,
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// `[items, dim]`: input embedding and output weights.
    pub item: ParamId,
    /// `[max_length, dim]`.
    pub position: ParamId,
    pub blocks: Vec<Block>,
    pub norm: Norm,
}

/// Deviation of embeddings at the start: the tied output then starts near uniform.
const EMBEDDING: f32 = 0.02;

/// Adds weights: drawn from a seed, or zero where a file is about to fill them.
struct Maker {
    params: Params,
    seed: Option<u64>,
}

impl Maker {
    fn add(&mut self, name: &str, role: Role, rows: usize, cols: usize, init: Init) -> ParamId {
        let init = if self.seed.is_some() { init } else { Init::Zeros };
        self.params.add(name, role, rows, cols, init, self.seed.unwrap_or_default())
    }

    fn matrix(&mut self, name: &str, out: usize, input: usize) -> ParamId {
        self.add(name, Role::Matrix, out, input, Init::Normal((2.0 / (input + out) as f32).sqrt()))
    }

    fn bias(&mut self, name: &str, cols: usize) -> ParamId {
        self.add(&format!("{name}.bias"), Role::Vector, 1, cols, Init::Zeros)
    }

    fn norm(&mut self, name: &str, cols: usize) -> Norm {
        Norm { gain: self.add(&format!("{name}.gain"), Role::Vector, 1, cols, Init::Ones), bias: self.bias(name, cols) }
    }
}

impl Layout {
    /// Weights drawn from `seed`; without one all zero, to be filled from a file.
    pub(super) fn new(config: &config::SasRec, items: usize, seed: Option<u64>) -> (Params, Self) {
        let (dim, hidden) = (config.dim as usize, config.dim as usize * config.ffn as usize);
        let mut make = Maker { params: Params::default(), seed };
        let table = Init::Normal(EMBEDDING);
        let item = make.add(ITEM_TABLE, Role::Embedding, items, dim, table);
        let position = make.add("position", Role::Embedding, config.max_length as usize, dim, table);
        let blocks = (0..config.blocks).map(|block| Block {
            attention_norm: make.norm(&format!("blocks.{block}.attention.norm"), dim),
            query: make.matrix(&format!("blocks.{block}.attention.query"), dim, dim),
            key: make.matrix(&format!("blocks.{block}.attention.key"), dim, dim),
            value: make.matrix(&format!("blocks.{block}.attention.value"), dim, dim),
            output: make.matrix(&format!("blocks.{block}.attention.output"), dim, dim),
            ffn_norm: make.norm(&format!("blocks.{block}.ffn.norm"), dim),
            up: make.matrix(&format!("blocks.{block}.ffn.up"), hidden, dim),
            up_bias: make.bias(&format!("blocks.{block}.ffn.up"), hidden),
            down: make.matrix(&format!("blocks.{block}.ffn.down"), dim, hidden),
            down_bias: make.bias(&format!("blocks.{block}.ffn.down"), dim),
        });
        let blocks = blocks.collect();
        let norm = make.norm("norm", dim);
        (make.params, Self { item, position, blocks, norm })
    }
}
