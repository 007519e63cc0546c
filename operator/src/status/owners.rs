//! The status of what is served: tokenizers and models.
//!
//! In: the status of before, the job or the training job that makes it, its pools. Out: the whole status of now. A
//! version that served keeps being told, and keeps serving, while another one is made.

use recmesh_contract::{ArtifactId, Precision};
use recmesh_crds::{
    Measured, PoolStatus, QUANTIZED, QuantizationStatus, READY, RankingModelStatus, RetrievalModelStatus,
    TokenizerStatus,
};

use super::{
    job::{count, measured, news, progress},
    makers::{fill, roll_up},
    said::{SERVING, Said},
    served::Verdict,
};
use crate::{
    names, reason,
    steps::{make::Making, serve::Serving},
    terms::{Key, Objection},
};

/// What a training job has made of a model.
pub struct Version {
    /// The version, or why there is none of today's configuration.
    pub made: Result<ArtifactId, Objection>,
    /// What making it measured.
    pub metrics: Vec<Measured>,
    /// What came of quantising it, where it asks for that.
    pub quantization: Option<QuantizationStatus>,
}

/// What a status says of pools.
pub struct Pooled {
    /// Every generation with its workers, wanted ones first.
    pub pools: Vec<PoolStatus>,
    /// Whether pipelines answer with it.
    pub verdict: Verdict,
    /// Workers of the generation that an autoscaler looks at.
    replicas: Option<i32>,
    /// What selects them.
    selector: Option<String>,
    /// Generations that nothing wants any more and that routes still name.
    kept: Vec<String>,
}

impl Pooled {
    /// Puts together what a status says of pools.
    #[must_use]
    pub fn new(owner: &Key, serving: &Serving, pools: Vec<PoolStatus>, verdict: Verdict) -> Self {
        let first = serving.wanted.first().or(serving.kept.first());
        // Generations that go would count twice: an autoscaler looks at one that stays.
        let selector = first.map(|generation| {
            let labels = [
                (names::KIND, owner.kind.as_str()),
                (names::NAME, owner.name.as_str()),
                (names::POOL, generation.pool.as_str()),
                (names::GENERATION, generation.label()),
            ];
            labels.map(|(key, value)| format!("{key}={value}")).join(",")
        });
        let replicas = Some(pools.first().map_or(0, |pool| pool.workers));
        let kept = serving.kept.iter().map(|it| it.name().to_string()).collect();
        Self { pools, verdict, replicas, selector, kept }
    }

    /// Ready: made, and served where a pipeline names it.
    fn ready(&self, made: Result<&str, Said>) -> Said {
        match (made, &self.verdict) {
            (Err(mut said), _) => {
                if !self.kept.is_empty() {
                    said.message = format!("{}; {} keep serving", said.message, self.kept.join(", "));
                }
                said
            }
            (Ok(version), Verdict::Unnamed(why)) => {
                Said::yes(READY, reason::MADE, format!("version {version} is made; {why}"))
            }
            (Ok(version), Verdict::Serves(_)) => {
                Said::yes(READY, reason::SERVING, format!("version {version} answers in every gateway"))
            }
            (Ok(_), Verdict::Not(objection)) => Said::objected(READY, objection),
        }
    }
}

macro_rules! pooled {
    ($status:ident, $pooled:ident) => {
        $status.replicas = $pooled.replicas;
        $status.selector.clone_from(&$pooled.selector);
        $status.pools.clone_from(&$pooled.pools);
    };
}

/// The status of a tokenizer: ready once it is made; whether it serves is told apart.
#[must_use]
pub fn tokenizer(before: Option<&TokenizerStatus>, making: &Making, pooled: &Pooled) -> (TokenizerStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    fill!(status, making);
    if let Some((_, report)) = making.work.as_ref().ok().and_then(news) {
        status.catalog.clone_from(&report.digest);
        status.items = count(report, "items");
        status.metrics = measured(report);
    }
    pooled!(status, pooled);
    let mut said = vec![roll_up(READY, making, reason::MADE)];
    if !matches!(pooled.verdict, Verdict::Unnamed(_)) {
        said.push(pooled.verdict.said(SERVING));
    }
    (status, said)
}

/// The status of a retrieval model that is counted: its own job makes it.
#[must_use]
pub fn counted(
    before: Option<&RetrievalModelStatus>,
    making: &Making,
    pooled: &Pooled,
) -> (RetrievalModelStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    fill!(status, making);
    if let Some((_, report)) = making.work.as_ref().ok().and_then(news) {
        status.metrics = measured(report);
    }
    pooled!(status, pooled);
    let made = roll_up(READY, making, reason::MADE);
    let version = status.version.clone().unwrap_or_default();
    let said = pooled.ready(if made.holds { Ok(&version) } else { Err(made) });
    (status, vec![said])
}

/// The status of a retrieval model that a training job makes.
#[must_use]
pub fn trained(
    before: Option<&RetrievalModelStatus>,
    version: &Version,
    pooled: &Pooled,
) -> (RetrievalModelStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    status.conditions = Vec::new();
    (status.job, status.made_from, status.progress) = (None, None, None);
    if let Ok(made) = &version.made {
        status.version = Some(made.version.to_string());
        status.metrics.clone_from(&version.metrics);
        status.quantization.clone_from(&version.quantization);
    }
    pooled!(status, pooled);
    let said = [pooled.ready(version.said())].into_iter().chain(status.quantization.as_ref().map(quantized)).collect();
    (status, said)
}

/// The status of a ranking model.
#[must_use]
pub fn ranking(
    before: Option<&RankingModelStatus>,
    version: &Version,
    pooled: &Pooled,
) -> (RankingModelStatus, Vec<Said>) {
    let mut status = before.cloned().unwrap_or_default();
    status.conditions = Vec::new();
    if let Ok(made) = &version.made {
        status.version = Some(made.version.to_string());
        status.metrics.clone_from(&version.metrics);
        status.quantization.clone_from(&version.quantization);
    }
    pooled!(status, pooled);
    let said = [pooled.ready(version.said())].into_iter().chain(status.quantization.as_ref().map(quantized)).collect();
    (status, said)
}

/// Whether the version in force serves quantised, and why.
fn quantized(status: &QuantizationStatus) -> Said {
    if status.precision == Precision::F32.as_str() {
        return Said::no(QUANTIZED, reason::QUANTIZATION_FELL_BACK, status.message.as_str());
    }
    Said::yes(QUANTIZED, reason::GATES_HOLD, status.message.as_str())
}

impl Version {
    /// None of today's configuration.
    #[must_use]
    pub fn none(why: Objection) -> Self {
        Self { made: Err(why), metrics: Vec::new(), quantization: None }
    }

    fn said(&self) -> Result<&str, Said> {
        match &self.made {
            Ok(made) => Ok(made.version.as_str()),
            Err(objection) => Err(Said::objected(READY, objection)),
        }
    }
}
