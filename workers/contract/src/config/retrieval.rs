//! What a `RetrievalModel` declares: the architecture and how it decodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NoParams;
use crate::schema::one_arm;

/// The architecture of a retrieval model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum RetrievalAlgorithm {
    /// Items by how often they were consumed. Counted, not trained.
    Popularity(NoParams),
    /// Items consumed by the same users, newest history first. Counted, not trained.
    ItemKnn(ItemKnn),
    /// Items that followed the newest items of the history. Counted, not trained.
    Transitions(Transitions),
    /// Self-attentive sequential recommendation (arXiv 1808.09781), scored exactly over all items.
    SasRec(SasRec),
    /// OneRec-V2's lazy decoder (arXiv 2508.20900) over semantic IDs, decoded by a trie-constrained beam search.
    LazyDecoder(LazyDecoder),
}

impl RetrievalAlgorithm {
    /// Whether the model is counted from the data set alone and needs no training job.
    #[must_use]
    pub fn counted(&self) -> bool {
        matches!(self, Self::Popularity(_) | Self::ItemKnn(_) | Self::Transitions(_))
    }
}

/// `score(j) = Σ over history decay^rank · co(i, j) / sqrt(pop_i · pop_j)`, rank 0 the newest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemKnn {
    /// Weight of each step back in the history.
    #[serde(default = "defaults::decay")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
    /// Nearest neighbours kept for an item. 0 keeps every item that shares a user with it: exact, and as large as there
    /// are such pairs.
    #[serde(default = "defaults::neighbours")]
    #[schemars(range(max = 100000))]
    pub neighbours: u32,
}

/// `score(j) = Σ over history decay^rank · follows(i, j) / outgoing_i`, rank 0 the newest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transitions {
    /// Weight of each step back in the history.
    #[serde(default = "defaults::decay")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
}

/// Self-attentive sequential recommendation (arXiv 1808.09781), trained with a softmax over items
/// (arXiv 2508.06450 shows why).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SasRec {
    /// Width.
    #[serde(default = "defaults::dim")]
    #[schemars(range(min = 4, max = 4096))]
    pub dim: u32,
    /// Blocks.
    #[serde(default = "defaults::blocks")]
    #[schemars(range(min = 1, max = 64))]
    pub blocks: u32,
    /// Attention heads; must divide `dim`.
    #[serde(default = "defaults::one")]
    #[schemars(range(min = 1, max = 64))]
    pub heads: u32,
    /// Width of the feed-forward layer as a multiple of `dim`.
    #[serde(default = "defaults::one")]
    #[schemars(range(min = 1, max = 16))]
    pub ffn: u32,
    /// Newest items of the history that are read.
    #[serde(default = "defaults::context")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_length: u32,
    /// Share of activations dropped in training.
    #[serde(default = "defaults::dropout")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// Softmax over all items, or over sampled ones.
    #[serde(default)]
    pub loss: SoftmaxLoss,
}

/// Which items the softmax of the loss runs over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum SoftmaxLoss {
    /// All items.
    Full(NoParams),
    /// The target and uniformly sampled items, shared by a micro-batch.
    Sampled(SampledSoftmax),
}

impl Default for SoftmaxLoss {
    fn default() -> Self {
        Self::Full(NoParams {})
    }
}

/// A softmax over the target and sampled items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SampledSoftmax {
    /// Negatives.
    #[serde(default = "defaults::negatives")]
    #[schemars(range(min = 1, max = 1000000))]
    pub negatives: u32,
}

/// OneRec-V2's lazy decoder (arXiv 2508.20900): the history becomes keys and values by one projection and a norm, with
/// no key or value weights for it in the layers; `BOS, s1, s2, …` attend to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LazyDecoder {
    /// Width.
    #[serde(default = "defaults::dim")]
    #[schemars(range(min = 4, max = 8192))]
    pub d_model: u32,
    /// Decoder layers.
    #[serde(default = "defaults::layers")]
    #[schemars(range(min = 1, max = 64))]
    pub layers: u32,
    /// Query heads; must divide `dModel`.
    #[serde(default = "defaults::heads")]
    #[schemars(range(min = 1, max = 64))]
    pub heads: u32,
    /// Key/value groups of the context; must divide `heads`.
    #[serde(default = "defaults::one")]
    #[schemars(range(min = 1, max = 64))]
    pub kv_groups: u32,
    /// Distinct key/value slices of the context; layer `l` reads slice `⌊l · kvLayers / layers⌋`.
    #[serde(default = "defaults::one")]
    #[schemars(range(min = 1, max = 64))]
    pub kv_layers: u32,
    /// 1: values are the keys; 2: keys and values are separate slices.
    #[serde(default = "defaults::one")]
    #[schemars(range(min = 1, max = 2))]
    pub kv_split: u32,
    /// Width of the feed-forward layer (SwiGLU) as a multiple of `dModel`.
    #[serde(default = "defaults::ffn")]
    #[schemars(range(min = 1, max = 16))]
    pub ffn: u32,
    /// Newest items of the history that are read.
    #[serde(default = "defaults::context")]
    #[schemars(range(min = 1, max = 8192))]
    pub context_length: u32,
    /// Causal self-attention blocks over the context before it becomes keys and values; 0 is the published model.
    #[serde(default)]
    #[schemars(range(max = 16))]
    pub context_layers: u32,
    /// Whether a context token adds an embedding of the item itself to those of its codes.
    #[serde(default = "defaults::yes")]
    pub item_embedding: bool,
    /// Share of activations dropped in training.
    #[serde(default = "defaults::dropout")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// Which codes the loss of a level runs over.
    #[serde(default)]
    pub loss: CodeLoss,
    /// How IDs are decoded.
    #[serde(default)]
    pub decode: Decode,
}

/// Which codes the loss of a level runs over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CodeLoss {
    /// All codes of the level: the model also learns which IDs exist.
    #[default]
    Codebook,
    /// The codes that continue the target's path in the trie: nothing is spent on IDs that nobody has, which pays where
    /// items are few beside the codes. Needs `decode.renormalise`, because other codes get no meaning.
    Children,
}

/// How semantic IDs are decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decode {
    /// Width of the beam; a request for more items than this gets a beam as wide as it asks.
    #[serde(default = "defaults::beams")]
    #[schemars(range(min = 1, max = 8192))]
    pub beams: u32,
    /// Whether log-probabilities are renormalised over the children that exist in the trie. Off, a path's score is its
    /// probability under the model as trained over the whole codebook; on, probability that fell on IDs nobody has is
    /// shared out, which favours sparse subtrees.
    #[serde(default)]
    pub renormalise: bool,
}

impl Default for Decode {
    fn default() -> Self {
        Self { beams: defaults::beams(), renormalise: false }
    }
}

mod defaults {
    pub fn neighbours() -> u32 {
        200
    }
    pub fn decay() -> f64 {
        0.7
    }
    pub fn dim() -> u32 {
        64
    }
    pub fn blocks() -> u32 {
        2
    }
    pub fn one() -> u32 {
        1
    }
    pub fn ffn() -> u32 {
        4
    }
    pub fn context() -> u32 {
        50
    }
    pub fn dropout() -> f64 {
        0.2
    }
    pub fn negatives() -> u32 {
        256
    }
    pub fn layers() -> u32 {
        4
    }
    pub fn heads() -> u32 {
        4
    }
    pub fn beams() -> u32 {
        50
    }
    pub fn yes() -> bool {
        true
    }
}
