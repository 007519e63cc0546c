//! The beam search of a lazy decoder once more, naively: loops in f64, every node of a small trie, no kernel of ours.
//!
//! In: weights, a trie, one context. Out: the log-probability of every leaf, and which leaves a search of so many beams
//! keeps. It rounds to bf16 and to E4M3 where the device's steps store those, and nowhere else, so that what is left
//! between the two is the order of sums. Nothing here is fast.

use recmesh_kernels::cuda::{Precision, Shape, TrieLevel};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::{Level, twins::cases};

const HEAD: usize = 128;
const EPSILON: f64 = 1e-6;
/// Keys of the context that the device looks at together.
const RUN: usize = 64;

/// A row-major matrix.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub cols: usize,
    pub values: Vec<f32>,
}

/// Weights of a layer; its context is both keys and values.
pub struct Layer {
    pub cross_query: Matrix,
    pub cross_out: Matrix,
    pub own_query: Matrix,
    pub own_key: Matrix,
    pub own_value: Matrix,
    pub own_out: Matrix,
    pub up: Matrix,
    pub down: Matrix,
    pub context: Matrix,
}

/// A decoder on the host.
pub struct Model {
    pub shape: Shape,
    pub layers: Vec<Layer>,
    /// What enters each level, by the code before.
    pub tables: Vec<Matrix>,
    pub heads: Vec<Matrix>,
}

/// A kept leaf of a search, or any other.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    pub leaf: usize,
    pub score: f64,
}

type Row = Vec<f64>;

fn bf16(x: f64) -> f64 {
    f64::from(cases::bf16(x as f32))
}

