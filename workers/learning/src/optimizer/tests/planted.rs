//! Where Muon must win, and where it must not: a linear associative memory (arXiv 2602.05725).
//!
//! A matrix maps item vectors to item vectors by softmax over inner products; each item occurs with a frequency. With
//! Zipf frequencies the gradient's strong directions are those of the frequent items, and the rest waits; orthogonal
//! steps go all directions at one pace.

use recmesh_kernels::{Tape, Workspace};

use super::*;

const ITEMS: usize = 64;
const WIDTH: usize = 32;
const LONGEST: usize = 400;

struct Memory {
    params: Params,
    map: ParamId,
    answers: ParamId,
    questions: Vec<f32>,
    frequencies: Vec<f32>,
}

fn memory(exponent: f32, seed: u64) -> Memory {
    let mut params = Params::default();
    let map = params.add("map", Role::Matrix, WIDTH, WIDTH, Init::Zeros, seed);
    let scale = (WIDTH as f32).sqrt().recip();
    let answers = params.add("answers", Role::Embedding, ITEMS, WIDTH, Init::Normal(scale), seed);
    let questions = noise(ITEMS, WIDTH, seed + 1000).iter().map(|v| v * scale).collect();
    let weights: Vec<f32> = (1..=ITEMS).map(|rank| (rank as f32).powf(-exponent)).collect();
    let total: f32 = weights.iter().sum();
    Memory { params, map, answers, questions, frequencies: weights.iter().map(|w| w / total).collect() }
}

/// Steps until nine tenths of the rarer half of the items are answered rightly.
fn steps_to_tail_recall(memory: &Memory, config: &config::Optimizer) -> usize {
    let mut params = memory.params.clone();
    let mut optimizer = Optimizer::new(config, &params);
    let mut grads = Grads::zeros(&params);
    let mut workspace = Workspace::default();
    let all: Vec<u32> = (0..ITEMS as u32).collect();
    for step in 1..=LONGEST {
        grads.clear();
        let mut tape = Tape::train(&params, &mut workspace, 0);
        let x = tape.constant(ITEMS, WIDTH, &memory.questions);
        let x = tape.linear(x, memory.map, None);
        let loss = tape.softmax_loss(x, memory.answers, 0..ITEMS, &all, Some(&memory.frequencies));
        tape.backward(&[(loss, 1.0)], &mut grads);
        // Only the map is learned.
        grads.get_mut(memory.answers).fill(0.0);
        optimizer.step(&mut params, &grads, StepScale { gradient: 1.0, rate: 1.0 }, 1);

        let mut tape = Tape::serve(&params, &mut workspace);
        let x = tape.constant(ITEMS, WIDTH, &memory.questions);
        let x = tape.linear(x, memory.map, None);
        let logits = tape.logits(x, memory.answers, 0..ITEMS);
        let logits = tape.value(logits);
        let right = (ITEMS / 2..ITEMS).filter(|&item| {
            let row = &logits[item * ITEMS..(item + 1) * ITEMS];
            row.iter().enumerate().all(|(other, &score)| other == item || score < row[item])
        });
        if right.count() * 10 >= ITEMS / 2 * 9 {
            return step;
        }
    }
    LONGEST + 1
}

/// Rates for both optimizers. The map starts at zero and its answers do not depend on its length, so large rates are
/// not wild here; the grid is wide enough that the best rate of each lies inside it.
const RATES: [f64; 6] = [0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// Fewest steps over the grid.
fn best(memory: &Memory, config: impl Fn(f64) -> config::Optimizer) -> usize {
    let steps = RATES.map(|lr| steps_to_tail_recall(memory, &config(lr)));
    let inside = steps[1..RATES.len() - 1].iter().min().copied().unwrap_or(0);
    assert!(
        inside <= steps[0] && inside <= steps[RATES.len() - 1],
        "the best rate is at an end of the grid: {steps:?}"
    );
    inside
}

/// Fewest steps of Muon and of AdamW, each at its own best rate.
fn contest(exponent: f32, seed: u64) -> (usize, usize) {
    let memory = memory(exponent, seed);
    let muon = best(&memory, |lr| config::Optimizer::Muon(Muon { lr, ..muon_defaults() }));
    let adamw = best(&memory, |lr| config::Optimizer::AdamW(AdamW { lr, ..AdamW::default() }));
    (muon, adamw)
}

#[test]
fn muon_learns_the_tail_of_zipf_sooner_than_adamw() {
    for seed in 0..3 {
        let (muon, adamw) = contest(1.0, seed);
        assert!(adamw <= LONGEST && muon * 10 <= adamw * 7, "seed {seed}: {muon} steps against {adamw}");
    }
}

#[test]
fn without_a_tail_there_is_nothing_to_win() {
    // All items equally frequent: both need two or three steps, and no optimizer can save many of those.
    for seed in 0..3 {
        let (muon, adamw) = contest(0.0, seed);
        assert!(adamw <= muon + 1, "seed {seed}: {muon} steps against {adamw}");
    }
}
