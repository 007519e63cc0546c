//! The cases: what is timed against what. Each file is one room's or one seam's.
//!
//! Every case checks that its sides agree before it times them, and draws its input from a fixed seed.

mod attention;
pub mod beside;
mod catalog;
mod decode;
mod optimizer;
mod quantised;
mod random;
mod reading;
mod search;
mod service;
mod softmax;
mod team;
mod training;

use anyhow::Result;

use crate::measure::Bench;

type Case = fn(&mut Bench) -> Result<()>;

/// Names are prefixes of the cases that a function runs.
const CASES: [(&str, Case); 11] = [
    ("catalog", catalog::run),
    ("search", search::run),
    ("training", training::run),
    ("softmax", softmax::run),
    ("decode", decode::run),
    ("attention", attention::run),
    ("quantised", quantised::run),
    ("optimizer", optimizer::run),
    ("team", team::run),
    ("reading", reading::run),
    ("service", service::run),
];

/// Runs every case that is wanted.
pub fn all(bench: &mut Bench) -> Result<()> {
    for (name, run) in CASES {
        if bench.wants(name) {
            run(bench)?;
        }
    }
    Ok(())
}

/// The names that a filter can be part of.
pub fn names() -> String {
    CASES.map(|(name, _)| name).join(", ")
}
