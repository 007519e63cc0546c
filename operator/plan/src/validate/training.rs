//! Training jobs: one for every model that is trained, none for a model that is counted.

use std::collections::BTreeMap;

use recmesh_contract::{Name, config::Decay};
use recmesh_crds::{Located, ModelKind, Resource, TrainingJobSpec};

use super::{facts::Facts, retrieval::arm, scope::Scope};
use crate::Training;

/// The training job of every model that has one.
pub(super) type Claims = BTreeMap<(ModelKind, String), Name>;

/// Who trains what; objects to a second job for one model.
pub(super) fn claims(scope: &mut Scope<'_>) -> Claims {
    let mut claims: BTreeMap<(ModelKind, String), &Located> = BTreeMap::new();
    for at in scope.all {
        let Resource::TrainingJob(job) = &at.resource else { continue };
        let model = (job.spec.model_ref.kind, job.spec.model_ref.name.clone());
        match claims.get(&model) {
            Some(first) => {
                let (model, first, place) = (&model.1, &first.name, first.place());
                let message = format!("{model} is trained by TrainingJob/{first} already{place}: keep one of the two");
                scope.refuse(at, "/spec/modelRef/name", message);
            }
            None => {
                claims.insert(model, at);
            }
        }
    }
    claims.into_iter().filter_map(|(model, at)| Name::new(at.name.as_str()).ok().map(|name| (model, name))).collect()
}

/// The meaning of a training job.
pub(super) fn training(scope: &mut Scope<'_>, at: &Located, spec: &TrainingJobSpec) -> Option<Training> {
    let (model, resource) = scope.model(at, "/spec/modelRef", &spec.model_ref)?;
    if let Resource::RetrievalModel(counted) = resource
        && counted.spec.algorithm.counted()
    {
        let message = format!(
            "{} is {}, which is counted from the data set alone: remove this TrainingJob",
            spec.model_ref.name,
            arm(&counted.spec.algorithm)
        );
        scope.refuse(at, "/spec/modelRef/name", message);
        return None;
    }
    if spec.training.schedule.decay == Decay::Constant && spec.training.schedule.floor > 0.0 {
        let message = "a constant rate falls to no floor: write decay: cosine, or remove floor";
        scope.refuse(at, "/spec/schedule/floor", message);
    }
    let dataset = match resource {
        Resource::RetrievalModel(model) => &model.spec.dataset_ref.name,
        Resource::RankingModel(model) => &model.spec.dataset_ref.name,
        _ => return None,
    };
    if scope.params_of(dataset).is_some_and(|params| !Facts::of(params).validation) {
        let message = format!(
            "data set {dataset} of {} has no validation part, by which the best epoch is chosen: give it one \
             (split: {{time: {{validation: 0.1, …}}}})",
            spec.model_ref.name
        );
        scope.refuse(at, "/spec/modelRef/name", message);
    }
    Some(Training { model, params: spec.training.clone() })
}
