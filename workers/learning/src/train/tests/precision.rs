//! Training in bf16 beside training in f32, on walks with a planted rule and without one.

use recmesh_contract::config::{NoParams, Precision, SasRec as Config, SoftmaxLoss};
use recmesh_contract::{Query, Ties};
use recmesh_models::retrieval::{SasRec, SequenceExample};

use super::*;

const CHAIN: u32 = 60;
const USERS: u32 = 400;
const STEPS: u32 = 8;

/// A number below `end`.
fn draw(seed: u64, user: u32, step: u32, end: u32) -> u32 {
    let mut hash = Sha256::new();
    hash.update([seed, u64::from(user), u64::from(step)].map(u64::to_le_bytes).concat());
    let digest = hash.finalize();
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]) % end
}

/// Item `i` is followed by `7i + 3` four times of five; where there is no rule, never but by chance.
fn walks(seed: u64, rule: bool) -> Vec<Vec<u32>> {
    let next = |user, step, here: u32| {
        if rule && draw(seed + 1, user, step, 5) > 0 { (here * 7 + 3) % CHAIN } else { draw(seed, user, step, CHAIN) }
    };
    let walk = |user| {
        let mut walk = vec![draw(seed, user, 0, CHAIN)];
        (1..=STEPS).for_each(|step| walk.push(next(user, step, walk[walk.len() - 1])));
        walk
    };
    (0..USERS).map(walk).collect()
}

/// The mean of `1 / log₂(1 + rank)` of each walk's last item within the best ten.
fn ndcg(model: &SasRec, walks: &[Vec<u32>]) -> f64 {
    let queries: Vec<Query<'_>> = walks
        .iter()
        .map(|walk| Query { history: &walk[..walk.len() - 1], exclude: &[], allowed: None, k: 10, ties: Ties::ByIndex })
        .collect();
    let answers = model.recommender().recommend(&queries).unwrap();
    let gain = |(answer, walk): (&Vec<recmesh_contract::Candidate>, &Vec<u32>)| {
        let rank = answer.iter().position(|found| Some(&found.item) == walk.last());
        rank.map_or(0.0, |rank| 1.0 / (rank as f64 + 2.0).log2())
    };
    answers.iter().zip(walks).map(gain).sum::<f64>() / walks.len() as f64
}

struct Trained {
    model: SasRec,
    ndcg: f64,
    losses: Vec<f64>,
}

fn trained(precision: Precision, seed: u64, rule: bool, threads: usize) -> Trained {
    let loss = SoftmaxLoss::Full(NoParams {});
    let config = Config { dim: 32, blocks: 1, heads: 2, ffn: 2, max_length: STEPS, dropout: 0.1, loss };
    let mut model = SasRec::new(&config, CHAIN as usize, seed).unwrap();
    let walks = walks(9, rule);
    let examples: Vec<SequenceExample> =
        walks.iter().map(|walk| SequenceExample { items: walk[..walk.len() - 1].to_vec() }).collect();
    let optimizer = Declared::AdamW(AdamW { lr: 0.01, ..AdamW::default() });
    let params = TrainingParams { seed, precision, ..params(optimizer, 12) };
    // Each epoch is better than the one before, so the last one's weights are kept.
    let mut epoch = 0.0;
    let mut later = |_: &SasRec| {
        epoch += 1.0;
        Ok::<f64, Infallible>(epoch)
    };
    let outcome = train(&mut model, &examples, &params, silent(threads), &mut later).unwrap();
    let losses = outcome.history.iter().map(|epoch| epoch.loss).collect();
    let ndcg = ndcg(&model, &walks);
    Trained { model, ndcg, losses }
}

#[test]
fn bf16_reaches_what_f32_does_within_the_spread_of_seeds() {
    let of = |precision, rule| [1, 2, 3].map(|seed| trained(precision, seed, rule, 2));
    let (single, half) = (of(Precision::F32, true), of(Precision::Bf16, true));
    let mean = |runs: &[Trained; 3]| runs.iter().map(|run| run.ndcg).sum::<f64>() / 3.0;
    let spread = single.iter().map(|run| (run.ndcg - mean(&single)).abs()).fold(0.0, f64::max);
    assert!(mean(&single) > 0.6, "{}", mean(&single));
    assert!((mean(&half) - mean(&single)).abs() <= spread, "{} {} {spread}", mean(&half), mean(&single));
    for (single, half) in single.iter().zip(&half) {
        for (a, b) in single.losses.iter().zip(&half.losses) {
            assert!((a - b).abs() <= 0.01 * a, "{a} {b}");
        }
        assert_ne!(single.model.params(), half.model.params(), "nothing was rounded");
    }
    // Where there is nothing to learn, bf16 finds nothing either.
    let nothing = of(Precision::Bf16, false);
    assert!(mean(&nothing) < 0.4 * mean(&half), "{}", mean(&nothing));
}

#[test]
fn the_number_of_threads_changes_no_bit_in_bf16() {
    let one = trained(Precision::Bf16, 4, true, 1);
    for threads in [2, 5] {
        let other = trained(Precision::Bf16, 4, true, threads);
        assert!(other.model.params() == one.model.params() && other.losses == one.losses, "{threads}");
    }
}

#[test]
fn precision_is_f32_unless_declared_and_an_unknown_one_is_refused() {
    let read = |text: &str| serde_json::from_str::<TrainingParams>(text);
    let plain = read("{}").unwrap();
    assert_eq!(plain.precision, Precision::F32);
    // What was trained before there was a choice keeps its version.
    assert!(!serde_json::to_string(&plain).unwrap().contains("precision"));
    let half = read(r#"{"precision": "bf16"}"#).unwrap();
    assert_eq!(half.precision, Precision::Bf16);
    assert!(serde_json::to_string(&half).unwrap().contains(r#""precision":"bf16""#));
    let error = read(r#"{"precision": "fp8"}"#).unwrap_err().to_string();
    assert!(error.contains("fp8") && error.contains("bf16"), "{error}");
}
