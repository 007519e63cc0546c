//! A lazy decoder: its loss over all positions in one pass, and its folder.
//!
//! In: sequences. Out: the mean over levels of the cross-entropy of the next item's codes, for every item that has one
//! before it. Weights are shared until somebody trains them further, so a recommender over a model in training costs
//! no copy.

use std::path::Path;
use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::{self, CodeLoss, RetrievalAlgorithm};
use recmesh_contract::{ItemIndex, Recommend};
use recmesh_kernels::{Packed, ParamId, Params, Span, Tape, Var};

use super::super::header::{Codes, Header};
use super::super::sequence::SequenceExample;
use super::blocks::Shape;
use super::context::{Context, Tokens};
use super::layout::{FeedForward, Layout, SelfAttention};
use super::serve::Server;
use crate::{ModelError, Trainable, quant::Quantisable, weights};

/// Why a decoder in signed bytes stays with the CPU.
pub(in super::super) const IN_BYTES: &str =
    "the model serves in int8, which is for CPUs; for a device set spec.quantization.format to e4m3, or remove it";

/// OneRec-V2's lazy decoder over the semantic IDs of a catalog.
#[derive(Clone)]
pub struct LazyDecoder {
    pub(super) config: config::LazyDecoder,
    pub(super) catalog: Arc<Catalog>,
    pub(super) layout: Layout,
    pub(super) shape: Shape,
    pub(super) params: Arc<Params>,
    /// Rows of every item's codes in the code table, level by level.
    paths: Arc<[u32]>,
}

/// Decoder rows of a training pass: `BOS, s1, …` of one target after another.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Rows of the code table.
    inputs: Vec<u32>,
    /// The history of the row's target.
    context: Vec<Span>,
    /// Place of the newest item of that history.
    positions: Vec<u32>,
    /// The row and those before it of the same target.
    own: Vec<Span>,
    /// The target's items.
    items: Vec<ItemIndex>,
}

impl LazyDecoder {
    /// A model with fresh weights over a catalog's semantic IDs.
    ///
    /// # Errors
    /// When head counts do not divide, `kvLayers` exceeds `layers`, or the catalog is empty.
    pub fn new(config: &config::LazyDecoder, catalog: Arc<Catalog>, seed: u64) -> Result<Self, ModelError> {
        Self::build(config, catalog, Some(seed))
    }

    fn build(config: &config::LazyDecoder, catalog: Arc<Catalog>, seed: Option<u64>) -> Result<Self, ModelError> {
        check(config)?;
        if catalog.is_empty() || catalog.levels() == 0 {
            return Err(ModelError::Mismatch("a decoder over a catalog without items or codes".to_owned()));
        }
        let (params, layout) = Layout::new(config, catalog.codebooks(), catalog.len(), seed);
        let starts = &layout.starts;
        let items = 0..catalog.len() as u32;
        let paths = items.flat_map(|item| catalog.codes(item).iter().zip(starts).map(|(code, start)| start + code));
        let paths = paths.collect();
        let shape =
            Shape { heads: config.heads as usize, groups: config.kv_groups as usize, dropout: config.dropout as f32 };
        Ok(Self { config: config.clone(), catalog, layout, shape, params: Arc::new(params), paths })
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let codes = Codes { digest: self.catalog.digest().to_owned(), codebooks: self.catalog.codebooks().to_vec() };
        let algorithm = RetrievalAlgorithm::LazyDecoder(self.config.clone());
        let header = Header { algorithm, items: self.catalog.len(), catalog: Some(codes) };
        weights::save(dir, &header, &self.params)
    }

    pub(in super::super) fn load(
        dir: &Path,
        config: &config::LazyDecoder,
        catalog: Arc<Catalog>,
    ) -> Result<Self, ModelError> {
        let mut model = Self::build(config, catalog, None)?;
        weights::load_arrays(dir)?.fill(model.params_mut())?;
        Ok(model)
    }

    /// The model as it is now, ready to answer.
    #[must_use]
    pub fn recommender(&self) -> Box<dyn Recommend> {
        Box::new(self.server())
    }

