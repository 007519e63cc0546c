//! A decoder's weights and trie on the device: packed once, read by any number of searches.
//!
//! In: a [`Source`], asked for one part at a time, so that no more than one need lie on the host, and the trie. Out:
//! [`DecoderWeights`]. Codes and scales that come quantised are uploaded as they are: what was judged is what serves.
//! Embeddings stay in f32, heads become bf16. Never run on a device.

use std::borrow::Cow;

use cudarc::driver::CudaSlice;

use super::super::layers::{Precision, Weights};
use super::super::{CudaError, Engine, Packed};
use super::shape::Shape;
use crate::bf16::rounded;
use crate::fp8::Quantised;

/// A level of the trie, on the host.
#[derive(Clone, Debug)]
pub struct TrieLevel {
    /// Children of node `n` are `offsets[n]..offsets[n + 1]`.
    pub offsets: Vec<u32>,
    /// The code of each child.
    pub codes: Vec<u32>,
}

/// The trie of items, on the host.
#[derive(Clone, Debug)]
pub struct TrieLevels {
    /// Level by level from the root.
    pub levels: Vec<TrieLevel>,
    /// By what name each leaf goes where scores are equal; `u32::MAX` takes it away. Empty: its own number.
    pub labels: Vec<u32>,
}

/// A linear map of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Map {
    /// Queries of cross-attention.
    CrossQuery,
    /// What cross-attention gives.
    CrossOut,
    /// Queries of self-attention.
    OwnQuery,
    /// Its keys.
    OwnKey,
    /// Its values.
    OwnValue,
    /// What it gives.
    OwnOut,
    /// Gate and value of the gated unit, `[2 · inner, width]`.
    Up,
    /// What the gated unit gives.
    Down,
}

/// A gain of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Before cross-attention.
    Cross,
    /// Before self-attention.
    Own,
    /// Before the gated unit.
    Inner,
}

