//! What users write: the seven kinds of `recmesh.dev/v1alpha1`, and the reader of manifests.
//!
//! ```text
//! contract::config ─► kinds (CRDs, CEL rules) ─► crds/yaml
//! files ─► manifest: YAML with positions ─► schema ─► CEL ─► typed resources, or every error at once
//! ```
//!
//! Whether references resolve and combinations make sense is the plan's business. Nothing here talks to a cluster.

// The columns of one `#[kube(…)]` share their types: false alarm, until clippy looks inside nested attributes.
#![allow(clippy::duplicated_attributes)]

mod all;
mod condition;
mod dataset;
mod evaluation_job;
mod manifest;
mod pipeline;
mod ranking_model;
mod reference;
mod resource;
mod retrieval_model;
mod schema;
mod tokenizer;
mod training_job;

pub use all::{all, yaml};
pub use condition::{
    COMPLETE, Measured, PoolStatus, ProgressStatus, QUANTIZED, QuantizationStatus, READY, Used, condition,
};
pub use dataset::{Dataset, DatasetSpec, DatasetStatus};
pub use evaluation_job::{EvaluationJob, EvaluationJobSpec, EvaluationJobStatus, GateVerdict};
pub use manifest::{nearest, parse};
pub use pipeline::{Pipeline, PipelineSpec, PipelineStatus, ReleaseStatus, StageStatus};
pub use ranking_model::{RankingModel, RankingModelSpec, RankingModelStatus};
pub use reference::{ModelKind, ModelRef, StageRef};
pub use resource::{Kind, Located, ManifestError, Position, Resource};
pub use retrieval_model::{RetrievalModel, RetrievalModelSpec, RetrievalModelStatus};
pub use tokenizer::{Tokenizer, TokenizerSpec, TokenizerStatus};
pub use training_job::{TrainingJob, TrainingJobSpec, TrainingJobStatus};
