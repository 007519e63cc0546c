//! The driver: which version would the job make, is it there already, do the work, commit, report.

use std::{path::Path, sync::atomic::AtomicBool};

use recmesh_catalog::Catalog;
use recmesh_contract::{
    ArtifactId, ArtifactKind, JobReport, JobState, Metric, Quantized, Reporter, Resources,
    config::{ItemVectors, JobConfig, JobWork, TokenizerAlgorithm},
};
use recmesh_store::{Artifact, Lineage, Store};

use crate::{JobError, Usage, count, dataset, evaluate, quant, ranking, retrieval, tokenizer, version};

/// Where a job works: its store, its threads, who hears of its progress, and a flag that asks it to stop.
pub struct Bench<'a> {
    /// Where artifacts are kept.
    pub store: &'a Store,
    /// Threads to compute with; results do not depend on it.
    pub threads: usize,
    /// Who hears of progress.
    pub reporter: &'a dyn Reporter,
    /// Raised to stop training at the next step, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// What a step hands back for its artifact.
pub(crate) struct Made {
    pub metrics: Vec<Metric>,
    pub message: Option<String>,
    /// Of a model whose declaration asks for it.
    pub quantization: Option<Quantized>,
}

/// Does a job, or finds its artifact in the store.
///
/// # Errors
/// When the work fails, or when the store's artifact is damaged: it is named and never replaced silently.
pub fn run(config: &JobConfig, bench: &Bench<'_>) -> Result<JobReport, JobError> {
    let files = source_digest(config)?;
    let id = version::artifact(config, &files);
    let report = |state, made: Made, resources, digest| JobReport {
        kind: kind(&config.work).to_owned(),
        name: config.name.clone(),
        state,
        produced: Some(id.clone()),
        metrics: made.metrics,
        omitted: 0,
        digest,
        progress: None,
        quantization: made.quantization,
        resources,
        message: made.message,
    };
    if bench.store.contains(&id) {
        let artifact = bench.store.open_artifact(&id)?;
        let metrics = artifact.metrics().to_vec();
        let message = match &config.work {
            JobWork::Evaluate { model, params, .. } => evaluate::missed(model, params, &metrics)?,
            JobWork::Dataset { .. } => dataset::left_out(artifact.path())?,
            _ => None,
        };
        let digest = digest(&config.work, &files, artifact.path())?;
        let quantization = quant::told(artifact.path())?;
        let made = Made { metrics, message, quantization };
        return Ok(report(JobState::Reused, made, Resources::default(), digest));
    }
    let usage = Usage::start();
    let draft = bench.store.draft(&id)?;
    let made = match &config.work {
        JobWork::Dataset { params, folder } => dataset::make(params, folder.as_ref(), draft.path(), bench)?,
        JobWork::Tokenizer { algorithm, dataset, folder, vectors } => {
            tokenizer::make(algorithm, dataset, folder.as_ref(), vectors.as_ref(), draft.path(), bench)?
        }
        JobWork::Count { algorithm, dataset } => count::make(algorithm, dataset, draft.path(), bench)?,
        JobWork::TrainRetrieval { algorithm, dataset, tokenizer, params, quantization } => {
            let (tokenizer, quantization) = (tokenizer.as_ref(), quantization.as_ref());
            let task = retrieval::Task { algorithm, dataset, tokenizer, params, quantization, makes: &id };
            retrieval::make(&task, draft.path(), bench)?
        }
        JobWork::TrainRanking { ranking, dataset, params, quantization } => {
            let quantization = quantization.as_ref();
            ranking::make(&ranking::Task { ranking, dataset, params, quantization, makes: &id }, draft.path(), bench)?
        }
        JobWork::Evaluate { model, tokenizer, dataset, params } => {
            evaluate::make(model, tokenizer.as_ref(), dataset, params, bench)?
        }
    };
    let resources = usage.stop();
    let artifact = draft.commit(Lineage {
        inputs: inputs(&config.work),
        data_digest: (!files.is_empty()).then(|| files.clone()),
        seed: seed(&config.work),
        config: serde_json::json!(version::determining(&config.work)),
        metrics: made.metrics.clone(),
    })?;
    bench.store.remove_checkpoints(&id)?;
    let digest = digest(&config.work, &files, artifact.path())?;
    Ok(report(JobState::Complete, made, resources, digest))
}

