//! Beam search of the lazy decoder over a catalog of 18,000 items, one request at a time and several at once; what a
//! request costs at each width of the beam, and what the context of 50 items adds. One thread, fresh weights.

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, ensure};
use recmesh_catalog::{Catalog, CatalogItem, write};
use recmesh_contract::config::{CodeLoss, Decode, LazyDecoder as Config};
use recmesh_contract::{Candidate, Query, Recommend, Ties};
use recmesh_models::retrieval::{LazyDecoder, lazy_decoder::Server};

use super::random::Random;
use crate::measure::{Bench, Side};

const ITEMS: usize = 18_000;
const CODEBOOKS: [u32; 3] = [256; 3];
const HISTORY: usize = 50;
const WIDTHS: [u32; 4] = [1, 32, 128, 512];
const AT_ONCE: usize = 16;

pub fn run(bench: &mut Bench) -> Result<()> {
    let catalog = catalog()?;
    let mut random = Random(8);
    let histories: Vec<Vec<u32>> =
        (0..AT_ONCE).map(|_| (0..HISTORY).map(|_| random.below(ITEMS) as u32).collect()).collect();
    let server =
        |beams: u32| -> Result<Server> { Ok(LazyDecoder::new(&config(beams), Arc::clone(&catalog), 9)?.server()) };
    let mut servers = WIDTHS.into_iter().map(server).collect::<Result<Vec<_>>>()?;

    let sides = servers.iter_mut().zip(WIDTHS).map(|(server, beams)| {
        let queries = [query(&histories[0], beams)];
        Side::new(format!("beam {beams}"), move || answer(server, &queries))
    });
    bench.compare("decode by beam", "request", sides.collect())?;

    let [one, _, wide, _] = &mut servers[..] else { return Ok(()) };
    let mut narrow = server(WIDTHS[2])?;
    let (short, long) = ([query(&histories[0][..1], WIDTHS[2])], [query(&histories[0], WIDTHS[2])]);
    let sides = vec![
        Side::new("history of 1 item, beam 128", || answer(&mut narrow, &short)),
        Side::new("history of 50 items, beam 128", || answer(wide, &long)),
    ];
    bench.compare("decode by history", "request", sides)?;
    let before = wide.counters().contexts;
    answer(wide, &long)?;
    let contexts = wide.counters().contexts - before;
    ensure!(contexts == 1, "{contexts} contexts for one request");
    bench.note("1 context computed for the request's 128 beams and 3 levels");

    let batch: Vec<Query<'_>> = histories.iter().map(|history| query(history, 32)).collect();
    let (mut alone, mut together) = (server(32)?, server(32)?);
    ensure!(one.counters().illegal == 0, "a beam named no item");
    for (alone, together) in singly(&mut alone, &batch)?.iter().zip(&together.recommend(&batch)?) {
        // Products of other shapes round otherwise.
        let near = alone.iter().zip(together).all(|(a, b)| (a.score - b.score).abs() < 1e-3);
        ensure!(alone.len() == together.len() && near, "a request's scores depend on its batch");
    }
    let sides = vec![
        Side::new("one request after another", || {
            black_box(singly(&mut alone, &batch)?);
            Ok(())
        })
        .pieces(AT_ONCE),
        Side::new(format!("{AT_ONCE} requests at once"), || answer(&mut together, &batch)).pieces(AT_ONCE),
    ];
    bench.compare("decode by batch, beam 32", "request", sides)
}

fn catalog() -> Result<Arc<Catalog>> {
    let mut random = Random(10);
    let item = |index: usize| CatalogItem {
        id: format!("i{index}"),
        codes: CODEBOOKS.iter().map(|&size| random.below(size as usize) as u32).collect(),
        ..CatalogItem::default()
    };
    let items: Vec<CatalogItem> = (0..ITEMS).map(item).collect();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("catalog.bin");
    write(&path, &CODEBOOKS, &items)?;
    // The map outlives the file's name.
    Ok(Arc::new(Catalog::open(&path)?))
}

fn config(beams: u32) -> Config {
    let decode = Decode { beams, renormalise: false };
    let (d_model, layers, heads, kv_groups, kv_layers, kv_split, ffn) = (64, 2, 4, 4, 2, 2, 4);
    let (context_length, context_layers, item_embedding, dropout) = (HISTORY as u32, 2, true, 0.0);
    Config {
        d_model,
        layers,
        heads,
        kv_groups,
        kv_layers,
        kv_split,
        ffn,
        context_length,
        context_layers,
        item_embedding,
        dropout,
        loss: CodeLoss::Codebook,
        decode,
    }
}

/// As many items as a narrow beam can hold, so that the request does not widen it.
fn query(history: &[u32], beams: u32) -> Query<'_> {
    Query { history, exclude: &[], allowed: None, k: beams.min(10) as usize, ties: Ties::ByIndex }
}

fn answer(server: &mut Server, queries: &[Query<'_>]) -> Result<()> {
    let answers = server.recommend(queries)?;
    ensure!(answers.iter().all(|answer| !answer.is_empty()), "a request got no items");
    black_box(answers);
    Ok(())
}

fn singly(server: &mut Server, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>> {
    let mut answers = Vec::new();
    for query in queries {
        answers.append(&mut server.recommend(std::slice::from_ref(query))?);
    }
    Ok(answers)
}
