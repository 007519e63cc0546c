//! The version of what a job will make, before it is made.
//!
//! In: a job's configuration and the digest of the files it reads. Out: a [`Version`] that changes exactly when the
//! result could. Where the files lie does not count, only what is in them.

use recmesh_contract::{
    ArtifactId, ArtifactKind, Version,
    config::{Checkpoint, JobConfig, JobWork},
};

/// Raised when the same configuration begins to give other results, so that old artifacts are not taken for new ones.
const RECIPE: u32 = 1;

/// The work without what cannot change its result: how often a training keeps a checkpoint.
pub(crate) fn determining(work: &JobWork) -> JobWork {
    let mut work = work.clone();
    if let JobWork::TrainRetrieval { params, .. } | JobWork::TrainRanking { params, .. } = &mut work {
        params.checkpoint = Checkpoint::default();
    }
    work
}

/// The artifact that a job makes; `files` is the digest of the files it reads, empty when it reads none.
pub(crate) fn artifact(config: &JobConfig, files: &str) -> ArtifactId {
    let text = |value: serde_json::Value| value.to_string();
    let (kind, parts) = match &determining(&config.work) {
        JobWork::Dataset { params, folder: _ } => (ArtifactKind::Dataset, vec![text(serde_json::json!(params))]),
        JobWork::Tokenizer { algorithm, dataset, folder: _, vectors } => {
            (ArtifactKind::Tokenizer, vec![text(serde_json::json!([algorithm, dataset, vectors]))])
        }
        JobWork::Count { algorithm, dataset } => {
            (ArtifactKind::RetrievalModel, vec![text(serde_json::json!([algorithm, dataset]))])
        }
        JobWork::TrainRetrieval { algorithm, dataset, tokenizer, params, quantization } => {
            let mut parts = vec![text(serde_json::json!([algorithm, dataset, tokenizer, params]))];
            parts.extend(quantization.iter().map(|it| text(serde_json::json!(it))));
            (ArtifactKind::RetrievalModel, parts)
        }
        JobWork::TrainRanking { ranking, dataset, params, quantization } => {
            let mut parts = vec![text(serde_json::json!([ranking, dataset, params]))];
            parts.extend(quantization.iter().map(|it| text(serde_json::json!(it))));
            (ArtifactKind::RankingModel, parts)
        }
        JobWork::Evaluate { model, tokenizer, dataset, params } => {
            (ArtifactKind::Evaluation, vec![text(serde_json::json!([model, tokenizer, dataset, params]))])
        }
    };
    let recipe = RECIPE.to_le_bytes();
    let version =
        Version::of([recipe.as_slice(), files.as_bytes()].into_iter().chain(parts.iter().map(String::as_bytes)));
    ArtifactId { kind, name: config.name.clone(), version }
}

#[cfg(test)]
mod tests {
    use recmesh_contract::{
        Name,
        config::{DatasetParams, NoParams, RetrievalAlgorithm},
    };

    use super::*;

    fn planted(folder: &str, seed: u64) -> JobConfig {
        let params: DatasetParams =
            serde_json::from_value(serde_json::json!({"source": {"planted": {"seed": seed}}})).unwrap();
        JobConfig { name: Name::new("world").unwrap(), work: JobWork::Dataset { params, folder: folder.into() } }
    }

    #[test]
    fn changes_with_content_and_not_with_place() {
        let here = artifact(&planted("/a", 1), "");
        assert_eq!(here, artifact(&planted("/b", 1), ""), "the folder does not count");
        assert_ne!(here, artifact(&planted("/a", 2), ""), "parameters count");
        assert_ne!(here, artifact(&planted("/a", 1), "sha256:1"), "what is in the files counts");
    }

    #[test]
    fn how_often_checkpoints_are_kept_does_not_count() {
        let train = |steps: u32, epochs: u32| {
            let params = serde_json::json!({"epochs": epochs, "checkpoint": {"everySteps": steps}});
            let work = JobWork::TrainRetrieval {
                algorithm: serde_json::from_value(serde_json::json!({"sasRec": {}})).unwrap(),
                dataset: artifact(&planted("", 1), ""),
                tokenizer: None,
                params: serde_json::from_value(params).unwrap(),
                quantization: None,
            };
            artifact(&JobConfig { name: Name::new("model").unwrap(), work }, "")
        };
        assert_eq!(train(3, 2), train(500, 2));
        assert_ne!(train(3, 2), train(3, 4));
    }

    #[test]
    fn changes_with_what_it_is_made_from() {
        let count = |dataset: ArtifactId| {
            let algorithm = RetrievalAlgorithm::Popularity(NoParams {});
            let config = JobConfig { name: Name::new("top").unwrap(), work: JobWork::Count { algorithm, dataset } };
            artifact(&config, "")
        };
        assert_ne!(count(artifact(&planted("", 1), "")), count(artifact(&planted("", 2), "")));
    }
}
