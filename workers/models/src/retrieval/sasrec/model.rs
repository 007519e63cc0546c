//! A SASRec: its forward pass, its loss, its folder.
//!
//! In: packed sequences. Out: a hidden row for every position, or for the last of each sequence alone. Weights are
//! shared until somebody trains them further, so a recommender over a model in training costs no copy.

use std::path::Path;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recmesh_catalog::Catalog;
use recmesh_contract::config::{self, QuantizationFormat, RetrievalAlgorithm, SoftmaxLoss};
use recmesh_contract::{ItemIndex, Recommend};
use recmesh_kernels::{Activation, Attention, Packed, ParamId, Params, Span, Tape, Var};

use super::super::header::Header;
use super::super::sequence::SequenceExample;
use super::layout::{Block, Layout, Norm};
use super::serve::Server;
use crate::{ModelError, Trainable, quant::Quantisable, weights};

/// Self-attentive sequential recommendation over item indices.
#[derive(Clone, Debug)]
pub struct SasRec {
    pub(super) config: config::SasRec,
    pub(super) items: usize,
    pub(super) layout: Layout,
    pub(super) params: Arc<Params>,
}

/// Sequences one after another.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    items: Vec<u32>,
    positions: Vec<u32>,
    spans: Vec<Span>,
    last: Vec<u32>,
    /// What the last position of each sequence sees: all of it.
    last_spans: Vec<Span>,
}

impl Sequences {
    pub(super) fn push(&mut self, sequence: &[ItemIndex]) {
        let start = self.items.len() as u32;
        for (position, &item) in (0u32..).zip(sequence) {
            self.items.push(item);
            self.positions.push(position);
            self.spans.push(Span { start, end: start + position + 1 });
        }
        self.last.push(self.items.len() as u32 - 1);
        self.last_spans.push(Span { start, end: self.items.len() as u32 });
    }

    /// Empty again, with the memory it has.
    pub(super) fn clear(&mut self) {
        let Self { items, positions, spans, last, last_spans } = self;
        items.clear();
        positions.clear();
        spans.clear();
        last.clear();
        last_spans.clear();
    }

    pub(super) fn rows(&self) -> usize {
        self.items.len()
    }
}

/// Which rows come out of the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Every position: training.
    All,
    /// The last position of each sequence: serving.
    Last,
}

impl SasRec {
    /// A model with fresh weights.
    ///
    /// # Errors
    /// When `heads` does not divide `dim`, or there are no items.
    pub fn new(config: &config::SasRec, items: usize, seed: u64) -> Result<Self, ModelError> {
        Self::build(config, items, Some(seed))
    }

    fn build(config: &config::SasRec, items: usize, seed: Option<u64>) -> Result<Self, ModelError> {
        if config.heads == 0 || !config.dim.is_multiple_of(config.heads) {
            let reason = format!("{} heads do not divide dim {}", config.heads, config.dim);
            return Err(ModelError::parameter("heads", reason));
        }
        if items == 0 {
            return Err(ModelError::Mismatch("a model over no items; the data set is empty".to_owned()));
        }
        let (params, layout) = Layout::new(config, items, seed);
        Ok(Self { config: config.clone(), items, layout, params: Arc::new(params) })
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let algorithm = RetrievalAlgorithm::SasRec(self.config.clone());
        weights::save(dir, &Header { algorithm, items: self.items, catalog: None }, &self.params)
    }

    pub(in super::super) fn load(dir: &Path, config: &config::SasRec, header: &Header) -> Result<Self, ModelError> {
        let mut model = Self::build(config, header.items, None)?;
        weights::load_arrays(dir)?.fill(model.params_mut())?;
        Ok(model)
    }

    /// The model as it is now, ready to answer with any of its items.
    #[must_use]
    pub fn recommender(&self) -> Box<dyn Recommend> {
        self.clone().into_recommender(None)
    }

    /// The model, ready to answer; with a catalog, only with its live items. Where nobody else holds the weights, what is
    /// packed for serving is not kept in its first form as well.
    #[must_use]
    pub fn into_recommender(self, catalog: Option<Arc<Catalog>>) -> Box<dyn Recommend> {
        Box::new(Server::new(self, catalog))
    }

    /// Hidden rows `[rows, dim]`, normed, ready for the item table.
    pub(super) fn forward(&self, tape: &mut Tape<'_>, batch: &Sequences, rows: Rows) -> Var {
        let drop = self.config.dropout as f32;
        let start = tape.mark();
        let items = tape.embed(self.layout.item, &batch.items);
        let items = tape.scale(items, (self.config.dim as f32).sqrt());
        let positions = tape.embed(self.layout.position, &batch.positions);
        let x = tape.add(items, positions);
        let mut x = tape.dropout(x, drop);
        for (depth, block) in self.layout.blocks.iter().enumerate() {
            let last = rows == Rows::Last && depth + 1 == self.layout.blocks.len();
            x = self.block(tape, block, x, batch, last);
            tape.release(start, &[x]);
        }
        norm(tape, self.layout.norm, x)
    }

