//! A lazy decoder's whole beam search on the device: every level's kernels, one after another, without the host.
//!
//! ```text
//! level: gather ─► [ norm+quantise ─► q ─► cross-attention ─► quantise ─► o ─► norm+quantise ─► q k v
//!                    ─► own attention ─► quantise ─► o ─► norm+quantise ─► up ─► gate+quantise ─► down ] × layers
//!        ─► norm ─► head ─► trie, best k ─► next level
//! ```
//! In: weights, packed once; the context's keys in place. Out: beams of the last level, on the device. One request.
//! [`Decoder::decode`] launches and does nothing else, so that [`super::Graphs`] can capture it. In [`Precision::Bf16`]
//! nothing is quantised and the same steps follow each other. Never run on a device.

#![allow(unsafe_code)] // `launch!`.

use cudarc::driver::CudaSlice;

use super::engine::{grid, launch};
use super::layers::{Plans, Precision, Products, Rows, Weights};
use super::{Blas, CudaError, Engine, Operands};
use crate::bf16::rounded;

/// Sizes of a decoder and of a search. Heads are 128 wide, with one key head for the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// In what the layers multiply.
    pub precision: Precision,
    /// Columns of a row between layers.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Columns of the gated unit.
    pub inner: usize,
    /// Codes a level.
    pub codes: usize,
    /// Levels of an item's code.
    pub levels: usize,
    /// Keys of the context.
    pub context: usize,
    /// Beams.
    pub beams: usize,
}

/// A level of the trie, on the host.
#[derive(Clone, Debug)]
pub struct TrieLevel {
    /// Children of node `n` are `offsets[n]..offsets[n + 1]`.
    pub offsets: Vec<u32>,
    /// The code of each child.
    pub codes: Vec<u32>,
}

const HEAD: usize = 128;

struct Layer {
    cross_gain: CudaSlice<f32>,
    cross_query: Weights,
    cross_out: Weights,
    own_gain: CudaSlice<f32>,
    own_query: Weights,
    own_key: Weights,
    own_value: Weights,
    own_out: Weights,
    inner_gain: CudaSlice<f32>,
    up: Weights,
    down: Weights,
    context: CudaSlice<u16>,
    keys: CudaSlice<u16>,
    values: CudaSlice<u16>,
}

struct Depth {
    table: CudaSlice<u16>,
    rows: u32,
    head: Weights,
    gain: CudaSlice<f32>,
    offsets: CudaSlice<u32>,
    codes: CudaSlice<u32>,
    children: u32,
    /// Code, node and score of each beam that enters the level.
    entered: CudaSlice<u32>,
    nodes: CudaSlice<u32>,
    scores: CudaSlice<f32>,
}

/// A decoder with its memory.
pub struct Decoder {
    shape: Shape,
    layers: Vec<Layer>,
    /// One more than levels: the last holds what the search found.
    depths: Vec<Depth>,
    parents: CudaSlice<u32>,
    spans: CudaSlice<u32>,
    x: CudaSlice<f32>,
    normed: Rows,
    queries: CudaSlice<u16>,
    attended: CudaSlice<u16>,
    opened: CudaSlice<f32>,
    gated: Rows,
    logits: CudaSlice<f32>,
    keys: CudaSlice<u64>,
    slots: CudaSlice<u32>,
    status: CudaSlice<u32>,
    counts: CudaSlice<u32>,
    mixed: Rows,
    last: Rows,
    plans: Plans,
}

/// Fills in weights: rows and columns in, values out.
pub type Fill<'a> = dyn FnMut(usize, usize) -> Vec<f32> + 'a;

