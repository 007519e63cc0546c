//! The beam step's side: 512 beams, logits over 8,192 codes each, a catalog of a million items.
//!
//! In: how far logits lie apart. Out: in the folder the logits, the beams with their scores and the codes that go on
//! from every node; per round the seconds from logits to the next 512 beams, at the end those beams. One thread. What
//! comes before the step, a search's start and its first level, is not timed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use recmesh_catalog::{Catalog, CatalogItem, write};
use recmesh_contract::{Query, Ties};
use recmesh_models::decoding::{Ancestry, Options, Paths, Search};
use serde_json::json;

use super::super::random::Random;
use super::{finish, tell, told, wait};

const ITEMS: usize = 1_000_000;
const CODES: usize = 8192;
const LEVELS: usize = 3;
const BEAMS: usize = 512;

/// Steps from the same beams over the same logits, uniform in `±spread`.
pub fn run(folder: &Path, count: usize, spread: f32) -> Result<()> {
    let mut random = Random(12);
    let catalog = catalog(folder, &mut random)?;
    let trie = catalog.trie();
    let ancestry = Ancestry::new(&trie);
    let logits = |random: &mut Random, rows: usize| -> Vec<f32> {
        random.numbers(rows * CODES).iter().map(|number| number * spread).collect()
    };
    let (first, logits) = (logits(&mut random, 1), logits(&mut random, BEAMS));
    let query = Query { history: &[], exclude: &[], allowed: None, k: 10, ties: Ties::ByIndex };
    let options = Options { beams: BEAMS, renormalise: false };
    let paths = Paths::new(&catalog, &ancestry, None, &query);
    let mut search = Search::default();
    let begin = |search: &mut Search| -> Result<()> {
        search.begin(&paths, options);
        search.score(&paths, 0, &first);
        search.advance(&paths).context("the first level")
    };

    begin(&mut search)?;
    let beams: Vec<_> = search.beams().iter().map(|beam| (beam.node, beam.score)).collect();
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let offsets: Vec<u32> = (0..trie.size(1)).map(|node| trie.children(1, node).start).chain([trie.size(2)]).collect();
    let bytes: Vec<u8> = logits.iter().flat_map(|number| number.to_le_bytes()).collect();
    for (name, bytes) in [("logits.f32", bytes), ("offsets.u32", words(&offsets)), ("codes.u32", words(trie.codes(2)))]
    {
        fs::write(folder.join(name), bytes).with_context(|| format!("writing {name}"))?;
    }
    fs::write(folder.join("batch.json"), serde_json::to_vec(&json!({ "beams": beams }))?)
        .context("writing the beams")?;

    let mut found = Vec::new();
    tell("ready")?;
    for _ in 0..count {
        wait()?;
        begin(&mut search)?;
        let start = Instant::now();
        for (beam, logits) in logits.chunks_exact(CODES).enumerate() {
            if search.hopeless(beam) {
                break;
            }
            search.score(&paths, beam, logits);
        }
        search.advance(&paths).context("a step")?;
        told(start)?;
        found = search.beams().iter().map(|beam| (beam.parent, search.code(&trie, beam), beam.score)).collect();
    }
    finish(json!({ "beams": found }))
}

fn catalog(folder: &Path, random: &mut Random) -> Result<Catalog> {
    let item = |index: usize| CatalogItem {
        id: format!("i{index}"),
        codes: (0..LEVELS).map(|_| random.below(CODES) as u32).collect(),
        ..CatalogItem::default()
    };
    let items: Vec<CatalogItem> = (0..ITEMS).map(item).collect();
    let path = folder.join("catalog.bin");
    write(&path, &[CODES as u32; LEVELS], &items)?;
    Ok(Catalog::open(&path)?)
}
