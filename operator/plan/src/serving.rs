//! What serves once everything is made: pools, routes, releases.
//!
//! In: the meaning, the artifacts, the catalogs' digests. Out: pools (one for each thing served, shared by pipelines) and
//! the route table. Starts nothing.

use std::collections::BTreeMap;

use recmesh_contract::{
    ArtifactId, Name, Release, Version,
    config::{PoolConfig, PoolParams, Route, RouteTable, Serves},
};
use recmesh_crds::Kind;

use crate::{
    JobKey, Model, Pipeline, PlanError, Valid,
    tell::{Inputs, Made},
};

/// The pools and routes of every pipeline. `catalog_digest` gives the digest (`sha256:<hex>`) of a tokenizer's catalog.
///
/// # Errors
/// When something that a pipeline serves is not made yet.
pub fn serving(
    valid: &Valid,
    made: &BTreeMap<JobKey, ArtifactId>,
    catalog_digest: &dyn Fn(&ArtifactId) -> String,
) -> Result<(Vec<PoolConfig>, RouteTable), PlanError> {
    let mut pools = Pools::default();
    let mut table = RouteTable::default();
    for (name, pipeline) in &valid.pipelines {
        let route = route(valid, made, catalog_digest, name, pipeline, &mut pools)?;
        table.routes.insert(name.to_string(), route);
    }
    Ok((pools.0, table))
}

fn route(
    valid: &Valid,
    made: &Made,
    catalog_digest: &dyn Fn(&ArtifactId) -> String,
    name: &Name,
    pipeline: &Pipeline,
    pools: &mut Pools,
) -> Result<Route, PlanError> {
    let inputs = Inputs { valid, made, what: format!("Pipeline/{name}") };
    let tokenizer = inputs.of(Kind::Tokenizer, &pipeline.tokenizer)?;
    let dataset = valid.tokenizers.get(&pipeline.tokenizer).map(|tokenizer| &tokenizer.dataset);
    let dataset = dataset.ok_or_else(|| no_such(Kind::Tokenizer, &pipeline.tokenizer))?;
    let dataset = inputs.of(Kind::Dataset, dataset)?;

    let retrieve = |name: &Name, pools: &mut Pools| -> Result<(Name, ArtifactId), PlanError> {
        let model = inputs.model(&Model::Retrieval(name.clone()))?;
        let params = valid.retrieval_models.get(name).map(|model| model.pool.clone()).unwrap_or_default();
        let serves = Serves::Retrieve { model: model.clone(), tokenizer: tokenizer.clone() };
        Ok((pools.with("retrieve", name, serves, params), model))
    };
    let tokenize = Serves::Tokenize { tokenizer: tokenizer.clone(), dataset };
    let tokenize = pools.with("tokenize", &pipeline.tokenizer, tokenize, PoolParams::default());
    let (retrieve_pool, retrieve_model) = retrieve(&pipeline.retrieve, pools)?;
    let mut models = BTreeMap::from([("retrieve".to_owned(), versioned(&retrieve_model))]);
    let mut rank_pool = None;
    if let Some(name) = &pipeline.rank {
        let model = inputs.model(&Model::Ranking(name.clone()))?;
        let params = valid.ranking_models.get(name).map(|model| model.pool.clone()).unwrap_or_default();
        models.insert("rank".to_owned(), versioned(&model));
        let serves = Serves::Rank { model, tokenizer: tokenizer.clone() };
        rank_pool = Some(pools.with("rank", name, serves, params));
    }
    let mut fallback_pool = None;
    if let Some(name) = &pipeline.fallback {
        let (pool, model) = retrieve(name, pools)?;
        models.insert("fallback".to_owned(), versioned(&model));
        fallback_pool = Some(pool);
    }
    Ok(Route {
        release: Release::new(name.as_str(), models, versioned(&tokenizer), catalog_digest(&tokenizer)),
        tokenize,
        retrieve: retrieve_pool,
        rank: rank_pool,
        fallback: fallback_pool,
        params: pipeline.route.clone(),
    })
}

fn no_such(kind: Kind, name: &Name) -> PlanError {
    PlanError::NoSuchJob(JobKey { kind, name: name.clone() })
}

/// `<resource>@<version>`.
fn versioned(artifact: &ArtifactId) -> String {
    format!("{}@{}", artifact.name, artifact.version)
}

/// Pools so far, each name once.
#[derive(Default)]
struct Pools(Vec<PoolConfig>);

impl Pools {
    /// The pool that serves this, made if there is none: `<stage>-<resource>`, with a digest where that is too long or
    /// taken (one model can serve beside two catalogs).
    fn with(&mut self, stage: &str, resource: &Name, serves: Serves, params: PoolParams) -> Name {
        if let Some(pool) = self.0.iter().find(|pool| pool.serves == serves) {
            return pool.name.clone();
        }
        let plain = Name::new(format!("{stage}-{resource}")).ok();
        let free = plain.filter(|name| self.0.iter().all(|pool| pool.name != *name));
        let name = free.unwrap_or_else(|| self.digested(stage, resource, &serves));
        self.0.push(PoolConfig { name: name.clone(), serves, params });
        name
    }

    fn digested(&self, stage: &str, resource: &Name, serves: &Serves) -> Name {
        let text = format!("{serves:?}");
        let digest = Version::of([text.as_bytes()]);
        let short: String = resource.as_str().chars().take(63 - stage.len() - 2 - digest.as_str().len()).collect();
        // A resource's name is a label, and so is the front of it between two labels.
        Name::new(format!("{stage}-{short}-{digest}")).unwrap_or_else(|_| resource.clone())
    }
}
