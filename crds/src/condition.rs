//! What every status shares: conditions, measured numbers, resources used.
//!
//! In: what jobs and pools report. Out: the shapes that `status` stores. Nothing here decides a condition.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use recmesh_contract::{JobProgress, Metric, Quantized, Resources};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The roll-up condition of whatever serves or is used: data sets, tokenizers, models, pipelines.
pub const READY: &str = "Ready";
/// The roll-up condition of whatever runs to an end: training and evaluation jobs.
pub const COMPLETE: &str = "Complete";
/// Whether a model that asks for quantization serves quantised; absent where none is asked for.
pub const QUANTIZED: &str = "Quantized";

/// One number of a results table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The standard name: `ndcg@10`, `recall@50`, `auc`, `itemCoverage@10`, `codebookUse/1`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The value.
    pub value: f64,
    /// Lower end of the 95 % bootstrap interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// `train`, `validation` or `test`, where it is of a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// `masked` or `raw`, where items of the history could be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<String>,
    /// The task of a ranking model, or `control` for the shuffled-target control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

impl From<&Metric> for Measured {
    fn from(metric: &Metric) -> Self {
        let Metric { name, value, interval, split, masking, of } = metric.clone();
        Self { name, value, low: interval.map(|i| i.0), high: interval.map(|i| i.1), split, masking, of }
    }
}

/// What a job used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Seconds on the clock.
    pub wall_seconds: f64,
    /// Seconds of processor time over all threads.
    pub cpu_seconds: f64,
    /// Highest resident memory, in bytes.
    pub peak_bytes: u64,
}

impl From<Resources> for Used {
    fn from(used: Resources) -> Self {
        let Resources { wall_seconds, cpu_seconds, peak_bytes } = used;
        Self { wall_seconds, cpu_seconds, peak_bytes }
    }
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStatus {
    /// What is being done: `reading`, `training`, `evaluating`.
    pub step: String,
    /// Percent of the step that is done, where its end is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Seconds until the step ends, at the pace so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// The training step of the last checkpoint kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<u64>,
    /// A short remark: `loss 5.31, ndcg@10 0.021`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl From<&JobProgress> for ProgressStatus {
    fn from(progress: &JobProgress) -> Self {
        let JobProgress { step, percent, eta_seconds, checkpoint, note } = progress.clone();
        Self { step, percent, eta_seconds, last_checkpoint: checkpoint, note }
    }
}

/// What came of quantising a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuantizationStatus {
    /// In which precision its linear layers serve: `e4m3`, `int8`, or `f32` where some gate did not hold.
    pub precision: String,
    /// Why: what was measured, and which gates did not hold.
    pub message: String,
    /// Bytes of all weights in high precision.
    pub weight_bytes: u64,
    /// Bytes of all weights as they are kept to serve.
    pub served_bytes: u64,
}

impl From<&Quantized> for QuantizationStatus {
    fn from(quantized: &Quantized) -> Self {
        let Quantized { precision, message, weight_bytes, served_bytes } = quantized.clone();
        Self { precision: precision.as_str().to_owned(), message, weight_bytes, served_bytes }
    }
}

/// A generation of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Its name; also its workload's, Service's and ConfigMap's.
    pub name: String,
    /// The version that it serves.
    pub version: String,
    /// Workers of this generation that there should be.
    pub workers: i32,
    /// Workers of this generation that have answered a warm-up request of their own.
    pub ready_workers: i32,
}

/// The condition of a type, if it is set.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}
