//! A lazy decoder's whole beam search on the device: every level's kernels, one after another, without the host.
//!
//! ```text
//! level: gather ─► [ norm+quantise ─► q ─► cross-attention ─► quantise ─► o ─► norm+quantise ─► q k v
//!                    ─► own attention ─► quantise ─► o ─► norm+quantise ─► up ─► gate+quantise ─► down ] × layers
//!        ─► norm ─► head ─► trie, best k ─► next level
//! ```
//! In: weights, packed once and shared; a request's keys, values and restrictions. Out: beams of the last level. One
//! request at a time. [`Decoder::decode`] launches and does nothing else, over memory that stays where it is, so that
//! [`super::Graphs`] can capture it: the span of the context and all masks are read on the device, and one capture serves
//! every request of its [`Walk`]. In [`Precision::Bf16`] nothing is quantised and the same steps follow each other. Never
//! run on a device.

#![allow(unsafe_code)] // `launch!`.

mod request;
mod shape;
mod weights;

use std::sync::Arc;

use cudarc::driver::{CudaSlice, DevicePtr};

use super::engine::{grid, launch};
use super::layers::{Plans, Precision, Products, Rows};
use super::{Blas, CudaError, Engine, GemmTable, Operands};
use request::{COUNT, MISSING, Memory, POSITION, SPAN, STATUS};
use weights::LevelWeights;

pub use request::{Found, NONE, Request};
pub use shape::Shape;
pub use weights::{DecoderWeights, Given, Map, Norm, Source, TrieLevel, TrieLevels};

/// Folded rows of a block of cross-attention.
const FOLDED: usize = 64;

/// Candidates that one block selects from; more are narrowed by as many blocks first. Nobody has measured where the two
/// ways meet.
const PART: usize = 16 * 1024;

/// Which nodes a search walks: what tells captures of one decoder apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Walk {
    /// All of the trie.
    Open,
    /// Those that the request's masks leave.
    Restricted,
}

/// Keys and values that a layer's steps leave behind: `[levels, beams, width]`.
struct Past {
    keys: CudaSlice<u16>,
    values: CudaSlice<u16>,
}

/// The beams that enter a level, or leave the last: codes, nodes, scores, of all beams each.
struct Entering(CudaSlice<u32>);

/// A search over weights, with memory of its own.
pub struct Decoder {
    weights: Arc<DecoderWeights>,
    memory: Memory,
    past: Vec<Past>,
    /// One more than levels: the last holds what the search found.
    entering: Vec<Entering>,
    parents: CudaSlice<u32>,
    x: CudaSlice<f32>,
    normed: Rows,
    queries: CudaSlice<u16>,
    attended: CudaSlice<u16>,
    opened: CudaSlice<f32>,
    gated: Rows,
    logits: CudaSlice<f32>,
    keys: CudaSlice<u64>,
    slots: CudaSlice<u32>,
    part_keys: CudaSlice<u64>,
    part_places: CudaSlice<u32>,
    mixed: Rows,
    last: Rows,
    plans: Plans,
}

