//! From a pool's configuration to an engine: opens artifacts, once, before anything is served.
//!
//! In: what the pool serves and the store. Out: an engine and a warm-up request that walks the whole of it.

use std::{path::Path, sync::Arc};

use recmesh_catalog::Catalog;
use recmesh_contract::{
    ArtifactId, Candidate, Context, Finish, ItemIndex, Name, Quantized, Request, Work,
    config::{Device, Serves},
};
use recmesh_models::{
    ModelError, quant, ranking,
    retrieval::{self, Placed, ServesFrom},
};
use recmesh_store::{Artifact, Histories, Store};

use crate::{
    engine::Engine,
    engines::{RankEngine, RetrieveEngine, TokenizeEngine},
    error::PoolError,
};

/// The catalog's file in a tokenizer's artifact.
const CATALOG: &str = "catalog.bin";
/// The histories' file in a data set's artifact.
const HISTORIES: &str = "histories.bin";
/// How many items a warm-up request names.
const WARM_UP_ITEMS: usize = 8;

/// What a pool runs.
pub(crate) struct Loaded {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) warm_up: Work,
    /// In which precision its model serves, where quantization was asked for.
    pub(crate) quantized: Option<Quantized>,
    /// What its model serves from, and why; `None` without a model.
    pub(crate) from: Option<(ServesFrom, String)>,
}

/// Opens what a pool serves, on the device that is wanted where it can be had.
pub(crate) fn load(pool: &Name, serves: &Serves, device: Device, store: &Store) -> Result<Loaded, PoolError> {
    match serves {
        Serves::Tokenize { tokenizer, dataset } => {
            let catalog = open_catalog(pool, tokenizer, store)?;
            let path = open(pool, dataset, store)?.path().join(HISTORIES);
            let unread =
                |source| PoolError::Histories { pool: pool.clone(), path: path.clone(), source: Box::new(source) };
            let histories = Histories::open(&path).map_err(unread)?;
            same_items(pool, &path, &histories, catalog.len())?;
            let request = Request {
                user: (!histories.is_empty()).then(|| histories.id(0).to_owned()),
                history: None,
                k: 1,
                exclude: first_items(&catalog).take(1).map(|item| catalog.id(item).to_owned()).collect(),
                filters: Default::default(),
                allow_seen: false,
            };
            let engine = Box::new(TokenizeEngine::new(catalog, Arc::new(histories)));
            Ok(Loaded { engine, warm_up: Work::Tokenize(Arc::new(request)), quantized: None, from: None })
        }
        Serves::Retrieve { model, tokenizer } => {
            let catalog = open_catalog(pool, tokenizer, store)?;
            let artifact = open(pool, model, store)?;
            let (catalog_of, wrong) = (Some(Arc::clone(&catalog)), refused(pool, model));
            let placed = retrieval::load_on(artifact.path(), catalog_of, device).map_err(&wrong)?;
            let Placed { recommender, from, why } = placed;
            let quantized = quant::report(artifact.path()).map_err(&wrong)?.map(|report| report.verdict);
            let (context, finish) = (context(&catalog), finish());
            let warm_up = Work::Retrieve { context, candidates: WARM_UP_ITEMS, finish: Some(finish) };
            Ok(Loaded {
                engine: Box::new(RetrieveEngine::new(recommender, catalog)),
                warm_up,
                quantized,
                from: Some((from, why)),
            })
        }
        Serves::Rank { model, tokenizer } => {
            let catalog = open_catalog(pool, tokenizer, store)?;
            let artifact = open(pool, model, store)?;
            let wrong = refused(pool, model);
            let why = "ranking models have no kernels for a device".to_owned();
            if device == Device::Cuda {
                return Err(wrong(ModelError::Device(why)));
            }
            let ranker = ranking::load(artifact.path()).map_err(&wrong)?;
            let quantized = quant::report(artifact.path()).map_err(&wrong)?.map(|report| report.verdict);
            let candidate = |item| Candidate { item, score: 0.0, tasks: vec![] };
            let candidates = first_items(&catalog).map(candidate).collect();
            let warm_up = Work::Rank { context: context(&catalog), candidates, finish: Some(finish()) };
            Ok(Loaded {
                engine: Box::new(RankEngine::new(ranker, catalog)),
                warm_up,
                quantized,
                from: Some((ServesFrom::Cpu, why)),
            })
        }
    }
}

fn refused(pool: &Name, artifact: &ArtifactId) -> impl Fn(ModelError) -> PoolError {
    move |source| PoolError::Model { pool: pool.clone(), artifact: artifact.clone(), source: Box::new(source) }
}

fn open(pool: &Name, artifact: &ArtifactId, store: &Store) -> Result<Artifact, PoolError> {
    store.open_artifact(artifact).map_err(|source| PoolError::Artifact {
        pool: pool.clone(),
        artifact: artifact.clone(),
        source: Box::new(source),
    })
}

fn open_catalog(pool: &Name, tokenizer: &ArtifactId, store: &Store) -> Result<Arc<Catalog>, PoolError> {
    let path = open(pool, tokenizer, store)?.path().join(CATALOG);
    read_catalog(pool, &path).map(Arc::new)
}

fn read_catalog(pool: &Name, path: &Path) -> Result<Catalog, PoolError> {
    Catalog::open(path).map_err(|source| PoolError::Catalog {
        pool: pool.clone(),
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// Models index their tables by these items without looking.
fn same_items(pool: &Name, path: &Path, histories: &Histories, items: usize) -> Result<(), PoolError> {
    let foreign = |user: &u32| histories.items(*user).iter().any(|&item| item as usize >= items);
    match (0..histories.len() as u32).find(foreign) {
        None => Ok(()),
        Some(user) => Err(PoolError::OtherItems {
            pool: pool.clone(),
            path: path.to_owned(),
            user: histories.id(user).to_owned(),
            items,
        }),
    }
}

fn first_items(catalog: &Catalog) -> impl Iterator<Item = ItemIndex> + use<> {
    (0..catalog.len().min(WARM_UP_ITEMS)).map(|item| item as ItemIndex)
}

fn context(catalog: &Catalog) -> Arc<Context> {
    let history = first_items(catalog).collect();
    Arc::new(Context { user: None, history, unknown: 0, exclude: vec![], allowed: None })
}

fn finish() -> Finish {
    Finish { k: WARM_UP_ITEMS, weights: Arc::default() }
}

#[cfg(test)]
mod tests;
