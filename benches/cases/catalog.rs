//! A catalog of a million items: writing, opening, look-ups by id and by index, walks down the trie; beside plain files
//! and hash maps over the same items.

use std::{collections::HashMap, fs, fs::File, hint::black_box, io::Write};

use anyhow::{Context, Result, ensure};
use recmesh_catalog::{Catalog, CatalogItem, write};

use super::random::Random;
use crate::measure::{Bench, Side};

const ITEMS: usize = 1_000_000;
const CODEBOOKS: [u32; 3] = [256; 3];
/// Look-ups of a run, all over the catalog.
const LOOKUPS: usize = 100_000;
/// What writing may take, and a look-up.
const WRITE_SECONDS: f64 = 3.0;
const LOOKUP_SECONDS: f64 = 1e-6;

pub fn run(bench: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, plain) = (folder.path().join("catalog.bin"), folder.path().join("plain.bin"));
    let items = items();
    write(&path, &CODEBOOKS, &items)?;
    let bytes = fs::read(&path)?;
    bench.compare(
        "catalog write",
        "catalog",
        vec![
            Side::new("plain file of as many bytes", || {
                let mut file = File::create(&plain)?;
                file.write_all(&bytes)?;
                Ok(file.sync_all()?)
            }),
            Side::new("write: trie, index, digest, sync", || {
                black_box(write(&path, &CODEBOOKS, &items)?);
                Ok(())
            })
            .within(WRITE_SECONDS),
        ],
    )?;
    bench.note(format!("{} items, {} MiB", items.len(), bytes.len() >> 20));
    bench.compare(
        "catalog open",
        "catalog",
        vec![
            Side::new("plain read of the file", || {
                black_box(fs::read(&path)?);
                Ok(())
            }),
            Side::new("open: map, digest, every bound", || {
                black_box(Catalog::open(&path)?.len());
                Ok(())
            }),
        ],
    )?;
    lookups(bench, &Catalog::open(&path)?, &items)
}

fn items() -> Vec<CatalogItem> {
    let mut random = Random(1);
    let item = |index: usize| CatalogItem {
        id: format!("B{:09}", index * 7919 % 1_000_000_007),
        title: Some(format!("An item with a title of common length, number {index}")),
        codes: CODEBOOKS.iter().map(|&size| random.below(size as usize) as u32).collect(),
        attributes: Vec::new(),
        popularity: (index % 1000) as u32,
    };
    (0..ITEMS).map(item).collect()
}

fn lookups(bench: &mut Bench, catalog: &Catalog, items: &[CatalogItem]) -> Result<()> {
    let asked: Vec<u32> = Random(2).order(ITEMS)[..LOOKUPS].to_vec();
    let by_id: HashMap<&str, u32> = items.iter().zip(0..).map(|(item, index)| (item.id.as_str(), index)).collect();
    let mut by_codes: HashMap<&[u32], Vec<u32>> = HashMap::new();
    for (item, index) in items.iter().zip(0..) {
        by_codes.entry(&item.codes).or_default().push(index);
    }
    let trie = catalog.trie();
    let walk = |codes: &[u32]| {
        let mut node = Some(0);
        for (depth, &code) in codes.iter().enumerate() {
            node = node.and_then(|node| trie.child(depth, node, code));
        }
        node.map_or(0, |leaf| trie.items(leaf).len())
    };
    for &at in &asked {
        let item = &items[at as usize];
        ensure!(catalog.find(&item.id) == Some(at) && catalog.id(at) == item.id, "look-ups of {} disagree", item.id);
        ensure!(walk(&item.codes) == by_codes[item.codes.as_slice()].len(), "walks to {} disagree", item.id);
    }
    // Each run must find everything, so that no look-up can be left out.
    let all = |found: usize| ensure_all(found, asked.len());
    bench.compare(
        "catalog find",
        "look-up",
        vec![
            Side::new("HashMap<&str, u32>", || {
                all(asked.iter().filter(|&&at| by_id.contains_key(items[at as usize].id.as_str())).count())
            })
            .pieces(LOOKUPS),
            Side::new("find", || {
                all(asked.iter().filter(|&&at| catalog.find(&items[at as usize].id).is_some()).count())
            })
            .pieces(LOOKUPS)
            .within(LOOKUP_SECONDS),
        ],
    )?;
    bench.compare(
        "catalog id",
        "look-up",
        vec![
            Side::new("Vec of items", || {
                all(asked.iter().filter(|&&at| black_box(items[at as usize].id.as_str()).len() == 10).count())
            })
            .pieces(LOOKUPS),
            Side::new("id", || all(asked.iter().filter(|&&at| black_box(catalog.id(at)).len() == 10).count()))
                .pieces(LOOKUPS)
                .within(LOOKUP_SECONDS),
        ],
    )?;
    bench.compare(
        "catalog trie walk",
        "3 levels",
        vec![
            Side::new("HashMap<&[u32], Vec<u32>>", || {
                all(asked.iter().filter(|&&at| by_codes.contains_key(items[at as usize].codes.as_slice())).count())
            })
            .pieces(LOOKUPS),
            Side::new("trie", || {
                all(asked.iter().filter(|&&at| black_box(walk(&items[at as usize].codes)) > 0).count())
            })
            .pieces(LOOKUPS)
            .within(LOOKUP_SECONDS),
        ],
    )
}

fn ensure_all(found: usize, asked: usize) -> Result<()> {
    (found == asked).then_some(()).context("a look-up found nothing")
}