    /// The model, ready to answer. Where nobody else holds the weights, what is packed for serving is not kept in its
    /// first form as well.
    #[must_use]
    pub fn into_recommender(self) -> Box<dyn Recommend> {
        Box::new(Server::new(self))
    }

    /// The same with its counters in reach.
    #[must_use]
    pub fn server(&self) -> Server {
        Server::new(self.clone())
    }

    /// Embeddings start small; scaled by √d (arXiv 1706.03762, section 3.4) they weigh as much as what the sublayers
    /// add, so that the layers see which code they continue.
    pub(super) fn embedding_scale(&self) -> f32 {
        (self.config.d_model as f32).sqrt()
    }

    /// Tokens of a semantic ID.
    pub(super) fn levels(&self) -> usize {
        self.layout.head_norms.len()
    }

    /// The weights as serving reads them.
    pub(super) fn packed(&self) -> Packed {
        let gated: Vec<ParamId> = self.feed_forwards().map(|ffn| ffn.up).collect();
        let plain: Vec<ParamId> = self.linear_layers().into_iter().filter(|id| !gated.contains(id)).collect();
        let mut packed = Packed::new(&self.params, &plain, &gated);
        for level in 0..self.levels() {
            packed.add_classes(&self.params, self.layout.head, self.layout.codes(level));
        }
        packed
    }

    fn feed_forwards(&self) -> impl Iterator<Item = &FeedForward> {
        let context = self.layout.context.iter().map(|block| &block.ffn);
        context.chain(self.layout.layers.iter().map(|layer| &layer.ffn))
    }

    /// Rows of an item's codes in the code table.
    pub(super) fn path(&self, item: ItemIndex) -> &[u32] {
        &self.paths[item as usize * self.levels()..][..self.levels()]
    }

    /// Decoder rows `[targets · levels, d]` after all layers.
    pub(super) fn teach(&self, tape: &mut Tape<'_>, context: &Context, tokens: &Tokens, targets: &Targets) -> Var {
        let x = tape.embed(self.layout.code, &targets.inputs);
        let x = tape.scale(x, self.embedding_scale());
        let mut x = tape.dropout(x, self.shape.dropout);
        for layer in &self.layout.layers {
            let positions = (&targets.positions[..], &tokens.positions[..]);
            let [key, value] = context.slices[layer.slice];
            x = self.shape.cross(tape, &layer.cross, x, (key, value), &targets.context, positions);
            let projected = self.shape.project(tape, &layer.own, x);
            x = self.shape.attend(tape, &layer.own, x, projected, &targets.own, None);
            x = self.shape.feed_forward(tape, &layer.ffn, x);
        }
        x
    }

    /// For every item, the codes that continue its path to `level` (rows of the head), and which of them is its own.
    fn choices(&self, items: &[ItemIndex], level: usize) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let trie = self.catalog.trie();
        let (codes, start) = (trie.codes(level + 1), self.layout.starts[level]);
        let (mut ids, mut offsets, mut right) = (Vec::new(), vec![0], Vec::new());
        for &item in items {
            let path = self.catalog.codes(item);
            let down = |node: u32, depth: usize| trie.child(depth, node, path[depth]).unwrap_or_default();
            let parent = (0..level).fold(0, down);
            let children = trie.children(level, parent);
            ids.extend(children.clone().map(|child| start + codes[child as usize]));
            offsets.push(ids.len() as u32);
            right.push(down(parent, level) - children.start);
        }
        (ids, offsets, right)
    }

    pub(super) fn push_target(&self, targets: &mut Targets, item: ItemIndex, history: Span) {
        let first = targets.inputs.len() as u32;
        for level in 0..self.levels() {
            targets.inputs.push(if level == 0 { self.layout.bos() } else { self.path(item)[level - 1] });
            targets.context.push(history);
            targets.positions.push(history.end - history.start - 1);
            targets.own.push(Span { start: first, end: first + level as u32 + 1 });
        }
        targets.items.push(item);
    }
}