impl Decoder {
    /// Takes all memory that searching will need.
    ///
    /// # Errors
    /// If the library has no plan for a product, or the device refuses.
    pub fn new(engine: &Engine, blas: &Blas, weights: Arc<DecoderWeights>) -> Result<Self, CudaError> {
        let shape = &weights.shape;
        let (precision, width, inner, beams, levels) =
            (shape.precision, shape.width, shape.inner, shape.beams, shape.levels());
        let mut plans = Plans::default();
        for m in [1, beams] {
            for &codes in &shape.codes {
                plans.add(blas, Operands::Bf16Single, [m, codes, width])?;
            }
            let wide = [[width, width], [2 * inner, width], [width, inner]].map(|[n, k]| [m, n, k]);
            match precision {
                Precision::Bf16 => {
                    plans.add(blas, Operands::Bf16, [m, width, width])?;
                    wide.iter().try_for_each(|&shape| plans.add(blas, Operands::Bf16Single, shape))?;
                }
                Precision::E4m3 => {
                    plans.choose(engine, blas, Operands::E4m3, [m, width, width])?;
                    wide.iter().try_for_each(|&shape| plans.choose(engine, blas, Operands::E4m3Single, shape))?;
                }
            }
        }
        let past = || -> Result<Past, CudaError> {
            let room = levels * beams * width;
            Ok(Past { keys: engine.zeros(room)?, values: engine.zeros(room)? })
        };
        let past = (0..shape.layers()).map(|_| past()).collect::<Result<_, _>>()?;
        let entering =
            (0..=levels).map(|_| Ok(Entering(engine.zeros(3 * beams)?))).collect::<Result<_, CudaError>>()?;
        let children: Vec<u32> = weights.levels.iter().map(|level| level.children).collect();
        let most = children.iter().copied().max().unwrap_or(0) as usize;
        let codes = shape.codes.iter().copied().max().unwrap_or(0);
        let parts = weights.levels.iter().map(|level| parts(engine, level, beams)).max().unwrap_or(1);
        Ok(Self {
            memory: Memory::new(engine, shape, &children, &weights.labels)?,
            past,
            entering,
            parents: engine.zeros((levels + 1) * beams)?,
            x: engine.zeros(beams * width)?,
            normed: Rows::room(engine, precision, beams, width)?,
            queries: engine.zeros(beams * width)?,
            attended: engine.zeros(beams * width)?,
            opened: engine.zeros(beams * 2 * inner)?,
            gated: Rows::room(engine, precision, beams, inner)?,
            logits: engine.zeros(beams * codes)?,
            keys: engine.zeros(most)?,
            slots: engine.zeros(beams + 1)?,
            part_keys: engine.zeros(parts * beams)?,
            part_places: engine.zeros(parts * beams)?,
            mixed: Rows::room(engine, precision, beams, width)?,
            last: Rows::room(engine, Precision::Bf16, beams, width)?,
            plans,
            weights,
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.weights.shape
    }

    /// By what each shape of E4M3 is multiplied.
    #[must_use]
    pub fn chosen(&self) -> &GemmTable {
        &self.plans.chosen
    }

    /// Uploads a request; how the search has to walk then.
    ///
    /// # Errors
    /// If it does not fit the weights or the trie, or a copy fails.
    pub fn put(&mut self, engine: &Engine, request: &Request<'_>) -> Result<Walk, CudaError> {
        let weights = &self.weights;
        self.memory.put(engine, &weights.shape, &weights.labels, request)?;
        Ok(if request.alive.is_some() { Walk::Restricted } else { Walk::Open })
    }

    /// Launches the whole search; nothing is allocated, copied to the host or waited for.
    ///
    /// # Errors
    /// If a launch fails.
    pub fn decode(&mut self, engine: &Engine, blas: &Blas, walk: Walk) -> Result<(), CudaError> {
        for level in 0..self.shape().levels() {
            self.step(engine, blas, level, walk)?;
        }
        Ok(())
    }

    /// Launches the last part of a level alone: log-softmax, trie, the best.
    ///
    /// # Errors
    /// If a launch fails.
    pub fn search_alone(&mut self, engine: &Engine, level: usize) -> Result<(), CudaError> {
        let weights = Arc::clone(&self.weights);
        let rows = if level == 0 { 1 } else { weights.shape.beams };
        self.search(engine, &weights, level.min(weights.shape.levels() - 1), rows, Walk::Open)
    }

    /// The leaves found, after waiting.
    ///
    /// # Errors
    /// If a kernel before failed, or read or wrote beyond what it was given.
    pub fn found(&self, engine: &Engine) -> Result<Found, CudaError> {
        let state = engine.download(&self.memory.state, COUNT + 1)?;
        if state[MISSING] != 0 {
            return Err(CudaError::new("embedding of a beam", "a code beyond its table"));
        }
        if state[STATUS] & 2 != 0 {
            return Err(CudaError::new("beam step", "more candidates than there is room for"));
        }
        let (beams, last) = (self.shape().beams, &self.entering[self.shape().levels()].0);
        let count = beams.min(state[COUNT] as usize);
        let words = engine.download(last, 3 * beams)?;
        let leaves = words[beams..beams + count].to_vec();
        let scores = words[2 * beams..2 * beams + count].iter().map(|&bits| f32::from_bits(bits)).collect();
        Ok(Found { leaves, scores, not_a_number: state[STATUS] & 1 != 0 })
    }

    fn step(&mut self, engine: &Engine, blas: &Blas, level: usize, walk: Walk) -> Result<(), CudaError> {
        let weights = Arc::clone(&self.weights);
        let (shape, now) = (&weights.shape, &weights.levels[level]);
        let (width, inner, beams) = (shape.width, shape.inner, shape.beams);
        let rows = if level == 0 { 1 } else { beams };
        let (heads, head, plans) = (shape.heads, shape.head(), &self.plans);
        let multiply = Products { engine, blas, plans };
        let (columns, count, heads_count, groups) = (width as i32, rows as i32, heads as i32, shape.groups as i32);
        let (capacity, depth, scale) = (beams as u32, level as i32, 1.0 / (head as f32).sqrt());
        let (cross, own) = match head {
            64 => ("cross_attention_64", "beam_attention_64"),
            _ => ("cross_attention_128", "beam_attention_128"),
        };
        {
            let codes = self.entering[level].0.slice(..beams);
            let mut missing = self.memory.state.slice_mut(MISSING..=MISSING);
            launch!(
                engine,
                "embedding_gather_f32",
                grid((rows, 1, 1), 128, 0),
                [&now.inputs, &codes, &mut self.x, &mut missing, &now.rows, &columns, &shape.scale]
            )?;
        }
        let span = self.memory.state.slice(SPAN..SPAN + 2);
        let position = self.memory.state.slice(POSITION..=POSITION);
        for ((layer, past), &slice) in weights.layers.iter().zip(&mut self.past).zip(&shape.slices) {
            self.normed.norm(engine, &self.x, &layer.cross_gain, (rows, width))?;
            multiply.into_bf16((&self.normed, rows), &layer.cross_query, &mut self.queries.slice_mut(..))?;
            let keys = self.memory.context.slice(Memory::place(shape, slice, false)..);
            let values = self.memory.context.slice(Memory::place(shape, slice, true)..);
            let (bias, distances) = match &layer.distances {
                Some(scores) => (address(engine, scores), shape.distances as i32),
                None => (0, 0),
            };
            let folded = rows * (heads / shape.groups);
            launch!(
                engine,
                cross,
                grid((folded.div_ceil(FOLDED), shape.groups, 1), 128, 4 * FOLDED * (head + 8) * 2),
                [
                    &self.queries,
                    &keys,
                    &values,
                    &span,
                    &bias,
                    &position,
                    &weights.positions,
                    self.mixed.attended(&mut self.attended),
                    &count,
                    &heads_count,
                    &groups,
                    &distances,
                    &scale
                ]
            )?;
            self.mixed.take(engine, &self.attended, (rows, width))?;
            multiply.into_f32((&self.mixed, rows), &layer.cross_out, &mut self.x, true)?;
            self.normed.norm(engine, &self.x, &layer.own_gain, (rows, width))?;
            let here = level * beams * width..(level + 1) * beams * width;
            multiply.into_bf16((&self.normed, rows), &layer.own_query, &mut self.queries.slice_mut(..))?;
            multiply.into_bf16((&self.normed, rows), &layer.own_key, &mut past.keys.slice_mut(here.clone()))?;
            multiply.into_bf16((&self.normed, rows), &layer.own_value, &mut past.values.slice_mut(here))?;
            launch!(
                engine,
                own,
                grid(((rows * heads).div_ceil(4), 1, 1), 128, 0),
                [
                    &self.queries,
                    &past.keys,
                    &past.values,
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
        self.last.norm(engine, &self.x, &now.gain, (rows, width))?;
        multiply.into_f32((&self.last, rows), &now.head, &mut self.logits, false)?;
        self.search(engine, &weights, level, rows, walk)
    }

    /// The best children of all beams become the beams of the next level.
    fn search(
        &mut self,
        engine: &Engine,
        weights: &DecoderWeights,
        level: usize,
        rows: usize,
        walk: Walk,
    ) -> Result<(), CudaError> {
        let (shape, now) = (&weights.shape, &weights.levels[level]);
        let beams = shape.beams;
        let LevelWeights { offsets, codes: child_codes, children, .. } = now;
        let (before, after) = self.entering.split_at_mut(level + 1);
        let nodes = before[level].0.slice(beams..2 * beams);
        let scores = before[level].0.slice(2 * beams..);
        let last = level + 1 == shape.levels();
        // Leaves are taken away by their labels, other nodes by their bits.
        let labels = self.memory.labels.as_ref().filter(|_| last).map_or(0, |labels| address(engine, labels));
        let masked = !last && walk == Walk::Restricted;
        let alive = if masked { address(engine, &self.memory.alive[level].0) } else { 0 };
        let (count, width, best) = (rows as i32, shape.codes[level] as i32, beams as i32);
        let (zero, renormalise) = (0_u32, i32::from(shape.renormalise));
        {
            let mut status = self.memory.state.slice_mut(STATUS..=STATUS);
            launch!(
                engine,
                "beam_score",
                grid((rows, 1, 1), 256, 0),
                [
                    &self.logits,
                    offsets,
                    child_codes,
                    &labels,
                    &alive,
                    &nodes,
                    &scores,
                    &mut self.keys,
                    &mut self.slots,
                    &mut status,
                    &count,
                    &width,
                    children,
                    &zero,
                    &zero,
                    &renormalise
                ]
            )?;
        }
        let mut parents = self.parents.slice_mut((level + 1) * beams..(level + 2) * beams);
        let (mut next_codes, mut rest) = after[0].0.split_at_mut(beams);
        let (mut next_nodes, mut next_scores) = rest.split_at_mut(beams);
        let mut found = self.memory.state.slice_mut(COUNT..=COUNT);
        let parts = parts(engine, now, rows);
        if parts > 1 {
            launch!(
                engine,
                "beam_narrow",
                grid((parts, 1, 1), 1024, 0),
                [&self.keys, &self.slots, &mut self.part_keys, &mut self.part_places, &count, &best, children]
            )?;
            let parts = parts as u32;
            return launch!(
                engine,
                "beam_select_parts",
                grid((1, 1, 1), 1024, 0),
                [
                    &self.part_keys,
                    &self.part_places,
                    &self.slots,
                    offsets,
                    child_codes,
                    &nodes,
                    &mut parents,
                    &mut next_codes,
                    &mut next_nodes,
                    &mut next_scores,
                    &mut found,
                    &count,
                    &best,
                    &parts
                ]
            );
        }
        launch!(
            engine,
            "beam_select",
            grid((1, 1, 1), 1024, 0),
            [
                &self.keys,
                &self.slots,
                offsets,
                child_codes,
                &nodes,
                &mut parents,
                &mut next_codes,
                &mut next_nodes,
                &mut next_scores,
                &mut found,
                &count,
                &best,
                children
            ]
        )
    }
}

/// In how many parts the candidates of so many beams are narrowed before the best are selected.
fn parts(engine: &Engine, level: &LevelWeights, rows: usize) -> usize {
    let candidates = (rows * level.widest as usize).min(level.children as usize);
    candidates.div_ceil(PART).clamp(1, engine.device().multiprocessors.max(1) as usize)
}

/// Where memory lies that a kernel may also be told it has not. Everything is on the engine's one stream.
fn address<T>(engine: &Engine, slice: &CudaSlice<T>) -> u64 {
    slice.device_ptr(engine.stream()).0
}
