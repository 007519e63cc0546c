//! Our side of a comparison with a program that is not ours.
//!
//! In: what to run, a folder, lines on standard input. Out: first the folder holds the model's weights and the batch, so
//! that the peer computes on the same ones, and `ready` is printed; then one piece of work a line, each answered with its
//! seconds; at the end one line of JSON with what came out and the most memory held. The other program decides when each
//! side works, so that both take turns. Two threads.

mod beam;
mod decoder;
mod product;
mod scan;

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use recmesh_contract::config::{
    AdamW, Checkpoint, EarlyStopping, NoParams, Optimizer, Precision, Quantization, QuantizationFormat,
    SasRec as Config, Schedule, SoftmaxLoss, TrainingParams,
};
use recmesh_contract::{Candidate, ItemIndex, Progress, Query, Recommend, Reporter, Threads, Ties};
use recmesh_learning::{Run, train};
use recmesh_models::quant::{Quantisable, quantised};
use recmesh_models::retrieval::{SasRec, SequenceExample};
use serde_json::{Value, json};

use super::random::Random;

const ITEMS: usize = 12_000;
const SEQUENCES: usize = 128;
const LENGTH: usize = 50;
const THREADS: usize = 2;
const K: usize = 10;
/// Requests of a decoder's round.
const REQUESTS: usize = 16;

/// Engines that answer a round, and the threads of each.
#[derive(Clone, Copy)]
pub struct Crew {
    engines: usize,
    threads: usize,
}

/// One engine whose threads share every batch.
const TOGETHER: Crew = Crew { engines: 1, threads: THREADS };
/// Engines of one thread, each with its part of the requests.
const APART: Crew = Crew { engines: THREADS, threads: 1 };
/// One thread.
const ALONE: Crew = Crew { engines: 1, threads: 1 };

/// Runs the side named `what` until it has answered `count` lines.
///
/// `number` is a share of dropout for a step, the width of the folder's vectors for a scan (0: random ones), the spread
/// of logits for a beam step, and the width of the beam for a decoder.
///
/// # Errors
/// When there is no such side, or it fails.
pub fn run(what: &str, folder: &Path, count: usize, number: f64) -> Result<()> {
    match what {
        "step" => steps(folder, count, number, Precision::F32),
        "step-bf16" => steps(folder, count, number, Precision::Bf16),
        "product-1" => product::run(folder, count, 1),
        "product-2" => product::run(folder, count, 2),
        "inference" => inference(folder, count, APART, Numbers::Floats),
        "inference-int8" => inference(folder, count, APART, Numbers::Bytes),
        "inference-together" => inference(folder, count, TOGETHER, Numbers::Floats),
        "scan" => scan::run(folder, count, number as usize, false),
        "scan-int8" => scan::run(folder, count, number as usize, true),
        "beam" => beam::run(folder, count, number as f32),
        "decode" => decoder::run(folder, count, number as u32, REQUESTS, (APART, Numbers::Floats)),
        "decode-int8" => decoder::run(folder, count, number as u32, REQUESTS, (APART, Numbers::Bytes)),
        "decode-together" => decoder::run(folder, count, number as u32, REQUESTS, (TOGETHER, Numbers::Floats)),
        "decode-one" => decoder::run(folder, count, number as u32, 1, (TOGETHER, Numbers::Floats)),
        "decode-one-int8" => decoder::run(folder, count, number as u32, 1, (TOGETHER, Numbers::Bytes)),
        "decode-one-thread" => decoder::run(folder, count, number as u32, 1, (ALONE, Numbers::Floats)),
        _ => bail!(
            "no side is named {what}; there are step, step-bf16, product-1, product-2, inference, inference-int8, \
             inference-together, scan, scan-int8, beam, decode, decode-int8, decode-together, decode-one, decode-one-int8 \
             and decode-one-thread"
        ),
    }
}

/// What linear layers are computed with.
#[derive(Clone, Copy)]
enum Numbers {
    Floats,
    /// Signed bytes.
    Bytes,
}

impl Numbers {
    /// The model as it serves; its folder keeps the weights that it was given.
    fn of<M: Quantisable>(self, model: M) -> M {
        match self {
            Self::Floats => model,
            Self::Bytes => {
                quantised(&model, &Quantization { format: QuantizationFormat::Int8, ..Quantization::default() })
            }
        }
    }
}

/// Takes one line, or says that there is no more; works; tells the seconds.
fn answer_lines(count: usize, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..count {
        wait()?;
        let start = Instant::now();
        work()?;
        told(start)?;
    }
    Ok(())
}

/// Prints the outcome with the most memory that this process ever held.
fn finish(mut outcome: Value) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    outcome["peakBytes"] = peak.map(|kilobytes: u64| kilobytes * 1024).into();
    tell(&outcome.to_string())
}

