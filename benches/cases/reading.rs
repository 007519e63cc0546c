//! Reading interactions from a CSV file: split, order and entities included, beside a loop that splits lines at commas
//! and numbers ids with hash maps.

use std::{
    collections::HashMap,
    fs::File,
    hint::black_box,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use recmesh_contract::Silent;
use recmesh_contract::config::DatasetParams;
use recmesh_data::prepare;
use serde_json::json;

use super::random::Random;
use crate::measure::{Bench, Side};

const ROWS: usize = 500_000;
const USERS: usize = 25_000;
const ITEMS: usize = 12_000;
const OURS: &str = "prepare: read, order, split";

pub fn run(bench: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rows.csv");
    let bytes = write(&path)?;
    let params: DatasetParams = serde_json::from_value(json!({"source": {"interactions": {
        "path": "rows.csv",
        "format": {"delimited": {}},
        "columns": {"user": "user", "item": "item", "time": "time"},
    }}}))?;
    let (_, summary) = prepare(&params, folder.path(), &Silent)?;
    let (plain, users, items) = naive(&path)?;
    let read = (summary.rows as usize, summary.users as usize, summary.items as usize);
    ensure!(read == (plain, users, items), "{read:?} and {:?} rows, users, items", (plain, users, items));
    bench.compare(
        "reading CSV",
        "row",
        vec![
            Side::new("split at commas, hash maps", || {
                black_box(naive(&path)?);
                Ok(())
            })
            .pieces(ROWS),
            Side::new(OURS, || {
                black_box(prepare(&params, folder.path(), &Silent)?);
                Ok(())
            })
            .pieces(ROWS),
        ],
    )?;
    let rate = 1.0 / bench.median(OURS);
    bench.note(format!("{ROWS} rows, {} MiB: {:.2} million rows a second", bytes >> 20, rate / 1e6));
    Ok(())
}

fn write(path: &Path) -> Result<u64> {
    let mut random = Random(14);
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "user,item,time,rating")?;
    for row in 0..ROWS {
        let (user, item) = (random.below(USERS), random.below(ITEMS));
        writeln!(out, "A{:013},B{item:09},{},{}.0", user * 6151, 1_400_000_000 + row * 97, 1 + row % 5)?;
    }
    out.flush()?;
    Ok(path.metadata()?.len())
}

/// Rows, users and items.
fn naive(path: &Path) -> Result<(usize, usize, usize)> {
    let (mut users, mut items) = (HashMap::<String, u32>::new(), HashMap::<String, u32>::new());
    let mut rows = Vec::new();
    for line in BufReader::new(File::open(path)?).lines().skip(1) {
        let line = line?;
        let mut cells = line.split(',');
        let mut cell = || cells.next().context("a row is short");
        let (user, item, time) = (cell()?, cell()?, cell()?.parse::<i64>()?);
        let next = users.len() as u32;
        let user = *users.entry(user.to_owned()).or_insert(next);
        let next = items.len() as u32;
        let item = *items.entry(item.to_owned()).or_insert(next);
        rows.push((user, item, time));
    }
    Ok((black_box(rows).len(), users.len(), items.len()))
}
