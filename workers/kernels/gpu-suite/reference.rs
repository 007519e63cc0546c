//! The beam search of a lazy decoder once more, naively: loops in f64, every node of a small trie, no kernel of ours.
//!
//! In: weights, a trie, one context. Out: the log-probability of every leaf, and which leaves a search of so many beams
//! keeps. It rounds to bf16 and to E4M3 where the device's steps store those, cuts sums of E4M3 where our kernel's tensor
//! core does, and rounds nowhere else, so that what is left between the two is the order of f32 sums; or, asked so,
//! nowhere at all. Nothing here is fast.

use std::collections::HashMap;

use recmesh_kernels::cuda::{Map, Norm, Precision, Shape, TrieLevel};
use recmesh_kernels::fp8::emulate::{Promotion, gemm};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::{Level, twins::cases};

const EPSILON: f64 = 1e-6;
/// Keys of the context that the device looks at together.
const RUN: usize = 64;
/// A leaf without an answer.
pub const NONE: u32 = u32::MAX;

/// A row-major matrix.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub cols: usize,
    pub values: Vec<f32>,
}

/// Where a search rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Nowhere.
    Nowhere,
    /// Where bf16 or E4M3 are stored.
    Stored,
    /// There, and in sums of E4M3 as the tensor core in bits does.
    Cut,
}

/// A decoder on the host.
pub struct Model {
    pub shape: Shape,
    pub rounding: Rounding,
    pub linear: HashMap<(usize, Map), Matrix>,
    pub gains: HashMap<(usize, Norm), Vec<f32>>,
    /// By layer, `[heads, distances]`.
    pub distances: Vec<Vec<f32>>,
    /// What enters each level, by the code before.
    pub inputs: Vec<Matrix>,
    pub head_gains: Vec<Vec<f32>>,
    pub heads: Vec<Matrix>,
}

/// What one request brings.
pub struct Asked {
    /// Keys and values of every slice.
    pub context: Vec<(Matrix, Matrix)>,
    /// A bit a node of every depth from 1 to the last but one; none: all.
    pub alive: Option<Vec<Vec<u32>>>,
    /// [`NONE`]: a leaf that may not be answered.
    pub labels: Vec<u32>,
}

/// A leaf and its score.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    pub leaf: usize,
    pub score: f64,
}

type Row = Vec<f64>;

fn bf16(x: f64) -> f64 {
    f64::from(cases::bf16(x as f32))
}

fn quantised(rows: &[Row], cols: usize) -> Quantised {
    let flat: Vec<f32> = rows.iter().flatten().map(|&x| x as f32).collect();
    Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, &flat, rows.len(), cols)
}

