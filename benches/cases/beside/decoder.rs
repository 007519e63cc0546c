//! The lazy decoder's side: requests answered by beam search over a catalog of 18,000 items.
//!
//! In: a width of the beam, how many requests a round has. Out: in the folder the weights, the items' codes and the
//! histories; per round the seconds of all requests, at the end what was found. Engines share the requests, an engine's
//! threads the operations. Semantic IDs are all different, so that a leaf is an item.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use recmesh_catalog::{Catalog, CatalogItem, write};
use recmesh_contract::config::{CodeLoss, Decode, LazyDecoder as Config};
use recmesh_models::retrieval::LazyDecoder;
use serde_json::json;

use super::super::random::Random;
use super::{Crew, K, Numbers, answer, queries};

const ITEMS: usize = 18_000;
const CODES: usize = 256;
const LEVELS: usize = 3;
const HISTORY: usize = 50;

/// Rounds of `requests` requests at `beams` beams.
pub fn run(folder: &Path, count: usize, beams: u32, requests: usize, (crew, numbers): (Crew, Numbers)) -> Result<()> {
    let mut random = Random(10);
    let catalog = catalog(folder, &mut random)?;
    let histories: Vec<Vec<u32>> =
        (0..requests).map(|_| (0..HISTORY).map(|_| random.below(ITEMS) as u32).collect()).collect();
    let config = config(beams);
    let model = LazyDecoder::new(&config, Arc::clone(&catalog), 9)?;
    model.save(folder)?;
    // A query that asks for more gets a wider beam.
    let k = K.min(beams as usize);
    let codes: Vec<&[u32]> = (0..ITEMS as u32).map(|item| catalog.codes(item)).collect();
    let batch = json!({ "histories": histories, "codes": codes, "beams": beams, "k": k, "heads": config.heads,
        "layers": config.layers, "contextLayers": config.context_layers, "kvLayers": config.kv_layers });
    fs::write(folder.join("batch.json"), serde_json::to_vec(&batch)?).context("writing the requests")?;

    answer(&*numbers.of(model).recommender(), &queries(histories.iter().map(Vec::as_slice), k), count, crew)
}

fn catalog(folder: &Path, random: &mut Random) -> Result<Arc<Catalog>> {
    let mut taken = HashSet::new();
    while taken.len() < ITEMS {
        taken.insert([(); LEVELS].map(|()| random.below(CODES) as u32));
    }
    let mut paths: Vec<_> = taken.into_iter().collect();
    // A set has an order of its own in every run.
    paths.sort_unstable();
    let item = |(index, path): (usize, &[u32; LEVELS])| CatalogItem {
        id: format!("i{index}"),
        codes: path.to_vec(),
        ..CatalogItem::default()
    };
    let items: Vec<CatalogItem> = paths.iter().enumerate().map(item).collect();
    let path = folder.join("catalog.bin");
    write(&path, &[CODES as u32; LEVELS], &items)?;
    Ok(Arc::new(Catalog::open(&path)?))
}

fn config(beams: u32) -> Config {
    Config {
        d_model: 256,
        layers: 4,
        heads: 4,
        kv_groups: 4,
        kv_layers: 2,
        kv_split: 2,
        ffn: 4,
        context_length: HISTORY as u32,
        context_layers: 2,
        item_embedding: true,
        dropout: 0.0,
        loss: CodeLoss::Codebook,
        decode: Decode { beams, renormalise: false },
    }
}