/// What a report tells others of the contents: a data set's files, a tokenizer's catalog.
fn digest(work: &JobWork, files: &str, artifact: &Path) -> Result<Option<String>, JobError> {
    Ok(match work {
        JobWork::Dataset { .. } => (!files.is_empty()).then(|| format!("sha256:{files}")),
        JobWork::Tokenizer { .. } => Some(Catalog::open(&artifact.join(tokenizer::CATALOG))?.digest().to_owned()),
        _ => None,
    })
}

/// What a job makes, or would make.
///
/// # Errors
/// When the files that the job reads are missing.
pub fn target(config: &JobConfig) -> Result<ArtifactId, JobError> {
    Ok(version::artifact(config, &source_digest(config)?))
}

/// Removes what a job made before, finished or not, sound or damaged, so that it is made anew.
///
/// # Errors
/// When the files that the job reads are missing, or the artifact cannot be removed.
pub fn discard(config: &JobConfig, store: &Store) -> Result<(), JobError> {
    let id = target(config)?;
    store.remove_checkpoints(&id)?;
    Ok(store.remove(&id)?)
}

/// Opens an artifact that a job is made from, every digest checked.
pub(crate) fn open(id: &ArtifactId, bench: &Bench<'_>) -> Result<Artifact, JobError> {
    Ok(bench.store.open_artifact(id)?)
}

/// Digest of the files that a job reads beside its input artifacts; empty when it reads none.
fn source_digest(config: &JobConfig) -> Result<String, JobError> {
    match &config.work {
        JobWork::Dataset { params, folder } => Ok(recmesh_data::source_digest(params, folder.as_ref())?),
        JobWork::Tokenizer { algorithm: TokenizerAlgorithm::RqKMeans(rq), folder, .. } => match &rq.vectors {
            ItemVectors::File(file) => Ok(tokenizer::file_digest(file, folder.as_ref())?),
            ItemVectors::Collaborative(_) | ItemVectors::Content(_) | ItemVectors::Model(_) => Ok(String::new()),
        },
        _ => Ok(String::new()),
    }
}

/// The kind of resource that a job belongs to, as people call it.
#[must_use]
pub fn kind(work: &JobWork) -> &'static str {
    match work {
        JobWork::Dataset { .. } => "Dataset",
        JobWork::Tokenizer { .. } => "Tokenizer",
        JobWork::Count { .. } => "RetrievalModel",
        JobWork::TrainRetrieval { .. } | JobWork::TrainRanking { .. } => "TrainingJob",
        JobWork::Evaluate { .. } => "EvaluationJob",
    }
}

/// The artifacts that a job is made from.
fn inputs(work: &JobWork) -> Vec<ArtifactId> {
    match work {
        JobWork::Dataset { .. } => Vec::new(),
        JobWork::Tokenizer { dataset, vectors, .. } => std::iter::once(dataset).chain(vectors).cloned().collect(),
        JobWork::Count { dataset, .. } | JobWork::TrainRanking { dataset, .. } => vec![dataset.clone()],
        JobWork::TrainRetrieval { dataset, tokenizer, .. } => {
            std::iter::once(dataset).chain(tokenizer).cloned().collect()
        }
        JobWork::Evaluate { model, tokenizer, dataset, .. } => {
            [model, dataset].into_iter().chain(tokenizer).cloned().collect()
        }
    }
}

/// The seed that the work drew from.
fn seed(work: &JobWork) -> Option<u64> {
    match work {
        JobWork::Dataset { params, .. } => match &params.source {
            recmesh_contract::config::Source::Planted(world) => Some(world.seed),
            _ => None,
        },
        JobWork::Tokenizer { algorithm: TokenizerAlgorithm::RqKMeans(rq), .. } => Some(rq.seed),
        JobWork::Tokenizer { .. } | JobWork::Count { .. } => None,
        JobWork::TrainRetrieval { params, .. } | JobWork::TrainRanking { params, .. } => Some(params.seed),
        JobWork::Evaluate { params, .. } => Some(params.seed),
    }
}

/// The artifact kind that a model reference must have.
pub(crate) fn is_ranking(model: &ArtifactId) -> bool {
    model.kind == ArtifactKind::RankingModel
}
