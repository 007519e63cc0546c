//! The Tokenizer job: item vectors, semantic IDs, the catalog.

use std::path::Path;

use recmesh_catalog::CatalogItem;
use recmesh_contract::{
    ArtifactId,
    config::{ItemVectors, RqKMeans, TokenizerAlgorithm, VectorFile},
    stays_below,
};
use recmesh_data::{DataError, Interactions};
use recmesh_models::tokenizer::{
    SemanticIds, Tokenizer, Vectors, atomic, collide, rq_kmeans,
    vectors::{ItemText, collaborative, content, from_file},
};

use crate::{
    JobError, dataset,
    run::{Bench, Made, open},
};

/// The catalog's file in a tokenizer's artifact.
pub const CATALOG: &str = "catalog.bin";

/// Fits a tokenizer and writes its catalog into `out`.
pub(crate) fn make(
    algorithm: &TokenizerAlgorithm,
    from: &ArtifactId,
    folder: &Path,
    model: Option<&ArtifactId>,
    out: &Path,
    bench: &Bench<'_>,
) -> Result<Made, JobError> {
    let data = dataset::interactions(from, "a tokenizer", bench)?;
    let popularity = popularity(&data);
    let (tokenizer, ids) = match algorithm {
        TokenizerAlgorithm::Atomic(_) => {
            let ids = atomic(data.items.len())?;
            (Tokenizer::atomic(&ids), ids)
        }
        TokenizerAlgorithm::RqKMeans(params) => {
            let vectors = vectors(params, &data, folder, model, bench)?;
            let fit = rq_kmeans::fit(&vectors, params, bench.threads, bench.reporter)?;
            let ids = collide(&fit.codes, &fit.quantizer.sizes(), &popularity, params.collision)?;
            (Tokenizer::rq_kmeans(fit, &ids), ids)
        }
    };
    tokenizer.save(out)?;
    recmesh_catalog::write(&out.join(CATALOG), &ids.codebooks, &items(&data, &ids, &popularity))?;
    Ok(Made { metrics: tokenizer.metrics(), message: None, quantization: None })
}

/// Digest of the files of a given matrix of item vectors.
pub(crate) fn file_digest(file: &VectorFile, folder: &Path) -> Result<String, JobError> {
    let folder = beside(folder);
    let mut digest = String::new();
    for path in std::iter::once(&file.path).chain(&file.ids) {
        if !stays_below(path) {
            return Err(DataError::Outside { path: path.clone() }.into());
        }
        digest.push_str(&recmesh_store::sha256_file(&folder.join(path))?.1);
    }
    Ok(digest)
}

/// The folder of the data set's files, where the caller may have given its main file instead.
fn beside(folder: &Path) -> &Path {
    folder.parent().filter(|_| folder.is_file()).unwrap_or(folder)
}

/// What the items are clustered by.
fn vectors(
    params: &RqKMeans,
    data: &Interactions,
    folder: &Path,
    model: Option<&ArtifactId>,
    bench: &Bench<'_>,
) -> Result<Vectors, JobError> {
    Ok(match &params.vectors {
        ItemVectors::Collaborative(how) => {
            let sequences: Vec<&[u32]> = (0..data.sequences.users()).map(|user| data.sequences.train(user)).collect();
            collaborative(&sequences, data.items.len(), how, params.seed, bench.threads)?
        }
        ItemVectors::Content(how) => content(&texts(data), how, params.seed, bench.threads)?,
        ItemVectors::File(file) => {
            let ids: Vec<&str> = (0..data.items.len()).map(|item| data.items.id(item)).collect();
            from_file(beside(folder), file, &ids)?
        }
        ItemVectors::Model(_) => {
            let id = model.ok_or_else(|| {
                JobError::Configuration("algorithm.rqKMeans.vectors.model: the job was given no model".to_owned())
            })?;
            let (rows, cols, data) = recmesh_models::retrieval::item_vectors(open(id, bench)?.path())?;
            Vectors { rows, cols, data }
        }
    })
}

/// What each item's words are.
fn texts(data: &Interactions) -> Vec<ItemText<'_>> {
    let text = |item| data.items.text(item).or_else(|| data.items.title(item)).unwrap_or_default();
    let attributes = |item| {
        let columns = data.items.attributes.iter();
        columns.flat_map(move |column| column.values_of(item).map(move |value| (column.name.as_str(), value))).collect()
    };
    (0..data.items.len()).map(|item| ItemText { attributes: attributes(item), text: text(item) }).collect()
}

/// How often each item occurs in the train part.
fn popularity(data: &Interactions) -> Vec<u32> {
    let mut counts = vec![0; data.items.len()];
    for user in 0..data.sequences.users() {
        for &item in data.sequences.train(user) {
            counts[item as usize] += 1;
        }
    }
    counts
}

/// The catalog's items.
fn items(data: &Interactions, ids: &SemanticIds, popularity: &[u32]) -> Vec<CatalogItem> {
    let item = |i: usize| CatalogItem {
        id: data.items.id(i).to_owned(),
        title: data.items.title(i).map(str::to_owned),
        codes: ids.of(i).to_vec(),
        attributes: (data.items.attributes.iter())
            .map(|column| (column.name.clone(), column.values_of(i).map(str::to_owned).collect()))
            .collect(),
        popularity: popularity[i],
    };
    (0..data.items.len()).map(item).collect()
}
