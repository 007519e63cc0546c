//! Times the rooms' building blocks, each beside a plain way of doing the same, and writes what it found.
//!
//! In: `cargo bench --bench micro -- [--rounds N] [--out FILE] [part of a case's name …]`. Out: a table on standard
//! output and, when all cases ran, `benches/results/micro.json` with date, hardware and code version. Uses what the
//! rooms make public and nothing else; computes on one thread. Never compares with a figure from another run.
//!
//! `-- --beside SIDE FOLDER COUNT NUMBER` does something else: it is our side of a comparison that `benches/peers` runs.

mod cases;
mod measure;
mod origin;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use measure::Bench;

/// Rounds of every comparison.
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let mut rounds = ROUNDS;
    let mut out = None;
    let mut filter = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--rounds" => rounds = words.next().context("--rounds needs a number")?.parse()?,
            "--beside" => {
                let rest: Vec<String> = words.collect();
                let [side, folder, count, number] = &rest[..] else {
                    bail!("--beside needs a side, a folder, how many rounds and the side's number");
                };
                return cases::beside::run(side, Path::new(folder), count.parse()?, number.parse()?);
            }
            "--out" => out = Some(PathBuf::from(words.next().context("--out needs a file")?)),
            flag if flag.starts_with('-') => bail!("unknown option {flag}; there are --rounds N and --out FILE"),
            _ => filter.push(word),
        }
    }
    // A part of the cases must not pass for all of them.
    let out = out.or_else(|| filter.is_empty().then(|| origin::root().join("benches/results/micro.json")));
    let mut bench = Bench::new(filter, rounds);
    say(&Bench::head());
    cases::all(&mut bench)?;
    if bench.is_empty() {
        bail!("no case has such a name; there are {}", cases::names());
    }
    if let Some(path) = out {
        let mut report = origin::report();
        report["rounds"] = rounds.into();
        report["rows"] = bench.json();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("writing {}", path.display()))?;
        say(&format!("written to {}", path.display()));
    }
    Ok(())
}

/// Prints a line. A closed pipe is the reader's wish.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
