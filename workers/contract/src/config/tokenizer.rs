//! What a `Tokenizer` declares: how items become semantic IDs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NoParams, ObjectRef};
use crate::schema::one_arm;

/// How items become semantic IDs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum TokenizerAlgorithm {
    /// One level: the item's own index is its ID.
    Atomic(NoParams),
    /// Residual k-means over item vectors (OneRec, arXiv 2506.13695).
    RqKMeans(RqKMeans),
}

/// Residual k-means over item vectors (OneRec, arXiv 2506.13695, §2.1): each level clusters what the levels before it
/// left over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RqKMeans {
    /// Levels, each one code.
    #[serde(default = "defaults::levels")]
    #[schemars(range(min = 1, max = 8))]
    pub levels: u32,
    /// Codes a level.
    #[serde(default = "defaults::codebook")]
    #[schemars(range(min = 2, max = 65536))]
    pub codebook_size: u32,
    /// Most iterations of each level's k-means.
    #[serde(default = "defaults::iterations")]
    #[schemars(range(min = 1, max = 1000))]
    pub iterations: u32,
    /// What the items are clustered by.
    #[serde(default)]
    pub vectors: ItemVectors,
    /// What happens to items with the same codes.
    #[serde(default)]
    pub collision: Collision,
    /// Seed of the initial centroids.
    #[serde(default)]
    #[schemars(range(max = 9007199254740991u64))]
    pub seed: u64,
}

/// What happens to items with the same codes on every level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Collision {
    /// One more level numbers the items that share their codes, most popular first: every ID names one item.
    #[default]
    ExtraLevel,
    /// They share one ID; a decoded ID yields them most popular first.
    Bucket,
}

/// What the items are clustered by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum ItemVectors {
    /// Which items are consumed near each other: shifted positive PMI, factorised (arXiv 1402.3722).
    Collaborative(Collaborative),
    /// Item attributes and words of item text, TF-IDF weighted, factorised.
    Content(Content),
    /// A given file: `.npy`, or `.safetensors` with one matrix; row `i` belongs to the item of line `i`.
    File(VectorFile),
    /// The item table of a trained retrieval model.
    Model(VectorModel),
}

impl Default for ItemVectors {
    fn default() -> Self {
        Self::Collaborative(Collaborative::default())
    }
}

/// Shifted positive PMI of items within a window, factorised by a randomised SVD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Collaborative {
    /// Length of an item vector.
    #[serde(default = "defaults::dims")]
    #[schemars(range(min = 1, max = 1024))]
    pub dims: u32,
    /// Items up to this many steps apart count as together.
    #[serde(default = "defaults::window")]
    #[schemars(range(min = 1, max = 1000))]
    pub window: u32,
    /// Log of the number of negative samples that the shift stands for; 0 is plain positive PMI.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub shift: f64,
}

impl Default for Collaborative {
    fn default() -> Self {
        Self { dims: defaults::dims(), window: defaults::window(), shift: 0.0 }
    }
}

/// Attributes and words of items, TF-IDF weighted, factorised by a randomised SVD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Content {
    /// Length of an item vector.
    #[serde(default = "defaults::dims")]
    #[schemars(range(min = 1, max = 1024))]
    pub dims: u32,
}

/// A file of item vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VectorFile {
    /// The file, relative to the data set's folder.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// A text file with the item id of each row, relative to the data set's folder. Without it, row `i` belongs to the
    /// item whose id is the number `i + 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<String>,
}

/// The item table of a trained retrieval model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VectorModel {
    /// The model; it must not use this tokenizer.
    pub model_ref: ObjectRef,
}

mod defaults {
    pub fn levels() -> u32 {
        3
    }
    pub fn codebook() -> u32 {
        256
    }
    pub fn iterations() -> u32 {
        50
    }
    pub fn dims() -> u32 {
        64
    }
    pub fn window() -> u32 {
        5
    }
}
