//! What a job tells: progress while it runs, metrics and the produced version at its end.

use serde::{Deserialize, Serialize};

use crate::{ArtifactId, Name, config::QuantizationFormat, schema::is_default};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobState {
    /// Working.
    Running,
    /// The artifact was already in the store.
    Reused,
    /// Done.
    Complete,
    /// Stopped by an error; `message` says which.
    Failed,
}

/// One number with everything needed to read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// The standard name: `ndcg@10`, `recall@50`, `auc`, `itemCoverage@10`, `codebookUse/1`.
    pub name: String,
    /// The value.
    pub value: f64,
    /// 95 % bootstrap interval, where the metric is a mean over users or rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// `train`, `validation` or `test`, where it is of a split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// `masked` or `raw`, where items of the history could be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<String>,
    /// `task` of a ranking model, or `control` for the shuffled-target control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// What a job used. A job runs alone; the peak is reset before each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Seconds on the clock.
    pub wall_seconds: f64,
    /// Seconds of processor time over all threads.
    pub cpu_seconds: f64,
    /// Highest resident memory, in bytes.
    pub peak_bytes: u64,
}

/// A job's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReport {
    /// `Dataset`, `Tokenizer`, `TrainingJob`, `EvaluationJob`, or the model kind for a counting model.
    pub kind: String,
    /// The resource.
    pub name: Name,
    /// How it ended.
    pub state: JobState,
    /// What it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub produced: Option<ArtifactId>,
    /// What it measured.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// How many of its numbers are left out, because a report of a pod is short; the artifact holds them all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub omitted: usize,
    /// Digest of the files read for a data set, of the catalog for a tokenizer, as `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How far it is, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<JobProgress>,
    /// What came of quantising the model, where its declaration asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantized>,
    /// What it used; zero when the artifact was reused.
    pub resources: Resources,
    /// One sentence for people: why it failed, or what to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What came of quantising a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quantized {
    /// In which precision the linear layers serve.
    pub precision: Precision,
    /// Why: what was measured, and which gates did not hold.
    pub message: String,
    /// Bytes of all weights in high precision.
    pub weight_bytes: u64,
    /// Bytes of all weights as they are kept to serve.
    pub served_bytes: u64,
}

/// The numbers that linear layers are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Precision {
    /// 32-bit floats: high precision.
    F32,
    /// Eight-bit floats with four exponent bits.
    E4m3,
    /// Signed integers of eight bits.
    Int8,
}

impl From<QuantizationFormat> for Precision {
    fn from(format: QuantizationFormat) -> Self {
        match format {
            QuantizationFormat::E4m3 => Self::E4m3,
            QuantizationFormat::Int8 => Self::Int8,
        }
    }
}

impl Precision {
    /// Its name in statuses and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::E4m3 => "e4m3",
            Self::Int8 => "int8",
        }
    }
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobProgress {
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
    pub checkpoint: Option<u64>,
    /// A short remark: `loss 5.31, ndcg@10 0.021`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A step of progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done: `reading`, `training`, `evaluating`.
    pub step: &'static str,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 while unknown.
    pub total: u64,
    /// A short remark: `loss 5.31, ndcg@10 0.021`.
    pub note: String,
}

/// Where a job sends its progress; called from the job's thread, must not block.
pub trait Reporter: Sync {
    /// Takes one step of progress.
    fn progress(&self, progress: Progress);

    /// A checkpoint of this training step is kept.
    fn checkpoint(&self, step: u64) {
        let _ = step;
    }
}

/// A reporter that drops everything.
pub struct Silent;

impl Reporter for Silent {
    fn progress(&self, _: Progress) {}
}
