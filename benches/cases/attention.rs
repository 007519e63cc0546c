//! Attention over ragged spans beside plain loops: short causal rows as in training, and many beams over one context.

use std::hint::black_box;

use anyhow::{Result, ensure};
use recmesh_kernels::{Attention, Params, Span, Tape, Workspace};

use super::random::Random;
use crate::measure::{Bench, Side};

const HEADS: usize = 4;
const WIDTH: usize = 16;
const DIM: usize = HEADS * WIDTH;

/// Queries, keys, values `[rows, heads · width]` and who sees whom.
struct Problem {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    spans: Vec<Span>,
}

pub fn run(bench: &mut Bench) -> Result<()> {
    compare(bench, "attention, 16 causal rows of 50", &causal(16, 50))?;
    compare(bench, "attention, 128 beams over 50", &shared(128, 50))?;
    compare(bench, "attention, 512 beams over 400", &shared(512, 400))
}

fn causal(sequences: u32, length: u32) -> Problem {
    let row = |sequence: u32, at: u32| Span { start: sequence * length, end: sequence * length + at + 1 };
    let spans = (0..sequences).flat_map(|sequence| (0..length).map(move |at| row(sequence, at))).collect();
    problem(spans, (sequences * length) as usize)
}

fn shared(queries: usize, keys: u32) -> Problem {
    problem(vec![Span { start: 0, end: keys }; queries], keys as usize)
}

fn problem(spans: Vec<Span>, keys: usize) -> Problem {
    let mut random = Random(11);
    let q = random.numbers(spans.len() * DIM);
    Problem { q, k: random.numbers(keys * DIM), v: random.numbers(keys * DIM), spans }
}

fn compare(bench: &mut Bench, case: &str, problem: &Problem) -> Result<()> {
    let params = Params::default();
    let mut workspace = Workspace::default();
    let mut fused = || {
        let Problem { q, k, v, spans } = problem;
        let mut tape = Tape::serve(&params, &mut workspace);
        let [q, k, v] = [q, k, v].map(|values| tape.constant(values.len() / DIM, DIM, values));
        let out = tape.attention(q, k, v, Attention { heads: HEADS, groups: HEADS, spans, bias: None });
        tape.value(out).to_vec()
    };
    let plain = naive(problem);
    let furthest = plain.iter().zip(fused()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    ensure!(furthest < 1e-4, "attentions differ by {furthest}");
    bench.compare(
        case,
        "pass",
        vec![
            Side::new("plain loops", || {
                black_box(naive(problem));
                Ok(())
            }),
            Side::new("Tape::attention, inputs copied", || {
                black_box(fused());
                Ok(())
            }),
        ],
    )
}

fn naive(problem: &Problem) -> Vec<f32> {
    let Problem { q, k, v, spans } = problem;
    let mut out = vec![0.0; q.len()];
    let mut scores = Vec::new();
    for (row, span) in spans.iter().enumerate() {
        for head in 0..HEADS {
            let at = |row: usize| row * DIM + head * WIDTH..row * DIM + (head + 1) * WIDTH;
            scores.clear();
            for key in span.start as usize..span.end as usize {
                let product: f32 = q[at(row)].iter().zip(&k[at(key)]).map(|(a, b)| a * b).sum();
                scores.push(product / (WIDTH as f32).sqrt());
            }
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|score| *score = (*score - max).exp());
            let sum: f32 = scores.iter().sum();
            for (key, score) in (span.start as usize..).zip(&scores) {
                for (out, value) in out[at(row)].iter_mut().zip(&v[at(key)]) {
                    *out += score / sum * value;
                }
            }
        }
    }
    out
}
