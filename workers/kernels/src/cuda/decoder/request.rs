//! What one request brings to a search, and what the search found.
//!
//! In: the context's keys and values and what may be answered, on the host. Out: memory on the device that stays where
//! it is, so that a captured search reads it; found leaves with scores. Never launches. Never run on a device.

use cudarc::driver::CudaSlice;

use super::super::{CudaError, Engine};
use super::shape::Shape;
use crate::bf16::round;

/// A leaf without an answer; a beam without a node.
pub const NONE: u32 = u32::MAX;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Tokens of the context.
    pub tokens: usize,
    /// Keys and values of every slice, `[tokens, groups · head]`; values are not read where they are the keys.
    pub context: &'a [(&'a [f32], &'a [f32])],
    /// A bit a node of every depth from 1 to the last but one, lowest first; `None`: all may be walked.
    pub alive: Option<&'a [Vec<u32>]>,
    /// By what name each leaf goes, [`NONE`] without an answer; `None`: as when nothing is restricted.
    pub labels: Option<&'a [u32]>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Leaves, best first.
    pub leaves: Vec<u32>,
    /// Their log-probabilities.
    pub scores: Vec<f32>,
    /// Whether some score was not a number.
    pub not_a_number: bool,
}

/// Words of [`Memory::state`]: the span's ends, the newest token's place, two statuses, how many beams were found.
pub(super) const SPAN: usize = 0;
pub(super) const POSITION: usize = 2;
pub(super) const STATUS: usize = 3;
pub(super) const MISSING: usize = 4;
pub(super) const COUNT: usize = 5;
const STATE: usize = 6;

/// A request's memory on the device.
pub(super) struct Memory {
    /// Keys of every slice, then its values where they are others: `[parts, context, groups · head]`.
    pub context: CudaSlice<u16>,
    pub state: CudaSlice<u32>,
    /// By depth from 1 on, all but the last; with how many words there are.
    pub alive: Vec<(CudaSlice<u32>, usize)>,
    /// Of the leaves; none where their numbers name them.
    pub labels: Option<CudaSlice<u32>>,
    /// Whether [`Memory::labels`] holds a request's own.
    own_labels: bool,
    staged: Vec<u16>,
}

/// Elements of one slice's keys, or values.
fn part(shape: &Shape) -> usize {
    shape.context * shape.key_width()
}

/// Keys and values of a slice that differ.
fn parts(shape: &Shape) -> usize {
    2 - usize::from(shape.shared)
}

impl Memory {
    pub fn new(engine: &Engine, shape: &Shape, children: &[u32], labels: &[u32]) -> Result<Self, CudaError> {
        let inner = &children[..children.len() - 1];
        let bits = |&nodes: &u32| {
            let words = (nodes as usize).div_ceil(32);
            engine.zeros(words).map(|made| (made, words))
        };
        let alive: Result<Vec<_>, _> = inner.iter().map(bits).collect();
        Ok(Self {
            context: engine.zeros(shape.slice_count() * parts(shape) * part(shape))?,
            // One token of zeros, so that a search without a request has something to read.
            state: engine.upload(&[0, 1, 0, 0, 0, 0])?,
            alive: alive?,
            labels: if labels.is_empty() { None } else { Some(engine.upload(labels)?) },
            own_labels: false,
            staged: Vec::new(),
        })
    }

    /// Where the keys, or the values, of a slice begin.
    pub fn place(shape: &Shape, slice: usize, values: bool) -> usize {
        (slice * parts(shape) + usize::from(values && !shape.shared)) * part(shape)
    }

    /// Uploads a request. `usual` are the labels where nothing is restricted.
    pub fn put(
        &mut self,
        engine: &Engine,
        shape: &Shape,
        usual: &[u32],
        request: &Request<'_>,
    ) -> Result<(), CudaError> {
        let Request { tokens, context, alive, labels } = *request;
        let wrong = |what: &str| Err(CudaError::new("request", what.to_owned()));
        let (numbers, wanted) = (tokens * shape.key_width(), shape.slice_count());
        if tokens == 0 || tokens > shape.context || context.len() != wanted {
            return wrong("its context is empty, too long, or of other slices");
        }
        let fit = |alive: &[Vec<u32>]| {
            alive.len() == self.alive.len() && alive.iter().zip(&self.alive).all(|(from, to)| from.len() == to.1)
        };
        if !alive.is_none_or(fit) {
            return wrong("nodes of another trie");
        }
        for (slice, (keys, values)) in context.iter().enumerate() {
            let both = [(*keys, false), (*values, true)];
            for &(rows, is_values) in &both[..parts(shape)] {
                if rows.len() != numbers {
                    return wrong("keys or values of another width");
                }
                self.staged.clear();
                self.staged.extend(rows.iter().map(|&x| round(x)));
                let at = Self::place(shape, slice, is_values);
                engine.put(&self.staged, &mut self.context, at)?;
            }
        }
        for ((to, _), from) in self.alive.iter_mut().zip(alive.unwrap_or_default()) {
            engine.put(from, to, 0)?;
        }
        if let Some(to) = &mut self.labels {
            if let Some(labels) = labels {
                if labels.len() != usual.len() {
                    return wrong("labels of another trie");
                }
                engine.put(labels, to, 0)?;
            } else if self.own_labels {
                engine.put(usual, to, 0)?;
            }
            self.own_labels = labels.is_some();
        } else if labels.is_some() {
            return wrong("labels, where leaves go by their numbers");
        }
        let mut state = [0; STATE];
        (state[SPAN + 1], state[POSITION]) = (tokens as u32, tokens as u32 - 1);
        engine.put(&state, &mut self.state, 0)
    }
}