impl Trainable for LazyDecoder {
    type Example = SequenceExample;

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        Arc::make_mut(&mut self.params)
    }

    fn weight(&self, example: &SequenceExample) -> f64 {
        example.targets(self.config.context_length as usize) as f64
    }

    fn loss(&self, tape: &mut Tape<'_>, examples: &[&SequenceExample], _noise: u64) -> Var {
        let (mut tokens, mut targets) = (Tokens::default(), Targets::default());
        for example in examples {
            if let [history @ .., _] = example.window(self.config.context_length as usize) {
                let start = self.push_history(&mut tokens, history).start;
                let followers = &example.window(self.config.context_length as usize)[1..];
                for (end, &item) in (start + 1..).zip(followers) {
                    self.push_target(&mut targets, item, Span { start, end });
                }
            }
        }
        if targets.items.is_empty() {
            return tape.constant(1, 1, &[0.0]);
        }
        let mut context = Context::default();
        self.context(tape, &tokens, &mut context);
        let x = self.teach(tape, &context, &tokens, &targets);
        let levels = self.levels();
        let weights = vec![1.0 / levels as f32; targets.items.len()];
        let mut total = None;
        for level in 0..levels {
            let rows: Vec<u32> = (0..targets.items.len()).map(|target| (target * levels + level) as u32).collect();
            let x = tape.gather(x, &rows);
            let x = tape.rms_norm(x, self.layout.head_norms[level]);
            let loss = match self.config.loss {
                CodeLoss::Codebook => {
                    let codes: Vec<u32> = targets.items.iter().map(|&item| self.catalog.codes(item)[level]).collect();
                    tape.softmax_loss(x, self.layout.head, self.layout.codes(level), &codes, Some(&weights))
                }
                CodeLoss::Children => {
                    let (ids, offsets, right) = self.choices(&targets.items, level);
                    tape.choice_loss(x, self.layout.head, (&ids, &offsets), &right, Some(&weights))
                }
            };
            total = Some(total.map_or(loss, |total| tape.add(total, loss)));
        }
        total.unwrap_or_else(|| tape.constant(1, 1, &[0.0]))
    }
}

impl Quantisable for LazyDecoder {
    fn linear_layers(&self) -> Vec<ParamId> {
        let own = |it: &SelfAttention| [it.query, it.key, it.value, it.output];
        let ffn = |it: &FeedForward| [it.up, it.down];
        let context = self.layout.context.iter().flat_map(|it| own(&it.attention).into_iter().chain(ffn(&it.ffn)));
        let layers = self
            .layout
            .layers
            .iter()
            .flat_map(|it| [it.cross.query, it.cross.output].into_iter().chain(own(&it.own)).chain(ffn(&it.ffn)));
        context.chain([self.layout.kv]).chain(layers).collect()
    }
}

fn check(config: &config::LazyDecoder) -> Result<(), ModelError> {
    let config::LazyDecoder { d_model, heads, kv_groups, kv_layers, layers, kv_split, .. } = *config;
    if heads == 0 || !d_model.is_multiple_of(heads) {
        return Err(ModelError::parameter("heads", format!("{heads} heads do not divide dModel {d_model}")));
    }
    if kv_groups == 0 || !heads.is_multiple_of(kv_groups) {
        return Err(ModelError::parameter("kvGroups", format!("{kv_groups} groups do not divide {heads} heads")));
    }
    if kv_layers == 0 || kv_layers > layers {
        let reason = format!("{kv_layers} slices for {layers} layers; give 1 to {layers}");
        return Err(ModelError::parameter("kvLayers", reason));
    }
    if config.loss == CodeLoss::Children && !config.decode.renormalise {
        let reason = "codes off the trie get no meaning when `loss` is children; set it to true".to_owned();
        return Err(ModelError::parameter("decode.renormalise", reason));
    }
    if !(1..=2).contains(&kv_split) {
        return Err(ModelError::parameter("kvSplit", format!("is {kv_split}; give 1 or 2")));
    }
    Ok(())
}
