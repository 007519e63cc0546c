//! The EvaluationJob: a model against the held-out rows, and its gates.

use std::{path::Path, sync::Arc};

use recmesh_catalog::Catalog;
use recmesh_contract::{
    ArtifactId, Metric, RankQuery,
    config::{EvaluationParams, EvaluationSplit, JobWork, RankingAlgorithm, RankingParams},
};
use recmesh_data::{Dataset, Part};
use recmesh_models::ranking::{InteractionRow, TabularRow};

use crate::{
    JobError, dataset, rows,
    run::{Bench, Made, is_ranking, open},
    tokenizer::CATALOG,
};

/// Evaluates a model; its artifact holds the metrics alone.
pub(crate) fn make(
    model: &ArtifactId,
    tokenizer: Option<&ArtifactId>,
    data: &ArtifactId,
    params: &EvaluationParams,
    bench: &Bench<'_>,
) -> Result<Made, JobError> {
    let metrics = if is_ranking(model) {
        ranking(model, data, params, bench)?
    } else {
        retrieval(model, tokenizer, data, params, bench)?
    };
    let message = missed(model, params, &metrics)?;
    Ok(Made { metrics, message, quantization: None })
}

/// The gates that were missed, in a sentence each; `None` when there are none.
pub(crate) fn missed(
    model: &ArtifactId,
    params: &EvaluationParams,
    metrics: &[Metric],
) -> Result<Option<String>, JobError> {
    let missed: Vec<String> = recmesh_evaluation::check(&params.gates, metrics)?
        .iter()
        .filter(|verdict| !verdict.passed)
        .map(|verdict| {
            let bounds = (verdict.gate.min.map(|min| format!("at least {min}")).into_iter())
                .chain(verdict.gate.max.map(|max| format!("at most {max}")));
            let wanted = bounds.collect::<Vec<_>>().join(" and ");
            format!("gate missed: {} of {model} is {:.4}, wanted {wanted}", verdict.gate.metric, verdict.value)
        })
        .collect();
    Ok((!missed.is_empty()).then(|| missed.join("; ")))
}

fn retrieval(
    model: &ArtifactId,
    tokenizer: Option<&ArtifactId>,
    data: &ArtifactId,
    params: &EvaluationParams,
    bench: &Bench<'_>,
) -> Result<Vec<Metric>, JobError> {
    let catalog = match tokenizer {
        Some(id) => Some(Arc::new(Catalog::open(&open(id, bench)?.path().join(CATALOG))?)),
        None => None,
    };
    let server = recmesh_models::retrieval::load(open(model, bench)?.path(), catalog)?;
    let data = dataset::interactions(data, "an evaluation of a retrieval model", bench)?;
    Ok(recmesh_evaluation::retrieval(&*server, &data, params, bench.threads, bench.reporter)?)
}

fn ranking(
    model: &ArtifactId,
    data: &ArtifactId,
    params: &EvaluationParams,
    bench: &Bench<'_>,
) -> Result<Vec<Metric>, JobError> {
    let artifact = open(model, bench)?;
    let ranking = trained_with(artifact.config(), model)?;
    let names: Vec<String> = ranking.tasks.iter().map(|task| task.name.clone()).collect();
    let part = match params.split {
        EvaluationSplit::Validation => Part::Validation,
        EvaluationSplit::Test => Part::Test,
    };
    let sample = params.sample as usize;
    match dataset::any(data, bench)? {
        Dataset::Interactions(interactions) => {
            let RankingAlgorithm::Mmoe(mmoe) = &ranking.algorithm;
            let length = mmoe.history_length as usize;
            let labelled = rows::interactions(&interactions, &ranking.tasks, part, length, data)?.spread(sample);
            let scores = score_interactions(artifact.path(), &labelled.rows, bench)?;
            let labels = rows::labels(labelled.rows.iter().map(|row| &row.labels));
            Ok(recmesh_evaluation::ranking(&scores, &labels, labelled.users.as_deref(), &names, params)?)
        }
        Dataset::Examples(examples) => {
            let labelled = rows::examples(&examples, &ranking.tasks, part, data)?.spread(sample);
            let server = recmesh_models::ranking::load_tabular(artifact.path())?;
            let score = |server: &mut recmesh_models::ranking::TabularRanker, rows: &[&TabularRow]| {
                server.score(rows).map_err(JobError::Serving)
            };
            let scores = rows::score(&labelled.rows, bench.threads, || server.fork(), score)?;
            let labels = rows::labels(labelled.rows.iter().map(|row| &row.labels));
            Ok(recmesh_evaluation::ranking(&scores, &labels, None, &names, params)?)
        }
    }
}

/// Scores rows as serving would: one query a row, the row's item its only candidate.
fn score_interactions(model: &Path, rows: &[InteractionRow], bench: &Bench<'_>) -> Result<Vec<f32>, JobError> {
    let server = recmesh_models::ranking::load(model)?;
    let servers: Vec<_> = (0..bench.threads.max(1)).map(|_| server.fork()).collect();
    let pool = std::sync::Mutex::new(servers);
    let take = || {
        let mut free = pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        free.pop()
    };
    rows::score(rows, bench.threads, take, |server, rows| {
        let server = server.as_mut().ok_or_else(|| JobError::Configuration("no scorer is left".to_owned()))?;
        let queries: Vec<RankQuery<'_>> = rows
            .iter()
            .map(|row| RankQuery { history: &row.history, user: row.user, candidates: std::slice::from_ref(&row.item) })
            .collect();
        let scores = server.rank(&queries).map_err(JobError::Serving)?;
        Ok(scores.into_iter().flatten().collect())
    })
}

/// The ranking parameters that a model was trained with: its artifact keeps its job's configuration.
fn trained_with(config: &serde_json::Value, model: &ArtifactId) -> Result<RankingParams, JobError> {
    match serde_json::from_value(config.clone()) {
        Ok(JobWork::TrainRanking { ranking, .. }) => Ok(ranking),
        _ => Err(JobError::Configuration(format!("{model}/config.json is not of a ranking model's training job"))),
    }
}
