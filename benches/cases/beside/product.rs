//! The product's side: two square matrices that are rounded to bf16, packed and multiplied within the time.
//!
//! In: the folder, to which both matrices go as plain f32. Out: per round its seconds; at the end the product in the folder,
//! and the most that as many threads can do with the instruction it uses.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use recmesh_kernels::{Level, bf16, share};
use serde_json::json;

use super::super::random::Random;
use super::{answer_lines, finish, tell, write_numbers};

/// Rows, columns and depth.
const SIZE: usize = 2048;
/// Rounds of the loop that finds the peak of the instruction, about a tenth of a second, and how often it is run.
const PEAK_ROUNDS: u64 = 20_000_000;
const PEAKS: usize = 9;

/// Rounds on so many threads.
pub fn run(folder: &Path, count: usize, threads: usize) -> Result<()> {
    let mut random = Random(7);
    let (a, b) = (random.numbers(SIZE * SIZE), random.numbers(SIZE * SIZE));
    write_numbers(&folder.join("a.f32"), &a)?;
    write_numbers(&folder.join("b.f32"), &b)?;
    let (level, mut out) = (Level::detect(), vec![0.0; SIZE * SIZE]);
    tell("ready")?;
    answer_lines(count, || {
        bf16::matmul(level, threads, &mut out, &a, &b, [SIZE; 3]);
        black_box(&out);
        Ok(())
    })?;
    write_numbers(&folder.join("ours.f32"), &out)?;
    let mut best: f64 = 0.0;
    let mut instruction = "";
    for _ in 0..PEAKS {
        let mut done = vec![None; threads];
        let start = Instant::now();
        share(threads, done.iter_mut().collect(), |done: &mut Option<_>| *done = bf16::peak(level, PEAK_ROUNDS));
        let seconds = start.elapsed().as_secs_f64();
        let operations: u64 = done.iter().flatten().map(|(_, operations)| operations).sum();
        instruction = done.iter().flatten().map(|&(name, _)| name).next().unwrap_or_default();
        best = best.max(operations as f64 / seconds);
    }
    finish(json!({ "size": SIZE, "instruction": instruction, "peakPerSecond": best }))
}
