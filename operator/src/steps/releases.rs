//! What a pipeline should serve: its route, and the generation of each pool.
//!
//! In: a pipeline's closure. Out: the wanted release, or why there is none yet. The plan names pools; a cluster serves
//! several versions of a pool beside each other, so here each gets its generation's name, and the release a name that
//! tells its generations too.

use std::sync::Arc;

use recmesh_contract::{
    Name, Version,
    config::{Affinity, PoolConfig, PoolPlace, Rollout, Serves},
};
use recmesh_crds::{Kind, Pipeline};
use recmesh_plan::{PlanError, serving};

use super::{dereference::dereference, plan, validate::validate};
use crate::{
    here::{Here, name_of},
    names, reason,
    terms::{Asked, Generation, Key, Objection, Planned, Wanted},
};

/// A pipeline with what it should serve.
pub struct Served {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// What it should serve, or why nothing yet.
    pub wanted: Result<Wanted, Objection>,
}

/// What a pipeline should serve.
///
/// # Errors
/// When it cannot work, or something that it serves is not made yet.
pub fn wanted(here: &Here<'_>, pipeline: &str) -> Result<Wanted, Objection> {
    let subject = Key::new(Kind::Pipeline, pipeline);
    let valid = validate(here, &subject, dereference(here, &subject))?;
    let planned = plan::plan(here, valid);
    let (pools, mut table) = serving(&planned.valid, &planned.made, &|tokenizer| plan::catalog(here, tokenizer))
        .map_err(|error| unmade(here, &planned, &error))?;
    let Some(mut route) = table.routes.remove(pipeline) else {
        return Err(Objection::new(reason::INVALID, format!("{pipeline} is not a name")));
    };
    let mut generations: Vec<Generation> = Vec::new();
    let mut renamed = Vec::new();
    for pool in pools {
        let planned_name = pool.name.clone();
        let generation = generation(here, pool)?;
        renamed.push((planned_name, generation.name().clone()));
        generations.push(generation);
    }
    let rename = |name: &mut Name| {
        if let Some((_, new)) = renamed.iter().find(|(old, _)| old == name) {
            *name = new.clone();
        }
    };
    rename(&mut route.tokenize);
    rename(&mut route.retrieve);
    route.rank.as_mut().into_iter().chain(route.fallback.as_mut()).for_each(rename);
    let parts: Vec<&str> = [route.release.name.as_str()]
        .into_iter()
        .chain(generations.iter().map(|generation| generation.name().as_str()))
        .collect();
    route.release.name = format!("{pipeline}@{}", Version::of(parts.iter().map(|part| part.as_bytes())));
    Ok(Wanted { route, generations })
}

fn unmade(here: &Here<'_>, planned: &Planned, error: &PlanError) -> Objection {
    match error {
        PlanError::NotMade { needs, .. } => plan::waiting(here, planned.awaits(needs).unwrap_or(needs)),
        PlanError::NoSuchJob(key) => Objection::new(reason::REFERENCE_MISSING, format!("there is no {key}: make it")),
    }
}

/// The generation of a pool: its own name, its place, its owner.
fn generation(here: &Here<'_>, planned: PoolConfig) -> Result<Generation, Objection> {
    let (stage, kind, served) = match &planned.serves {
        Serves::Tokenize { tokenizer, .. } => ("tokenize", Kind::Tokenizer, tokenizer.clone()),
        Serves::Retrieve { model, .. } => ("retrieve", Kind::RetrievalModel, model.clone()),
        Serves::Rank { model, .. } => ("rank", Kind::RankingModel, model.clone()),
    };
    let owner = Key::new(kind, served.name.as_str());
    let gone = || Objection::new(reason::REFERENCE_MISSING, format!("there is no {owner}: make it"));
    let Asked { serving, .. } = asked(here, &owner).ok_or_else(gone)?;
    let named =
        |name: String| Name::new(name).map_err(|error| Objection::new(reason::INVALID, format!("{owner}: {error}")));
    let pool = names::pool(stage, &served.name);
    let mut config = PoolConfig { name: named(pool.clone())?, ..planned };
    // How it runs is part of the generation: another way of running is another set of objects.
    let mut told = config.generation();
    if serving.affinity == Affinity::User {
        told += "user";
    }
    if serving.rollout == Rollout::InPlace {
        told += "inPlace";
    }
    let hex = if told.len() == 8 { told } else { names::digest(&told) };
    config.name = named(names::generation(&pool, &hex))?;
    let service = match (serving.rollout, serving.affinity) {
        (Rollout::Surge, _) => config.name.clone(),
        (Rollout::InPlace, Affinity::None) => named(pool.clone())?,
        // Workloads with and without stable names differ in kind: one must not wait for the other to go.
        (Rollout::InPlace, Affinity::User) => named(names::generation(&pool, &names::digest("user")))?,
    };
    let place = PoolPlace { service, affinity: serving.affinity };
    Ok(Generation { owner, pool, hex, config, version: served.version.to_string(), place })
}

/// What a resource asks of its workers.
#[must_use]
pub fn asked(here: &Here<'_>, owner: &Key) -> Option<Asked> {
    let name = owner.name.as_str();
    Some(match owner.kind {
        Kind::Tokenizer => {
            let it = here.tokenizer(name)?;
            Asked { serving: it.spec.serving.clone(), pod: it.spec.pod.clone() }
        }
        Kind::RetrievalModel => {
            let it = here.retrieval_model(name)?;
            Asked { serving: it.spec.serving.clone(), pod: it.spec.pod.clone() }
        }
        Kind::RankingModel => {
            let it = here.ranking_model(name)?;
            Asked { serving: it.spec.serving.clone(), pod: it.spec.pod.clone() }
        }
        Kind::Dataset | Kind::TrainingJob | Kind::EvaluationJob | Kind::Pipeline => return None,
    })
}

/// Every pipeline that names a resource, with what it should serve.
#[must_use]
pub fn served(here: &Here<'_>, owner: &Key) -> Vec<Served> {
    let names = |pipeline: &Pipeline| {
        pipeline.metadata.deletion_timestamp.is_none()
            && crate::references::of_pipeline(pipeline).iter().any(|(_, key)| key == owner)
    };
    let pipelines = here.pipelines(names);
    pipelines
        .into_iter()
        .map(|pipeline| {
            let wanted = wanted(here, name_of(pipeline.as_ref()));
            Served { pipeline, wanted }
        })
        .collect()
}