fn chunked(flat: &[f32], cols: usize) -> Vec<Row> {
    flat.chunks_exact(cols).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

/// What products see of activations, or of weights, row by row.
fn stored(rounding: Rounding, precision: Precision, rows: &[Row], cols: usize) -> Vec<Row> {
    match precision {
        _ if rounding == Rounding::Nowhere => rows.to_vec(),
        Precision::Bf16 => rows.iter().map(|row| row.iter().map(|&x| bf16(x)).collect()).collect(),
        Precision::E4m3 => chunked(&quantised(rows, cols).dequantise(Level::detect()), cols),
    }
}

fn rows_of(matrix: &Matrix) -> Vec<Row> {
    chunked(&matrix.values, matrix.cols)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn product(rounding: Rounding, precision: Precision, rows: &[Row], weights: &Matrix) -> Vec<Row> {
    let (given, cols) = (rows_of(weights), weights.cols);
    if (rounding, precision) == (Rounding::Cut, Precision::E4m3) {
        let mut out = vec![0.0; rows.len() * given.len()];
        let (a, b) = (quantised(rows, cols), quantised(&given, cols));
        gemm(Level::detect(), &mut out, &a, &b, Promotion::over(cols));
        return chunked(&out, given.len());
    }
    let (a, b) = (stored(rounding, precision, rows, cols), stored(rounding, precision, &given, cols));
    a.iter().map(|a| b.iter().map(|b| dot(a, b)).collect()).collect()
}

fn rounded(model: &Model, mut rows: Vec<Row>) -> Vec<Row> {
    rows.iter_mut().flatten().filter(|_| model.rounding != Rounding::Nowhere).for_each(|x| *x = bf16(*x));
    rows
}

fn normed(rows: &[Row], gain: &[f32]) -> Vec<Row> {
    let of = |row: &Row| {
        let root = 1.0 / (dot(row, row) / row.len() as f64 + EPSILON).sqrt();
        row.iter().zip(gain).map(|(x, gain)| x * root * f64::from(*gain)).collect()
    };
    rows.iter().map(of).collect()
}

fn add(rows: &mut [Row], more: &[Row]) {
    rows.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(x, more)| *x += more);
}

/// One query head against keys and values of its own width, in runs of so many: shares of a run are taken against the
/// largest score so far and stored in bf16 for its product, as the tensor core wants them; their sum is not rounded.
fn attend(query: &[f64], keys: &[&[f64]], values: &[&[f64]], bias: &dyn Fn(usize) -> f64, run: Option<usize>) -> Row {
    let width = query.len();
    let score = |(at, key): (usize, &&[f64])| dot(query, key) / (width as f64).sqrt() + bias(at);
    let scores: Vec<f64> = keys.iter().enumerate().map(score).collect();
    let (mut top, mut total, mut mixed) = (f64::NEG_INFINITY, 0.0, vec![0.0; width]);
    let length = run.unwrap_or(scores.len());
    for (scores, values) in scores.chunks(length).zip(values.chunks(length)) {
        let higher = scores.iter().copied().fold(top, f64::max);
        let shrink = (top - higher).exp();
        (top, total) = (higher, total * shrink);
        mixed.iter_mut().for_each(|x| *x *= shrink);
        for (score, value) in scores.iter().zip(values) {
            let share = (score - top).exp();
            total += share;
            let share = if run.is_some() { bf16(share) } else { share };
            mixed.iter_mut().zip(*value).for_each(|(x, value)| *x += share * value);
        }
    }
    mixed.into_iter().map(|x| x / total).collect()
}

/// The columns of a head in every row.
fn columns(rows: &[Row], at: usize, width: usize) -> Vec<&[f64]> {
    rows.iter().map(|row| &row[at * width..(at + 1) * width]).collect()
}

/// What a layer remembers of all nodes of the levels so far.
#[derive(Clone, Default)]
struct Past {
    keys: Vec<Vec<Row>>,
    values: Vec<Vec<Row>>,
}

/// Attention of every row to the request's context.
fn cross(model: &Model, at: usize, queries: &[Row], asked: &Asked) -> Vec<Row> {
    let Shape { heads, groups, distances, ref slices, shared, .. } = model.shape;
    let (keys, values) = &asked.context[slices[at]];
    let values = if shared { keys } else { values };
    let (keys, values) = (rounded(model, rows_of(keys)), rounded(model, rows_of(values)));
    let (head, newest) = (model.shape.head(), keys.len() - 1);
    let one = |row: &Row, of: usize| {
        let group = of / (heads / groups);
        let bias = |key: usize| match distances {
            0 => 0.0,
            _ => f64::from(model.distances[at][of * distances + (newest - key).min(distances - 1)]),
        };
        let (keys, values) = (columns(&keys, group, head), columns(&values, group, head));
        attend(
            &row[of * head..(of + 1) * head],
            &keys,
            &values,
            &bias,
            (model.rounding != Rounding::Nowhere).then_some(RUN),
        )
    };
    rounded(model, queries.iter().map(|row| (0..heads).flat_map(|of| one(row, of)).collect()).collect())
}

/// Attention of every row to its own ancestors.
fn own(model: &Model, queries: &[Row], past: &Past, chains: &[Vec<usize>]) -> Vec<Row> {
    let head = model.shape.head();
    let one = |row: &Row, chain: &[usize], of: usize| {
        let ancestors = |levels: &[Vec<Row>]| -> Vec<Row> {
            levels.iter().zip(chain).map(|(rows, &node)| rows[node].clone()).collect()
        };
        let (keys, values) = (ancestors(&past.keys), ancestors(&past.values));
        let (keys, values) = (columns(&keys, of, head), columns(&values, of, head));
        attend(&row[of * head..(of + 1) * head], &keys, &values, &|_| 0.0, None)
    };
    let all = queries.iter().zip(chains);
    let attended = all.map(|(row, chain)| (0..model.shape.heads).flat_map(|of| one(row, chain, of)).collect());
    rounded(model, attended.collect())
}

fn layer(model: &Model, at: usize, x: &mut [Row], past: &mut Past, (chains, asked): (&[Vec<usize>], &Asked)) {
    let (rounding, precision) = (model.rounding, model.shape.precision);
    let times = |map: Map, rows: &[Row]| product(rounding, precision, rows, &model.linear[&(at, map)]);
    let gain = |norm: Norm| model.gains[&(at, norm)].as_slice();
    let queries = rounded(model, times(Map::CrossQuery, &normed(x, gain(Norm::Cross))));
    add(x, &times(Map::CrossOut, &cross(model, at, &queries, asked)));
    let entered = normed(x, gain(Norm::Own));
    past.keys.push(rounded(model, times(Map::OwnKey, &entered)));
    past.values.push(rounded(model, times(Map::OwnValue, &entered)));
    let queries = rounded(model, times(Map::OwnQuery, &entered));
    add(x, &times(Map::OwnOut, &own(model, &queries, past, chains)));
    let gate = |row: Row| -> Row {
        let (left, right) = row.split_at(row.len() / 2);
        left.iter().zip(right).map(|(left, right)| left / (1.0 + (-left).exp()) * right).collect()
    };
    let gated: Vec<Row> = times(Map::Up, &normed(x, gain(Norm::Inner))).into_iter().map(gate).collect();
    add(x, &times(Map::Down, &gated));
}

fn log_sum(logits: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    top + logits.map(|logit| (logit - top).exp()).sum::<f64>().ln()
}

/// Scores of all leaves, and the leaves that `shape.beams` beams keep, best first.
pub fn search(model: &Model, trie: &[TrieLevel], asked: &Asked) -> (Vec<f64>, Vec<Leaf>) {
    let shape = &model.shape;
    let mut past = vec![Past::default(); shape.layers()];
    let (mut scores, mut chains, mut codes) = (vec![0.0], vec![vec![0]], vec![0_usize]);
    let mut kept = vec![Leaf { leaf: 0, score: 0.0 }];
    for (level, below) in trie.iter().enumerate() {
        let table = rows_of(&model.inputs[level]);
        let enter = |&code: &usize| table[code].iter().map(|x| x * f64::from(shape.scale)).collect();
        let mut x: Vec<Row> = codes.iter().map(enter).collect();
        for (at, past) in past.iter_mut().enumerate() {
            layer(model, at, &mut x, past, (&chains, asked));
        }
        let logits =
            product(model.rounding, Precision::Bf16, &normed(&x, &model.head_gains[level]), &model.heads[level]);
        let children = |node: usize| below.offsets[node] as usize..below.offsets[node + 1] as usize;
        let (mut next, mut next_chains) = (Vec::new(), Vec::new());
        for (node, logits) in logits.iter().enumerate() {
            let logit = |child: usize| logits[below.codes[child] as usize];
            let total =
                if shape.renormalise { log_sum(children(node).map(logit)) } else { log_sum(logits.iter().copied()) };
            for child in children(node) {
                next.push(scores[node] + logit(child) - total);
                next_chains.push(chains[node].iter().copied().chain([child]).collect());
            }
        }
        let last = level + 1 == trie.len();
        let may = |child: &usize| match &asked.alive {
            _ if last => asked.labels[*child] != NONE,
            Some(alive) => alive[level][child / 32] >> (child % 32) & 1 == 1,
            None => true,
        };
        let walked = kept.iter().flat_map(|node| children(node.leaf)).filter(may);
        let mut extended: Vec<Leaf> = walked.map(|leaf| Leaf { leaf, score: next[leaf] }).collect();
        extended.sort_by(|a, b| b.score.total_cmp(&a.score));
        extended.truncate(shape.beams);
        kept = extended;
        codes = below.codes.iter().map(|&code| code as usize).collect();
        (scores, chains) = (next, next_chains);
    }
    (scores, kept)
}
