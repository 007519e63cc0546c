//! How many of the best items a search in E4M3, one in bf16 and one without rounding have in common, and by how much their
//! scores differ: over weights cut out of a trained table, which are structured and anisotropic where drawn ones are not.
//!
//! In: an engine. Out: figures by pair. The search without rounding is the naive one on the CPU, in f64. No verdict: how
//! much a quantised model may lose is for its gates to say.

use std::collections::HashMap;
use std::sync::Arc;

use recmesh_kernels::cuda::{Blas, CudaError, Decoder, DecoderWeights, Engine, Multiplier, Precision, Request};
use recmesh_kernels::twins::cases;
use serde_json::{Value, json};

use crate::reference::{self, Asked, Matrix, Model, Rounding};
use crate::searches::{leaves, model, shape, table, trie};

/// Its name in reports and JSON.
pub const OPERATION: &str = "overlap";

/// Requests, tokens of each, and how many of the best are compared.
const REQUESTS: usize = 12;
const TOKENS: usize = 40;
const BEST: usize = 10;
/// By how much heads are larger than those of drawn weights: a trained decoder is surer of its codes.
const SURE: f32 = 2.0;

/// The trained table read on and on, its numbers of mean square one.
struct Trained {
    table: Vec<f32>,
    at: usize,
}

impl Trained {
    fn new() -> Self {
        let mut table = cases::trained();
        let root = (table.iter().map(|x| x * x).sum::<f32>() / table.len() as f32).sqrt();
        table.iter_mut().for_each(|x| *x /= root);
        Self { table, at: 0 }
    }

    /// The next so many, begun at another row every time.
    fn next(&mut self, count: usize) -> Vec<f32> {
        self.at = (self.at + 37 * cases::TRAINED.1) % self.table.len();
        self.table.iter().cycle().skip(self.at).take(count).copied().collect()
    }
}

/// What a search found: leaves with scores, best first.
type Answer = Vec<(u32, f64)>;

/// Searches all three ways and compares them.
pub fn run(engine: &Engine) -> Value {
    let found = match Blas::open(engine) {
        Ok(Some(blas)) => compare(engine, blas),
        Ok(None) => Err(CudaError::new(OPERATION, "it needs cuBLASLt, which is not here")),
        Err(error) => Err(error),
    };
    let found = found.unwrap_or_else(|error| json!({"notMeasured": error.to_string()}));
    println!("{OPERATION}: {found}");
    found
}

fn compare(engine: &Engine, blas: Blas) -> Result<Value, CudaError> {
    let shapes = [Precision::E4m3, Precision::Bf16].map(|precision| shape(precision, true));
    let blas = blas.with_table(table(&shapes[0], Multiplier::Ours));
    let [e4m3, mut bf16] = shapes.map(|shape| sure(&shape));
    let mut drawn = Trained::new();
    let asked: Vec<Asked> = (0..REQUESTS).map(|_| asked(&mut drawn, &e4m3)).collect();
    let quantised = on_device(engine, &blas, &e4m3, &asked)?;
    let wide = on_device(engine, &blas, &bf16, &asked)?;
    bf16.rounding = Rounding::Nowhere;
    let exact: Vec<Answer> = asked.iter().map(|asked| on_host(&bf16, asked)).collect();
    Ok(json!({
        "requests": REQUESTS,
        "beams": bf16.shape.beams,
        "leaves": leaves(&bf16.shape),
        "best": BEST,
        "e4m3AgainstCpu": pair(&quantised, &exact),
        "bf16AgainstCpu": pair(&wide, &exact),
        "e4m3AgainstBf16": pair(&quantised, &wide),
    }))
}

/// A decoder whose matrices are cut out of the trained table; gains are one.
fn sure(shape: &recmesh_kernels::cuda::Shape) -> Model {
    let mut trained = Trained::new();
    let mut made = model(shape, |count| trained.next(count));
    made.gains.values_mut().chain(&mut made.head_gains).for_each(|gain| gain.fill(1.0));
    made.heads.iter_mut().flat_map(|head| &mut head.values).for_each(|x| *x *= SURE);
    made
}

fn asked(trained: &mut Trained, model: &Model) -> Asked {
    let cols = model.shape.key_width();
    let keys = Matrix { cols, values: trained.next(TOKENS * cols) };
    Asked { context: vec![(keys.clone(), keys)], alive: None, labels: (0..leaves(&model.shape)).collect() }
}

fn on_host(model: &Model, asked: &Asked) -> Answer {
    let (_, best) = reference::search(model, &trie(&model.shape).levels, asked);
    best.iter().map(|leaf| (leaf.leaf as u32, leaf.score)).collect()
}

fn on_device(engine: &Engine, blas: &Blas, model: &Model, asked: &[Asked]) -> Result<Vec<Answer>, CudaError> {
    let weights = Arc::new(DecoderWeights::new(engine, &model.shape, &trie(&model.shape), &mut &*model)?);
    let mut decoder = Decoder::new(engine, blas, weights)?;
    let mut answers = Vec::new();
    for asked in asked {
        let context: Vec<(&[f32], &[f32])> =
            asked.context.iter().map(|(keys, values)| (keys.values.as_slice(), values.values.as_slice())).collect();
        let walk = decoder.put(engine, &Request { tokens: TOKENS, context: &context, alive: None, labels: None })?;
        decoder.decode(engine, blas, walk)?;
        let found = decoder.found(engine)?;
        answers.push(found.leaves.into_iter().zip(found.scores.into_iter().map(f64::from)).collect());
    }
    Ok(answers)
}

/// Of two ways' answers: the share of the best that they have in common, and differences of scores that both have.
fn pair(one: &[Answer], other: &[Answer]) -> Value {
    let mut shares = Vec::new();
    let mut differences = Vec::new();
    for (one, other) in one.iter().zip(other) {
        let best = &other[..BEST.min(other.len())];
        let common = one.iter().take(BEST).filter(|of| best.iter().any(|other| other.0 == of.0)).count();
        shares.push(common as f64 / best.len().max(1) as f64);
        let scores: HashMap<u32, f64> = other.iter().copied().collect();
        differences.extend(one.iter().filter_map(|(leaf, score)| scores.get(leaf).map(|other| (score - other).abs())));
    }
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len().max(1) as f64;
    json!({
        "overlap": mean(&shares),
        "leastOverlap": shares.iter().copied().fold(1.0, f64::min),
        "scoreDifference": mean(&differences),
        "largestScoreDifference": differences.iter().copied().fold(0.0, f64::max),
    })
}
