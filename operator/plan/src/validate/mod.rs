//! Resources as written to a whole that can work, or every problem of every resource at once.
//!
//! ```text
//! Located… ─► scope (names) ─► dataset, tokenizer, retrieval, ranking, training, evaluation, pipeline ─► cycle ─► Valid
//! ```
//!
//! Each step turns one kind into its meaning and says what cannot work, at the field that says so. A resource with a
//! problem is left out of the meaning, and what refers to it is still checked as far as it goes.

mod cycle;
mod dataset;
mod evaluation;
mod facts;
mod files;
mod pipeline;
mod ranking;
mod retrieval;
mod scope;
mod threshold;
mod tokenizer;
mod training;

use recmesh_crds::{Located, ManifestError, Resource};

use crate::{JobKey, Valid};
use scope::Scope;

/// Resolves references and refuses combinations that cannot work.
///
/// # Errors
/// Every problem of every resource, in the order of the files and lines.
pub fn validate(resources: Vec<Located>) -> Result<Valid, Vec<ManifestError>> {
    let mut scope = Scope::new(&resources);
    let mut valid = Valid::default();
    let trained = training::claims(&mut scope);
    for at in &resources {
        let Some(name) = scope.name(at) else { continue };
        let makes = match &at.resource {
            Resource::Dataset(dataset) => {
                insert(&mut valid.datasets, &name, dataset::dataset(&mut scope, at, &dataset.spec))
            }
            Resource::Tokenizer(tokenizer) => {
                insert(&mut valid.tokenizers, &name, tokenizer::tokenizer(&mut scope, at, &tokenizer.spec))
            }
            Resource::RetrievalModel(model) => {
                let made = retrieval::retrieval(&mut scope, at, &model.spec, &trained);
                insert(&mut valid.retrieval_models, &name, made);
                model.spec.algorithm.counted()
            }
            Resource::RankingModel(model) => {
                let made = ranking::ranking(&mut scope, at, &model.spec, &trained);
                insert(&mut valid.ranking_models, &name, made);
                false
            }
            Resource::TrainingJob(job) => {
                insert(&mut valid.training_jobs, &name, training::training(&mut scope, at, &job.spec))
            }
            Resource::EvaluationJob(job) => {
                insert(&mut valid.evaluation_jobs, &name, evaluation::evaluation(&mut scope, at, &job.spec))
            }
            Resource::Pipeline(pipeline) => {
                insert(&mut valid.pipelines, &name, pipeline::pipeline(&mut scope, at, &pipeline.spec));
                false
            }
        };
        if makes {
            valid.jobs.push(JobKey { kind: at.kind(), name });
        }
    }
    cycle::refuse(&mut scope);
    scope.finish(valid)
}

/// Keeps what has a meaning. Always true, for kinds that a job makes something of.
fn insert<T>(
    into: &mut std::collections::BTreeMap<recmesh_contract::Name, T>,
    name: &recmesh_contract::Name,
    meaning: Option<T>,
) -> bool {
    if let Some(meaning) = meaning {
        into.insert(name.clone(), meaning);
    }
    true
}

#[cfg(test)]
mod tests;
