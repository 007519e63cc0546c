//! What a `TrainingJob` declares beside its model: optimizer, schedule, length, stopping, checkpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{is_default, one_arm};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrainingParams {
    /// The optimizer and its rates.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// How the rate changes over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// Passes over the training split.
    #[serde(default = "defaults::epochs")]
    #[schemars(range(min = 1, max = 100000))]
    pub epochs: u32,
    /// Examples in a step: windows of a user's sequence (retrieval) or rows (ranking).
    #[serde(default = "defaults::batch_size")]
    #[schemars(range(min = 1, max = 1000000))]
    pub batch_size: u32,
    /// Largest L2 norm of a step's gradient; longer ones are scaled down. 0 switches it off.
    #[serde(default = "defaults::clip")]
    #[schemars(range(min = 0.0, max = 1000000.0))]
    pub clip_norm: f64,
    /// In what the products of a step are computed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
    /// When to stop before the last epoch.
    #[serde(default)]
    pub early_stopping: EarlyStopping,
    /// When the state of the run is written, so that a killed run goes on from there.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// Seed of initial weights, order, dropout and sampling.
    #[serde(default)]
    #[schemars(range(max = 9007199254740991u64))]
    pub seed: u64,
}

/// The optimizer and its rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = one_arm)]
pub enum Optimizer {
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    AdamW(AdamW),
    /// Momentum orthogonalised by Newton-Schulz steps for matrices, AdamW for embeddings and vectors
    /// (MuonRec, arXiv 2603.00416).
    Muon(Muon),
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::AdamW(AdamW::default())
    }
}

/// Adam with decoupled weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdamW {
    /// Highest rate of the schedule.
    #[serde(default = "defaults::lr")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub lr: f64,
    /// Decay of the mean of gradients.
    #[serde(default = "defaults::beta1")]
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    #[serde(default = "defaults::beta2")]
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub beta2: f64,
    /// Added to the root of the mean square.
    #[serde(default = "defaults::eps")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub eps: f64,
    /// Decoupled decay of matrices and embeddings; norms and biases are not decayed.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: defaults::lr(),
            beta1: defaults::beta1(),
            beta2: defaults::beta2(),
            eps: defaults::eps(),
            weight_decay: 0.0,
        }
    }
}

/// Orthogonalised momentum for matrices, AdamW for the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Muon {
    /// Highest rate of the schedule for matrices.
    #[serde(default = "defaults::muon_lr")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub lr: f64,
    /// Decay of the momentum.
    #[serde(default = "defaults::momentum")]
    #[schemars(range(min = 0.0, max = 0.9999999))]
    pub momentum: f64,
    /// Whether the step looks ahead along the momentum.
    #[serde(default = "defaults::yes")]
    pub nesterov: bool,
    /// Newton-Schulz steps.
    #[serde(default = "defaults::ns_steps")]
    #[schemars(range(min = 1, max = 20))]
    pub ns_steps: u32,
    /// How a step's size depends on the matrix's shape.
    #[serde(default)]
    pub scale: MuonScale,
    /// Decoupled decay of matrices.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub weight_decay: f64,
    /// For embeddings, norms and biases.
    #[serde(default)]
    pub adam: AdamW,
}

/// How a Muon step's size depends on the matrix's shape (`rows × columns`, rows the outputs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MuonScale {
    /// `√max(1, rows / columns)`.
    #[default]
    Keller,
    /// `0.2 · √max(rows, columns)`: steps of AdamW's size (arXiv 2502.16982).
    MatchRmsAdamW,
}

/// How the rate changes over the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// Steps over which the rate grows linearly from 0.
    #[serde(default)]
    #[schemars(range(max = 10000000))]
    pub warmup_steps: u32,
    /// The shape after warm-up.
    #[serde(default)]
    pub decay: Decay,
    /// The share of the highest rate at which the decay ends (with `cosine`).
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { warmup_steps: 0, decay: Decay::Constant, floor: 0.0 }
    }
}

/// The shape of the rate after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Decay {
    /// Stays.
    #[default]
    Constant,
    /// Half a cosine down to the floor at the last step.
    Cosine,
}

/// In what the products of a training step are computed. Weights, their updates, norms, attention and everything that is
/// no product with a weight are f32 in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// Operands of linear maps and of the softmax over all items rounded to bf16, sums in f32, forward and back.
    Bf16,
}

/// When to stop before the last epoch. The best epoch's weights are kept in any case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without a better validation metric after which the run stops; 0 never stops.
    #[serde(default = "defaults::patience")]
    #[schemars(range(max = 100000))]
    pub patience: u32,
    /// Epochs between validations.
    #[serde(default = "defaults::every")]
    #[schemars(range(min = 1, max = 1000))]
    pub every: u32,
    /// Most users or rows that are validated, evenly spread; 0 takes all.
    #[serde(default)]
    #[schemars(range(max = 10000000))]
    pub sample: u32,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { patience: defaults::patience(), every: defaults::every(), sample: 0 }
    }
}

/// When the state of the run is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Steps between checkpoints; 0 writes none.
    #[serde(default = "defaults::checkpoint")]
    #[schemars(range(max = 10000000))]
    pub every_steps: u32,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { every_steps: defaults::checkpoint() }
    }
}

mod defaults {
    pub fn epochs() -> u32 {
        20
    }
    pub fn batch_size() -> u32 {
        128
    }
    pub fn clip() -> f64 {
        1.0
    }
    pub fn lr() -> f64 {
        1e-3
    }
    pub fn beta1() -> f64 {
        0.9
    }
    pub fn beta2() -> f64 {
        0.999
    }
    pub fn eps() -> f64 {
        1e-8
    }
    pub fn muon_lr() -> f64 {
        0.02
    }
    pub fn momentum() -> f64 {
        0.95
    }
    pub fn ns_steps() -> u32 {
        5
    }
    pub fn patience() -> u32 {
        5
    }
    pub fn every() -> u32 {
        1
    }
    pub fn checkpoint() -> u32 {
        500
    }
    pub fn yes() -> bool {
        true
    }
}