impl Decoder {
    /// Packs the weights and takes all memory that decoding will need.
    ///
    /// # Errors
    /// If a size has no kernel, or the device refuses.
    pub fn new(
        engine: &Engine,
        blas: &Blas,
        shape: Shape,
        trie: &[TrieLevel],
        weights: &mut Fill<'_>,
    ) -> Result<Self, CudaError> {
        let Shape { precision, width, inner, codes, levels, context, beams, .. } = shape;
        if !width.is_multiple_of(HEAD) || beams == 0 || beams > 1024 || trie.len() != levels || levels > 8 {
            return Err(CudaError::new("decoder", format!("no kernels for {shape:?} and {} trie levels", trie.len())));
        }
        let gain = |cols: usize| engine.upload(&vec![1.0_f32; cols]);
        let mut plans = Plans::default();
        let mut matrix = |weights: &mut Fill<'_>, rows: usize, cols: usize| {
            if precision == Precision::Bf16 {
                for m in [1, beams] {
                    plans.add(blas, Operands::Bf16, [m, rows, cols])?;
                    plans.add(blas, Operands::Bf16Single, [m, rows, cols])?;
                }
            }
            Weights::new(engine, precision, &weights(rows, cols), rows, cols)
        };
        let mut layers = Vec::new();
        for _ in 0..shape.layers {
            layers.push(Layer {
                cross_gain: gain(width)?,
                cross_query: matrix(weights, width, width)?,
                cross_out: matrix(weights, width, width)?,
                own_gain: gain(width)?,
                own_query: matrix(weights, width, width)?,
                own_key: matrix(weights, width, width)?,
                own_value: matrix(weights, width, width)?,
                own_out: matrix(weights, width, width)?,
                inner_gain: gain(width)?,
                up: matrix(weights, 2 * inner, width)?,
                down: matrix(weights, width, inner)?,
                context: engine.upload(&rounded(&weights(context, HEAD)))?,
                keys: engine.zeros(levels * beams * width)?,
                values: engine.zeros(levels * beams * width)?,
            });
        }
        let mut depths = Vec::new();
        for level in 0..=levels {
            let last = level == levels;
            let rows = if level == 0 { 1 } else { codes };
            let none = TrieLevel { offsets: vec![0, 0], codes: Vec::new() };
            let below = trie.get(level).unwrap_or(&none);
            depths.push(Depth {
                table: engine.upload(&rounded(&if last { Vec::new() } else { weights(rows, width) }))?,
                rows: rows as u32,
                head: if last {
                    Weights::new(engine, Precision::Bf16, &[], 0, width)?
                } else {
                    Weights::new(engine, Precision::Bf16, &weights(codes, width), codes, width)?
                },
                gain: gain(width)?,
                offsets: engine.upload(&below.offsets)?,
                codes: engine.upload(&below.codes)?,
                children: below.codes.len() as u32,
                entered: engine.zeros(beams)?,
                nodes: engine.zeros(beams)?,
                scores: engine.zeros(beams)?,
            });
        }
        let most = trie.iter().map(|level| level.codes.len()).max().unwrap_or(0);
        for m in [1, beams] {
            plans.add(blas, Operands::Bf16Single, [m, codes, width])?;
        }
        Ok(Self {
            shape,
            layers,
            depths,
            parents: engine.zeros((levels + 1) * beams)?,
            spans: engine.upload(&[0, context as u32])?,
            x: engine.zeros(beams * width)?,
            normed: Rows::room(engine, precision, beams, width)?,
            queries: engine.zeros(beams * width)?,
            attended: engine.zeros(beams * width)?,
            opened: engine.zeros(beams * 2 * inner)?,
            gated: Rows::room(engine, precision, beams, inner)?,
            logits: engine.zeros(beams * codes)?,
            keys: engine.zeros(most)?,
            slots: engine.zeros(beams + 1)?,
            status: engine.zeros(1)?,
            counts: engine.zeros(1)?,
            mixed: Rows::room(engine, precision, beams, width)?,
            last: Rows::room(engine, Precision::Bf16, beams, width)?,
            plans,
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Launches the whole search; nothing is allocated, copied to the host or waited for.
    ///
    /// # Errors
    /// If a launch fails.
    pub fn decode(&mut self, engine: &Engine, blas: &Blas) -> Result<(), CudaError> {
        for level in 0..self.shape.levels {
            self.step(engine, blas, level)?;
        }
        Ok(())
    }

    /// Launches the last part of a level alone: log-softmax, trie, the best.
    ///
    /// # Errors
    /// If a launch fails.
    pub fn search_alone(&mut self, engine: &Engine, level: usize) -> Result<(), CudaError> {
        let rows = if level == 0 { 1 } else { self.shape.beams };
        self.search(engine, level.min(self.shape.levels - 1), rows, self.shape.codes)
    }

    /// Codes and scores of the beams found, after waiting.
    ///
    /// # Errors
    /// If a kernel before failed.
    pub fn found(&self, engine: &Engine) -> Result<(Vec<u32>, Vec<f32>), CudaError> {
        let count = self.shape.beams.min(engine.download(&self.counts, 1)?[0] as usize);
        let last = &self.depths[self.shape.levels];
        Ok((engine.download(&last.entered, count)?, engine.download(&last.scores, count)?))
    }

    fn step(&mut self, engine: &Engine, blas: &Blas, level: usize) -> Result<(), CudaError> {
        let Shape { width, inner, codes, beams, .. } = self.shape;
        let rows = if level == 0 { 1 } else { beams };
        let (heads, plans) = (width / HEAD, &self.plans);
        let multiply = Products { engine, blas, plans };
        let (columns, one) = (width as i32, 1.0_f32);
        let (count, heads_count, groups, none, null) = (rows as i32, heads as i32, 1_i32, 0_i32, 0_u64);
        let (capacity, depth, scale) = (beams as u32, level as i32, 1.0 / (HEAD as f32).sqrt());
        let entering = &self.depths[level];
        launch!(
            engine,
            "embedding_gather_bf16",
            grid((rows, 1, 1), 128, 0),
            [&entering.table, &entering.entered, &mut self.x, &mut self.status, &entering.rows, &columns, &one]
        )?;
        for layer in &mut self.layers {
            self.normed.norm(engine, &self.x, &layer.cross_gain, (rows, width))?;
            multiply.into_bf16((&self.normed, rows), &layer.cross_query, &mut self.queries.slice_mut(..))?;
            launch!(
                engine,
                "cross_attention_128",
                grid(((rows * heads).div_ceil(64), 1, 1), 128, 4 * 64 * (HEAD + 8) * 2),
                [
                    &self.queries,
                    &layer.context,
                    &layer.context,
                    &self.spans,
                    &null,
                    &null,
                    &null,
                    self.mixed.attended(&mut self.attended),
                    &count,
                    &heads_count,
                    &groups,
                    &none,
                    &scale
                ]
            )?;
            self.mixed.take(engine, &self.attended, (rows, width))?;
            multiply.into_f32((&self.mixed, rows), &layer.cross_out, &mut self.x, true)?;
            self.normed.norm(engine, &self.x, &layer.own_gain, (rows, width))?;
            let own = level * beams * width..(level + 1) * beams * width;
            multiply.into_bf16((&self.normed, rows), &layer.own_query, &mut self.queries.slice_mut(..))?;
            multiply.into_bf16((&self.normed, rows), &layer.own_key, &mut layer.keys.slice_mut(own.clone()))?;
            multiply.into_bf16((&self.normed, rows), &layer.own_value, &mut layer.values.slice_mut(own))?;
            launch!(
                engine,
                "beam_attention_128",
                grid(((rows * heads).div_ceil(4), 1, 1), 128, 0),
                [
                    &self.queries,
                    &layer.keys,
                    &layer.values,
                    &self.parents,
                    self.mixed.attended(&mut self.attended),
                    &count,
                    &heads_count,
                    &capacity,
                    &depth,
                    &scale
                ]
            )?;
            self.mixed.take(engine, &self.attended, (rows, width))?;
            multiply.into_f32((&self.mixed, rows), &layer.own_out, &mut self.x, true)?;
            self.normed.norm(engine, &self.x, &layer.inner_gain, (rows, width))?;
            multiply.into_f32((&self.normed, rows), &layer.up, &mut self.opened, false)?;
            self.gated.gate(engine, &self.opened, (rows, inner))?;
            multiply.into_f32((&self.gated, rows), &layer.down, &mut self.x, true)?;
        }
        self.last.norm(engine, &self.x, &entering.gain, (rows, width))?;
        multiply.into_f32((&self.last, rows), &entering.head, &mut self.logits, false)?;
        self.search(engine, level, rows, codes)
    }

    /// The best children of all beams become the beams of the next level.
    fn search(&mut self, engine: &Engine, level: usize, rows: usize, codes: usize) -> Result<(), CudaError> {
        let beams = self.shape.beams;
        let (before, after) = self.depths.split_at_mut(level + 1);
        let (now, next) = (&before[level], &mut after[0]);
        let (count, width, best) = (rows as i32, codes as i32, beams as i32);
        let (null, zero, nothing) = (0_u64, 0_u32, 0_i32);
        launch!(
            engine,
            "beam_score",
            grid((rows, 1, 1), 256, 0),
            [
                &self.logits,
                &now.offsets,
                &now.codes,
                &null,
                &null,
                &now.nodes,
                &now.scores,
                &mut self.keys,
                &mut self.slots,
                &mut self.status,
                &count,
                &width,
                &now.children,
                &zero,
                &zero,
                &nothing
            ]
        )?;
        let mut parents = self.parents.slice_mut((level + 1) * beams..(level + 2) * beams);
        launch!(
            engine,
            "beam_select",
            grid((1, 1, 1), 1024, 0),
            [
                &self.keys,
                &self.slots,
                &now.offsets,
                &now.codes,
                &now.nodes,
                &mut parents,
                &mut next.entered,
                &mut next.nodes,
                &mut next.scores,
                &mut self.counts,
                &count,
                &best,
                &now.children
            ]
        )
    }
}
