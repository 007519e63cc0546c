//! What a model declares of its quantization: format, granularity, calibration, and what serving it must keep.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Post-training quantization: after training, linear layers are quantised and compared with the model in high
/// precision on held-out histories. Where every gate holds the quantised model serves, else the one in high precision.
/// Embeddings, norms, gates, softmax and heads stay in high precision. A change makes a new version, trained anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quantization {
    /// The format of codes: `e4m3` for CUDA devices, `int8` for CPUs.
    #[serde(default)]
    pub format: QuantizationFormat,
    /// How linear layers are quantised.
    #[serde(default)]
    pub linear: LinearQuantization,
    /// On what the two are compared.
    #[serde(default)]
    pub calibration: Calibration,
    /// What must hold for the quantised model to serve.
    #[serde(default)]
    pub gates: QuantizationGates,
}

/// The format of codes. A change makes a new version, so choose it for where the model serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum QuantizationFormat {
    /// Eight bits, four of them exponent, three mantissa (OCP 8-bit Floating Point Specification 1.0): for CUDA devices.
    /// On a CPU it saves memory, not time.
    #[default]
    E4m3,
    /// Signed integers from -127 to 127: for CPUs, which multiply them several times faster than 32-bit floats where they
    /// have AVX-512 VNNI. No device serves it.
    Int8,
}

impl QuantizationFormat {
    /// Most inputs of a layer: sums of products of two signed bytes must fit into 32 bits. `None` where any number will do.
    #[must_use]
    pub fn most_inputs(self) -> Option<u32> {
        match self {
            Self::E4m3 => None,
            Self::Int8 => Some(1 << 16),
        }
    }
}

/// How linear layers are quantised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinearQuantization {
    /// What shares a scale among weights.
    #[serde(default)]
    pub weights: WeightScales,
    /// What shares a scale among activations.
    #[serde(default)]
    pub activations: ActivationScales,
}

/// What shares a scale among weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WeightScales {
    /// An output channel: a row of the matrix.
    #[default]
    PerChannel,
    /// The whole matrix.
    PerTensor,
}

/// What shares a scale among activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActivationScales {
    /// A token: a row, measured when it is served, so that nothing depends on what the calibration happened to see.
    #[default]
    PerTokenDynamic,
}

/// On what a quantised model is compared with itself in high precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Calibration {
    /// Most targets (ranking models: rows) of the validation split, evenly spread; 0 takes all.
    #[serde(default = "defaults::sample")]
    #[schemars(range(max = 10000000))]
    pub sample: u32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { sample: defaults::sample() }
    }
}

/// What must hold for a quantised model to serve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuantizationGates {
    /// Highest relative error of any layer's output. E4M3 alone costs about 0.037, int8 about 0.01.
    #[serde(default = "defaults::rel_error")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_rel_error: f64,
    /// Lowest share of the best 32 answers that both have (ranking models: of every 128 rows, by each task).
    #[serde(default = "defaults::overlap")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_top_k_overlap: f64,
    /// What recall@32 (ranking models: the mean AUC of the tasks) may lose, absolute.
    #[serde(default = "defaults::drop")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_recall_drop: f64,
}

impl Default for QuantizationGates {
    fn default() -> Self {
        Self {
            max_rel_error: defaults::rel_error(),
            min_top_k_overlap: defaults::overlap(),
            max_recall_drop: defaults::drop(),
        }
    }
}

mod defaults {
    pub fn sample() -> u32 {
        512
    }
    pub fn rel_error() -> f64 {
        0.045
    }
    pub fn overlap() -> f64 {
        0.9
    }
    pub fn drop() -> f64 {
        0.01
    }
}