/// What products see of activations, or of weights, row by row.
fn stored(precision: Precision, rows: &[Row], cols: usize) -> Vec<Row> {
    if precision == Precision::Bf16 {
        return rows.iter().map(|row| row.iter().map(|&x| bf16(x)).collect()).collect();
    }
    let flat: Vec<f32> = rows.iter().flatten().map(|&x| x as f32).collect();
    let level = Level::detect();
    let codes = Quantised::new(level, Format::E4m3, Scaling::Rows, &flat, rows.len(), cols);
    codes.dequantise(level).chunks_exact(cols).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

fn rows_of(matrix: &Matrix) -> Vec<Row> {
    matrix.values.chunks_exact(matrix.cols).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn product(precision: Precision, rows: &[Row], weights: &Matrix) -> Vec<Row> {
    let (a, b) = (stored(precision, rows, weights.cols), stored(precision, &rows_of(weights), weights.cols));
    a.iter().map(|a| b.iter().map(|b| dot(a, b)).collect()).collect()
}

fn rounded(mut rows: Vec<Row>) -> Vec<Row> {
    rows.iter_mut().flatten().for_each(|x| *x = bf16(*x));
    rows
}

fn normed(rows: &[Row]) -> Vec<Row> {
    let of = |row: &Row| {
        let root = 1.0 / (dot(row, row) / row.len() as f64 + EPSILON).sqrt();
        row.iter().map(|x| x * root).collect()
    };
    rows.iter().map(of).collect()
}

fn add(rows: &mut [Row], more: &[Row]) {
    rows.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(x, more)| *x += more);
}

/// One query head against keys and values of its own width, in runs of `run` keys: shares of a run are taken against the
/// largest score so far and stored in bf16 for its product, as the tensor core wants them; their sum is not rounded.
fn attend(query: &[f64], keys: &[&[f64]], values: &[&[f64]], run: Option<usize>) -> Row {
    let scores: Vec<f64> = keys.iter().map(|key| dot(query, key) / (HEAD as f64).sqrt()).collect();
    let (mut top, mut total, mut mixed) = (f64::NEG_INFINITY, 0.0, vec![0.0; HEAD]);
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

fn head(row: &[f64], at: usize) -> &[f64] {
    &row[at * HEAD..(at + 1) * HEAD]
}

/// What a layer remembers of all nodes of the levels so far.
#[derive(Default)]
struct Past {
    keys: Vec<Vec<Row>>,
    values: Vec<Vec<Row>>,
}

fn layer(model: &Layer, precision: Precision, x: &mut [Row], past: &mut Past, chains: &[Vec<usize>]) {
    let heads = model.cross_query.cols / HEAD;
    let queries = rounded(product(precision, &normed(x), &model.cross_query));
    let context = rounded(rows_of(&model.context));
    let context: Vec<&[f64]> = context.iter().map(Vec::as_slice).collect();
    let mixed = queries
        .iter()
        .map(|row| (0..heads).flat_map(|at| attend(head(row, at), &context, &context, Some(RUN))).collect());
    add(x, &product(precision, &rounded(mixed.collect()), &model.cross_out));
    let entered = normed(x);
    let queries = rounded(product(precision, &entered, &model.own_query));
    past.keys.push(rounded(product(precision, &entered, &model.own_key)));
    past.values.push(rounded(product(precision, &entered, &model.own_value)));
    let mixed = queries.iter().zip(chains).map(|(row, chain)| {
        let of = |level: &[Vec<Row>], at: usize| -> Vec<Row> {
            level.iter().zip(chain).map(|(rows, &node)| head(&rows[node], at).to_vec()).collect()
        };
        let mix = |at: usize| {
            let (keys, values) = (of(&past.keys, at), of(&past.values, at));
            let (keys, values): (Vec<&[f64]>, Vec<&[f64]>) =
                (keys.iter().map(Vec::as_slice).collect(), values.iter().map(Vec::as_slice).collect());
            attend(head(row, at), &keys, &values, None)
        };
        (0..heads).flat_map(mix).collect()
    });
    add(x, &product(precision, &rounded(mixed.collect()), &model.own_out));
    let opened = product(precision, &normed(x), &model.up);
    let gate = |row: &Row| -> Row {
        let (left, right) = row.split_at(row.len() / 2);
        left.iter().zip(right).map(|(left, right)| left / (1.0 + (-left).exp()) * right).collect()
    };
    let gated: Vec<Row> = opened.iter().map(gate).collect();
    add(x, &product(precision, &gated, &model.down));
}

/// Scores of all nodes, level by level, and the leaves that `shape.beams` beams keep, best first.
pub fn search(model: &Model, trie: &[TrieLevel]) -> (Vec<f64>, Vec<Leaf>) {
    let Shape { precision, width, beams, .. } = model.shape;
    let mut past: Vec<Past> = model.layers.iter().map(|_| Past::default()).collect();
    let (mut scores, mut chains, mut codes) = (vec![0.0], vec![vec![0]], vec![0_usize]);
    let mut kept = vec![Leaf { leaf: 0, score: 0.0 }];
    for (level, below) in trie.iter().enumerate() {
        let table = rounded(rows_of(&model.tables[level]));
        let mut x: Vec<Row> = codes.iter().map(|&code| table[code].clone()).collect();
        for (weights, past) in model.layers.iter().zip(&mut past) {
            layer(weights, precision, &mut x, past, &chains);
        }
        debug_assert!(x.iter().all(|row| row.len() == width));
        let logits = product(Precision::Bf16, &normed(&x), &model.heads[level]);
        let (mut next, mut next_chains) = (Vec::new(), Vec::new());
        for (node, logits) in logits.iter().enumerate() {
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total = top + logits.iter().map(|logit| (logit - top).exp()).sum::<f64>().ln();
            for child in below.offsets[node]..below.offsets[node + 1] {
                next.push(scores[node] + logits[below.codes[child as usize] as usize] - total);
                next_chains.push(chains[node].iter().copied().chain([child as usize]).collect());
            }
        }
        let children = |node: &Leaf| below.offsets[node.leaf] as usize..below.offsets[node.leaf + 1] as usize;
        let mut extended: Vec<Leaf> =
            kept.iter().flat_map(children).map(|leaf| Leaf { leaf, score: next[leaf] }).collect();
        extended.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.leaf.cmp(&b.leaf)));
        extended.truncate(beams);
        kept = extended;
        codes = below.codes.iter().map(|&code| code as usize).collect();
        (scores, chains) = (next, next_chains);
    }
    (scores, kept)
}
