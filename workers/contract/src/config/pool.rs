//! What a pool and a gateway are told: models to load, queues and batches, routes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ArtifactId, Millis, Name, Release};

/// How a pool of engines works off its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolParams {
    /// Engines, each with a thread and scratch memory of its own over shared weights: so many batches are computed at
    /// once.
    #[serde(default = "defaults::engines")]
    #[schemars(range(min = 1, max = 256))]
    pub engines: u32,
    /// Threads of each engine, its own included, that share the work of a batch: lazy decoders, SASRecs and ranking models
    /// share their operations; counting models compute on one. Answers are the same for any number. More engines give more
    /// answers a second; more threads answer one request sooner. An engine gets no more than the processors divided by the
    /// engines, and at least one; where that is fewer, the log says so.
    #[serde(default = "defaults::threads")]
    #[schemars(range(min = 1, max = 64))]
    pub threads: u32,
    /// Whether each thread of the engines is bound to a core of its own. Only where nobody else uses the cores: pods of
    /// class Guaranteed with whole CPUs under kubelet's static CPU manager, or `taskset`. Elsewhere several processes would
    /// be bound to the same cores. Where there are fewer than engines times threads, none is bound and the log says so.
    #[serde(default)]
    pub pinned: bool,
    /// Most requests computed together.
    #[serde(default = "defaults::batch")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_batch: u32,
    /// How long the first request of a batch waits for others. At `0ms` an idle engine takes what is there at once and
    /// batches form only while it computes; timers count whole milliseconds.
    #[serde(default = "defaults::age")]
    pub max_batch_age: Millis,
    /// Requests that may wait in each engine's mailbox; more are refused at once.
    #[serde(default = "defaults::queue")]
    #[schemars(range(min = 1, max = 100000))]
    pub queue: u32,
    /// What the model serves from: `cpu`; `cuda`, a device without which the pool takes no calls; or `auto`, a device where
    /// one is found that has kernels for the model, and the CPU elsewhere.
    #[serde(default)]
    pub device: Device,
}

/// What a model serves from. Only lazy decoders have kernels for a device; contexts are computed on the CPU in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Device {
    /// A CUDA device where one is found that has kernels for the model, the CPU elsewhere.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device; without one, or without kernels for the model, the pool takes no calls.
    Cuda,
}

impl Default for PoolParams {
    fn default() -> Self {
        Self {
            engines: defaults::engines(),
            threads: defaults::threads(),
            pinned: false,
            max_batch: defaults::batch(),
            max_batch_age: defaults::age(),
            queue: defaults::queue(),
            device: Device::default(),
        }
    }
}

/// One pool: what it serves and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolConfig {
    /// The pool's name, unique in the process.
    pub name: Name,
    /// What it serves.
    pub serves: Serves,
    /// Queues and batches.
    pub params: PoolParams,
}

/// What a pool serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Serves {
    /// Turns requests into contexts: catalog and histories.
    Tokenize {
        /// The tokenizer, whose artifact holds the catalog.
        tokenizer: ArtifactId,
        /// The data set, whose artifact holds the histories.
        dataset: ArtifactId,
    },
    /// Finds candidates.
    Retrieve {
        /// The retrieval model.
        model: ArtifactId,
        /// The tokenizer, whose catalog describes the items.
        tokenizer: ArtifactId,
    },
    /// Scores candidates.
    Rank {
        /// The ranking model.
        model: ArtifactId,
        /// The tokenizer, whose catalog describes the items.
        tokenizer: ArtifactId,
    },
}

/// Every pipeline a gateway serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteTable {
    /// Pipelines by name.
    pub routes: BTreeMap<String, Route>,
}

/// One pipeline as a gateway sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// What serves.
    pub release: Release,
    /// Pool of the tokenize stage.
    pub tokenize: Name,
    /// Pool of the retrieve stage.
    pub retrieve: Name,
    /// Pool of the rank stage, if the pipeline ranks.
    pub rank: Option<Name>,
    /// Pool that answers when retrieval cannot.
    pub fallback: Option<Name>,
    /// What the pipeline declares.
    pub params: RouteParams,
}

/// How a pipeline treats requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteParams {
    /// Time for the whole request, when the caller names none; callers may ask for less, never for more.
    #[serde(default = "defaults::deadline")]
    pub deadline: Millis,
    /// Candidates that retrieval hands to ranking (with a rank stage); at least `k`.
    #[serde(default = "defaults::candidates")]
    #[schemars(range(min = 1, max = 8192))]
    pub candidates: u32,
    /// Weight of each task in the final score; empty keeps the retrieval order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
    /// Whether items of the user's history may be answered.
    #[serde(default)]
    pub seen: Seen,
    /// Largest `k` a caller may ask for.
    #[serde(default = "defaults::max_k")]
    #[schemars(range(min = 1, max = 8192))]
    pub max_k: u32,
    /// Requests worked on at once; more are refused with 429.
    #[serde(default = "defaults::concurrency")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_concurrency: u32,
}

impl Default for RouteParams {
    fn default() -> Self {
        Self {
            deadline: defaults::deadline(),
            candidates: defaults::candidates(),
            weights: BTreeMap::new(),
            seen: Seen::default(),
            max_k: defaults::max_k(),
            max_concurrency: defaults::concurrency(),
        }
    }
}

/// Whether items of the user's history may be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Seen {
    /// They are left out.
    #[default]
    Exclude,
    /// They may be answered again.
    Allow,
}

mod defaults {
    use crate::Millis;

    pub fn engines() -> u32 {
        1
    }
    pub fn threads() -> u32 {
        1
    }
    pub fn batch() -> u32 {
        16
    }
    pub fn age() -> Millis {
        Millis(0)
    }
    pub fn queue() -> u32 {
        256
    }
    pub fn deadline() -> Millis {
        Millis(500)
    }
    pub fn candidates() -> u32 {
        100
    }
    pub fn max_k() -> u32 {
        100
    }
    pub fn concurrency() -> u32 {
        512
    }
}