    /// The weights as serving reads them. The last block's keys and values are never projected there.
    pub(super) fn packed(&self) -> Packed {
        let unprojected = self.unprojected();
        let layers = self.layout.blocks.iter().flat_map(|block| {
            let Block { query, key, value, output, up, down, .. } = *block;
            [query, key, value, output, up, down]
        });
        let layers: Vec<ParamId> =
            layers.filter(|&id| unprojected.is_none_or(|(key, value)| id != key && id != value)).collect();
        Packed::new(&self.params, &layers, &[])
    }

    /// The last block's projections of keys and values, where they can be left out: it is asked for one row a sequence.
    fn unprojected(&self) -> Option<(ParamId, ParamId)> {
        let last = self.layout.blocks.last()?;
        let plain = [last.key, last.value].into_iter().all(|id| self.params.quantised(id).is_none());
        plain.then_some((last.key, last.value))
    }

    fn block(&self, tape: &mut Tape<'_>, block: &Block, x: Var, batch: &Sequences, last: bool) -> Var {
        let (drop, heads) = (self.config.dropout as f32, self.config.heads as usize);
        // Of the last block's rows some are picked, and some are read as they are.
        let normed = if last {
            norm(tape, block.attention_norm, x)
        } else {
            let Norm { gain, bias } = block.attention_norm;
            tape.layer_norm_for(x, gain, bias, &[block.query, block.key, block.value])
        };
        let (x, attended) = match self.unprojected().filter(|_| last) {
            Some(projections) => {
                let (x, asked) = (tape.gather(x, &batch.last), tape.gather(normed, &batch.last));
                let query = tape.linear(asked, block.query, None);
                (x, tape.attention_unprojected(query, normed, projections, heads, &batch.last_spans))
            }
            None => {
                let key = tape.linear(normed, block.key, None);
                let value = tape.linear(normed, block.value, None);
                let (x, asked, spans) = if last {
                    (tape.gather(x, &batch.last), tape.gather(normed, &batch.last), &batch.last_spans)
                } else {
                    (x, normed, &batch.spans)
                };
                let query = tape.linear(asked, block.query, None);
                (x, tape.attention(query, key, value, Attention { heads, groups: heads, spans, bias: None }))
            }
        };
        let x = tape.linear_added(attended, block.output, None, drop, x);

        let Norm { gain, bias } = block.ffn_norm;
        let normed = tape.layer_norm_for(x, gain, bias, &[block.up]);
        let hidden = tape.linear_activated(normed, block.up, Some(block.up_bias), Activation::Relu);
        let hidden = tape.dropout(hidden, drop);
        tape.linear_added(hidden, block.down, Some(block.down_bias), drop, x)
    }
}

impl Trainable for SasRec {
    type Example = SequenceExample;

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        Arc::make_mut(&mut self.params)
    }

    fn weight(&self, example: &SequenceExample) -> f64 {
        example.targets(self.config.max_length as usize) as f64
    }

    fn loss(&self, tape: &mut Tape<'_>, examples: &[&SequenceExample], noise: u64) -> Var {
        let mut batch = Sequences::default();
        let mut targets = Vec::new();
        for example in examples {
            if let [inputs @ .., _] = example.window(self.config.max_length as usize) {
                batch.push(inputs);
                targets.extend_from_slice(&example.window(self.config.max_length as usize)[1..]);
            }
        }
        if targets.is_empty() {
            return tape.constant(1, 1, &[0.0]);
        }
        let hidden = self.forward(tape, &batch, Rows::All);
        match &self.config.loss {
            SoftmaxLoss::Full(_) => tape.softmax_loss(hidden, self.layout.item, 0..self.items, &targets, None),
            SoftmaxLoss::Sampled(sampled) => {
                let mut random = Pcg64Mcg::seed_from_u64(noise);
                let draws = 0..sampled.negatives;
                let negatives: Vec<u32> = draws.map(|_| random.random_range(0..self.items as u32)).collect();
                tape.sampled_softmax_loss(hidden, self.layout.item, &targets, &negatives, None)
            }
        }
    }
}

impl Quantisable for SasRec {
    fn linear_layers(&self) -> Vec<ParamId> {
        let layers = |block: &Block| {
            let Block { query, key, value, output, up, down, .. } = *block;
            [query, key, value, output, up, down]
        };
        self.layout.blocks.iter().flat_map(layers).collect()
    }

    /// The last block's keys and values, which cost less unprojected than projected in bytes.
    fn kept(&self, format: QuantizationFormat) -> Vec<ParamId> {
        match (format, self.layout.blocks.last()) {
            (QuantizationFormat::Int8, Some(last)) => vec![last.key, last.value],
            _ => Vec::new(),
        }
    }
}

fn norm(tape: &mut Tape<'_>, norm: Norm, x: Var) -> Var {
    tape.layer_norm(x, norm.gain, norm.bias)
}