/// Weights of a linear map, row-major `[out, in]`.
#[derive(Clone, Debug)]
pub enum Given<'a> {
    /// For [`Precision::Bf16`].
    Floats(Cow<'a, [f32]>),
    /// For [`Precision::E4m3`]; a scale a row, or one for all.
    Codes(Cow<'a, Quantised>),
}

/// Where weights come from.
pub trait Source {
    /// Weights of a map of a layer, `[rows, cols]`.
    fn linear(&mut self, layer: usize, map: Map, shape: [usize; 2]) -> Given<'_>;
    /// A gain of a layer, `[width]`.
    fn gain(&mut self, layer: usize, norm: Norm, cols: usize) -> Cow<'_, [f32]>;
    /// Scores by distance of a layer's cross-attention, `[heads, distances]`; not asked for without distances.
    fn distances(&mut self, layer: usize, shape: [usize; 2]) -> Cow<'_, [f32]>;
    /// Rows of what enters a level, `[rows, width]`: one row at the first, one a code of the level before afterwards.
    fn inputs(&mut self, level: usize, shape: [usize; 2]) -> Cow<'_, [f32]>;
    /// The gain before a level's head, `[width]`.
    fn head_gain(&mut self, level: usize, cols: usize) -> Cow<'_, [f32]>;
    /// A level's head, `[codes, width]`.
    fn head(&mut self, level: usize, shape: [usize; 2]) -> Cow<'_, [f32]>;
}

pub(super) struct LayerWeights {
    pub cross_gain: CudaSlice<f32>,
    pub cross_query: Weights,
    pub cross_out: Weights,
    pub distances: Option<CudaSlice<f32>>,
    pub own_gain: CudaSlice<f32>,
    pub own_query: Weights,
    pub own_key: Weights,
    pub own_value: Weights,
    pub own_out: Weights,
    pub inner_gain: CudaSlice<f32>,
    pub up: Weights,
    pub down: Weights,
}

/// What a level has of its own.
pub(super) struct LevelWeights {
    pub inputs: CudaSlice<f32>,
    pub rows: u32,
    pub gain: CudaSlice<f32>,
    pub head: Weights,
    pub offsets: CudaSlice<u32>,
    pub codes: CudaSlice<u32>,
    pub children: u32,
    /// Children of the node that has most.
    pub widest: u32,
}

/// A decoder's weights and trie on the device.
pub struct DecoderWeights {
    pub(super) shape: Shape,
    pub(super) layers: Vec<LayerWeights>,
    pub(super) levels: Vec<LevelWeights>,
    /// Names of the leaves; empty: their numbers.
    pub(super) labels: Vec<u32>,
    /// Place of every token in its context.
    pub(super) positions: CudaSlice<u32>,
}

/// Uploads floats of a known length.
fn floats(engine: &Engine, values: &[f32], shape: [usize; 2], what: &str) -> Result<CudaSlice<f32>, CudaError> {
    fits(values.len(), shape, what)?;
    engine.upload(values)
}

fn fits(found: usize, [rows, cols]: [usize; 2], what: &str) -> Result<(), CudaError> {
    if found == rows * cols {
        return Ok(());
    }
    Err(CudaError::new("packing of a decoder", format!("{what} has {found} numbers, {rows} x {cols} are wanted")))
}

fn linear(engine: &Engine, precision: Precision, given: &Given<'_>, shape: [usize; 2]) -> Result<Weights, CudaError> {
    let [rows, cols] = shape;
    match (precision, given) {
        (Precision::Bf16, Given::Floats(values)) => {
            fits(values.len(), shape, "a linear map")?;
            Ok(Weights::Bf16 { values: engine.upload(&rounded(values))?, rows, cols })
        }
        (Precision::E4m3, Given::Codes(codes)) => {
            fits(codes.codes().len(), shape, "a linear map")?;
            Ok(Weights::E4m3(Packed::new(engine, &[codes.as_ref()], cols)?))
        }
        _ => Err(CudaError::new("packing of a decoder", format!("weights of another precision than {precision:?}"))),
    }
}

impl DecoderWeights {
    /// Uploads weights and trie, and waits until they are there.
    ///
    /// # Errors
    /// If a size has no kernel, a part has another size than is asked for, or the device refuses.
    pub fn new(engine: &Engine, shape: &Shape, trie: &TrieLevels, source: &mut dyn Source) -> Result<Self, CudaError> {
        shape.check()?;
        let shape = shape.clone();
        let (width, inner, precision) = (shape.width, shape.inner, shape.precision);
        let leaves = trie.levels.last().map_or(0, |level| level.codes.len());
        if trie.levels.len() != shape.levels() || !(trie.labels.is_empty() || trie.labels.len() == leaves) {
            return Err(CudaError::new("packing of a decoder", "the trie is of another shape"));
        }
        let mut layers = Vec::new();
        for layer in 0..shape.layers() {
            let mut map = |map: Map, dims: [usize; 2]| {
                let given = source.linear(layer, map, dims);
                linear(engine, precision, &given, dims)
            };
            let square = [width, width];
            let (cross_query, cross_out) = (map(Map::CrossQuery, square)?, map(Map::CrossOut, square)?);
            let (own_query, own_key) = (map(Map::OwnQuery, square)?, map(Map::OwnKey, square)?);
            let (own_value, own_out) = (map(Map::OwnValue, square)?, map(Map::OwnOut, square)?);
            let (up, down) = (map(Map::Up, [2 * inner, width])?, map(Map::Down, [width, inner])?);
            let mut gain = |norm| floats(engine, &source.gain(layer, norm, width), [1, width], "a gain");
            let (cross_gain, own_gain, inner_gain) = (gain(Norm::Cross)?, gain(Norm::Own)?, gain(Norm::Inner)?);
            let scores = [shape.heads, shape.distances];
            let distances = match shape.distances {
                0 => None,
                _ => Some(floats(engine, &source.distances(layer, scores), scores, "scores by distance")?),
            };
            layers.push(LayerWeights {
                cross_gain,
                cross_query,
                cross_out,
                distances,
                own_gain,
                own_query,
                own_key,
                own_value,
                own_out,
                inner_gain,
                up,
                down,
            });
        }
        let mut levels = Vec::new();
        for (level, below) in trie.levels.iter().enumerate() {
            let codes = shape.codes[level];
            if below.codes.iter().any(|&code| code as usize >= codes) {
                return Err(CudaError::new("packing of a decoder", format!("level {level} has codes beyond {codes}")));
            }
            let rows = if level == 0 { 1 } else { shape.codes[level - 1] };
            let inputs = floats(engine, &source.inputs(level, [rows, width]), [rows, width], "an embedding")?;
            let gain = floats(engine, &source.head_gain(level, width), [1, width], "a gain")?;
            let head = Given::Floats(source.head(level, [codes, width]));
            levels.push(LevelWeights {
                inputs,
                rows: rows as u32,
                gain,
                head: linear(engine, Precision::Bf16, &head, [codes, width])?,
                offsets: engine.upload(&below.offsets)?,
                codes: engine.upload(&below.codes)?,
                children: below.codes.len() as u32,
                widest: below.offsets.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0),
            });
        }
        let positions: Vec<u32> = (0..shape.context as u32).collect();
        let positions = engine.upload(&positions)?;
        // Searches read on streams of their own.
        engine.wait()?;
        Ok(Self { shape, layers, levels, labels: trie.labels.clone(), positions })
    }

    /// Their sizes.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}