fn tell(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn told(start: Instant) -> Result<()> {
    tell(&start.elapsed().as_secs_f64().to_string())
}

fn wait() -> Result<()> {
    let read = io::stdin().lock().read_line(&mut String::new())?;
    ensure!(read > 0, "the other program went away");
    Ok(())
}

/// The model, and sequences of equal length with one item more than the model reads; written into the folder.
fn written(folder: &Path, dropout: f64) -> Result<(SasRec, Vec<SequenceExample>)> {
    let loss = SoftmaxLoss::Full(NoParams {});
    let config = Config { dim: 64, blocks: 2, heads: 2, ffn: 4, max_length: LENGTH as u32, dropout, loss };
    let model = SasRec::new(&config, ITEMS, 4)?;
    let mut random = Random(5);
    let sequence = |_| SequenceExample { items: (0..=LENGTH).map(|_| random.below(ITEMS) as u32).collect() };
    let examples: Vec<SequenceExample> = (0..SEQUENCES).map(sequence).collect();
    model.save(folder)?;
    let items: Vec<&[u32]> = examples.iter().map(|example| &example.items[..]).collect();
    fs::write(folder.join("batch.json"), serde_json::to_vec(&items)?).context("writing the batch")?;
    Ok((model, examples))
}

/// Tells how long each step took and waits for the next line, from within the training loop.
struct Turns {
    start: Mutex<Instant>,
}

impl Reporter for Turns {
    fn progress(&self, progress: Progress) {
        let Ok(mut start) = self.start.lock() else { return };
        // When the other program is gone, the rest is done without a break.
        let _ = told(*start);
        if progress.done < progress.total {
            let _ = wait();
        }
        *start = Instant::now();
    }
}

/// Training steps by the loop that training uses: gradients on two threads, their norm, clipping, AdamW.
fn steps(folder: &Path, count: usize, dropout: f64, precision: Precision) -> Result<()> {
    let (mut model, examples) = written(folder, dropout)?;
    let params = TrainingParams {
        optimizer: Optimizer::AdamW(AdamW::default()),
        schedule: Schedule::default(),
        epochs: count as u32,
        batch_size: SEQUENCES as u32,
        clip_norm: 1.0,
        precision,
        early_stopping: EarlyStopping { every: u32::MAX, ..EarlyStopping::default() },
        checkpoint: Checkpoint::default(),
        seed: 1,
    };
    tell("ready")?;
    wait()?;
    let turns = Turns { start: Mutex::new(Instant::now()) };
    let run = Run { checkpoints: None, threads: THREADS, reporter: &turns, stop: None };
    let outcome = train(&mut model, &examples, &params, run, &mut |_| Ok::<f64, io::Error>(0.0))?;
    let losses: Vec<f64> = outcome.history.iter().map(|epoch| epoch.loss).collect();
    finish(json!({ "losses": losses }))
}

/// The ten best of all items for 128 users.
fn inference(folder: &Path, count: usize, crew: Crew, numbers: Numbers) -> Result<()> {
    let (model, examples) = written(folder, 0.0)?;
    let histories = examples.iter().map(|example| &example.items[1..]);
    answer(&*numbers.of(model).recommender(), &queries(histories, K), count, crew)
}

/// Asks for the `k` best after each history.
fn queries<'a>(histories: impl Iterator<Item = &'a [ItemIndex]>, k: usize) -> Vec<Query<'a>> {
    histories.map(|history| Query { history, exclude: &[], allowed: None, k, ties: Ties::ByIndex }).collect()
}

/// Rounds over all queries. Engines are threads of their own, as a pool's are, each with a fork of the recommender and its
/// share of the queries.
fn answer(model: &dyn Recommend, queries: &[Query<'_>], count: usize, crew: Crew) -> Result<()> {
    let part = queries.len().div_ceil(crew.engines);
    let mut forks: Vec<Box<dyn Recommend>> = queries.chunks(part).map(|_| model.fork()).collect();
    if crew.threads > 1 {
        let threads = Threads { count: crew.threads, cores: Vec::new() };
        ensure!(
            forks.iter_mut().all(|fork| fork.set_threads(&threads) == crew.threads),
            "a thread could not be started"
        );
    }
    let mut answers: Vec<Vec<Vec<Candidate>>> = vec![Vec::new(); forks.len()];
    std::thread::scope(|scope| {
        let (done, results) = mpsc::channel();
        let engine = |(at, (mut fork, queries)): (usize, (Box<dyn Recommend>, _))| {
            let (begin, rounds) = mpsc::channel::<()>();
            let done = done.clone();
            scope.spawn(move || {
                for () in rounds {
                    let found = fork.recommend(queries);
                    if done.send((at, found)).is_err() {
                        break;
                    }
                }
            });
            begin
        };
        let engines: Vec<_> = forks.into_iter().zip(queries.chunks(part)).enumerate().map(engine).collect();
        tell("ready")?;
        answer_lines(count, || {
            engines.iter().try_for_each(|engine| engine.send(())).context("an engine went away")?;
            for _ in &engines {
                let (at, found) = results.recv().context("an engine went away")?;
                answers[at] = found.context("a recommender failed")?;
            }
            Ok(())
        })
    })?;
    let best = |of: fn(&Candidate) -> Value| -> Vec<Vec<Value>> {
        answers.iter().flatten().map(|answer| answer.iter().map(of).collect()).collect()
    };
    finish(json!({ "items": best(|found| found.item.into()), "scores": best(|found| found.score.into()) }))
}

/// Writes numbers as plain f32.
fn write_numbers(path: &Path, numbers: &[f32]) -> Result<()> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
