//! The kernels as their formulas read, in f64.
//!
//! In: host matrices. Out: results to compare others with. Loops only: nothing is fused, blocked, reordered or shared with
//! the implementations that it judges.

use std::convert::Infallible;

use super::{Arithmetic, BeamAttention, BeamStep, CrossAttention, Extension, ItemSearch, Kernels, Rows, Scaled};
use crate::fp8::{BLOCK, Format, Quantised, Scaling};

/// Added to a mean square before its root.
pub(super) const EPSILON: f64 = 1e-6;

/// The kernels in f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

/// `x / √(mean x² + ε) · gain`.
pub(super) fn rms_norm(x: Rows<'_>, gain: &[f32]) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.data.len());
    for at in 0..x.rows() {
        let mean = x.row(at).iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / x.cols as f64;
        let root = (mean + EPSILON).sqrt();
        out.extend(x.row(at).iter().zip(gain).map(|(&x, &gain)| f64::from(x) / root * f64::from(gain)));
    }
    out
}

/// `silu(left half) ∘ right half`.
pub(super) fn swiglu(x: Rows<'_>) -> Vec<f64> {
    let cols = x.cols / 2;
    let mut out = Vec::with_capacity(x.data.len() / 2);
    for at in 0..x.rows() {
        let (left, right) = x.row(at).split_at(cols);
        out.extend(left.iter().zip(right).map(|(&l, &r)| f64::from(l) / (1.0 + (-f64::from(l)).exp()) * f64::from(r)));
    }
    out
}

/// Columns under one scale.
pub(super) fn width(scaling: Scaling, cols: usize) -> usize {
    match scaling {
        Scaling::Tiles => BLOCK,
        _ => cols.max(1),
    }
}

/// The E4M3 code next to a value, ties to the even code; NaN is 0x7F. Codes of positive numbers ascend as they do.
fn nearest(value: f64) -> u8 {
    if value.is_nan() {
        return 0x7F;
    }
    let magnitude = value.abs().min(448.0);
    let number = |code: u8| f64::from(Format::E4m3.decode(code));
    let (mut below, mut above) = (0, 0x7E_u8);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if number(middle) <= magnitude { below = middle } else { above = middle }
    }
    let (down, up) = (magnitude - number(below), number(above) - magnitude);
    let code = if down < up || (down == up && below.is_multiple_of(2)) { below } else { above };
    code | u8::from(value.is_sign_negative()) << 7
}

fn quantise(y: &[f64], cols: usize, scaling: Scaling) -> Scaled {
    let width = width(scaling, cols);
    let mut made = Scaled { width, cols, codes: Vec::with_capacity(y.len()), scales: Vec::new() };
    for row in y.chunks(cols.max(1)) {
        for part in row.chunks(width) {
            let largest = part.iter().filter(|y| !y.is_nan()).fold(0.0_f64, |largest, y| largest.max(y.abs()));
            let scale = (largest.min(1.75 * 2_f64.powi(127)) / 448.0).max(f64::from(f32::MIN_POSITIVE)) as f32;
            made.scales.push(scale);
            made.codes.extend(part.iter().map(|&y| nearest(y / f64::from(scale))));
        }
    }
    made
}

/// `code · scale` of an element, unrounded.
pub(super) fn element(x: &Quantised, row: usize, col: usize) -> f64 {
    f64::from(x.format().decode(x.codes()[row * x.cols() + col])) * f64::from(x.scale_at(row, col))
}

/// All elements, unrounded.
pub(super) fn dequantise(x: &Quantised) -> Vec<f64> {
    (0..x.codes().len()).map(|at| element(x, at / x.cols(), at % x.cols())).collect()
}

/// `a · bᵀ`, and `Σ |a · b|` beside each element.
pub(super) fn products(a: &[f64], b: &[f64], k: usize, m: usize, n: usize) -> Vec<(f64, f64)> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for (x, y) in a[i * k..(i + 1) * k].iter().zip(&b[j * k..(j + 1) * k]) {
                sum += x * y;
                magnitude += (x * y).abs();
            }
            out.push((sum, magnitude));
        }
    }
    out
}

/// What one head of one query sees.
pub(super) struct Head<'a> {
    pub query: &'a [f32],
    pub keys: Vec<&'a [f32]>,
    pub values: Vec<&'a [f32]>,
}

impl Head<'_> {
    /// Scores `q · k / √width` with `Σ |q · k| / √width` beside each.
    pub fn scores(&self) -> Vec<(f64, f64)> {
        let scale = 1.0 / (self.query.len() as f64).sqrt();
        let of = |key: &&[f32]| {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for (&q, &k) in self.query.iter().zip(*key) {
                sum += f64::from(q) * f64::from(k);
                magnitude += (f64::from(q) * f64::from(k)).abs();
            }
            (sum * scale, magnitude * scale)
        };
        self.keys.iter().map(of).collect()
    }

    /// Probabilities of the keys.
    pub fn probabilities(&self) -> Vec<f64> {
        let scores: Vec<f64> = self.scores().iter().map(|&(score, _)| score).collect();
        let largest = scores.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a || b.is_nan() { b } else { a });
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// `Σ p · v`, and `Σ p · |v|` beside each column.
    pub fn attend(&self) -> Vec<(f64, f64)> {
        let mut out = vec![(0.0, 0.0); self.query.len()];
        for (p, value) in self.probabilities().into_iter().zip(&self.values) {
            for (out, &v) in out.iter_mut().zip(*value) {
                out.0 += p * f64::from(v);
                out.1 += p * f64::from(v).abs();
            }
        }
        out
    }
}

/// The heads of a cross-attention, query by query.
pub(super) fn cross_heads<'a>(problem: &CrossAttention<'a>) -> Vec<Head<'a>> {
    let width = problem.queries.cols / problem.heads.max(1);
    let mut heads = Vec::new();
    for row in 0..problem.queries.rows() {
        let request = problem.rows.partition_point(|&start| start as usize <= row) - 1;
        let seen = problem.context[request] as usize..problem.context[request + 1] as usize;
        for head in 0..problem.heads {
            heads.push(Head {
                query: &problem.queries.row(row)[head * width..(head + 1) * width],
                keys: seen.clone().map(|key| problem.keys.row(key)).collect(),
                values: seen.clone().map(|key| problem.values.row(key)).collect(),
            });
        }
    }
    heads
}

/// The heads of a beam attention, beam by beam.
pub(super) fn beam_heads<'a>(problem: &BeamAttention<'a>) -> Vec<Head<'a>> {
    let width = problem.queries.cols / problem.heads.max(1);
    let mut heads = Vec::new();
    for beam in 0..problem.queries.rows() {
        let chain = problem.chain(beam);
        for head in 0..problem.heads {
            let part = head * width..(head + 1) * width;
            let of = |rows: &'a [Rows<'a>]| -> Vec<&'a [f32]> {
                chain.iter().zip(rows).map(|(&row, rows)| &rows.row(row)[part.clone()]).collect()
            };
            let query = &problem.queries.row(beam)[part.clone()];
            heads.push(Head { query, keys: of(problem.keys), values: of(problem.values) });
        }
    }
    heads
}

/// Every child of every beam whose score is a number, by child.
pub(super) fn extensions(problem: &BeamStep<'_>) -> Vec<Extension> {
    let mut found = Vec::new();
    for (parent, (&score, &node)) in (0..).zip(problem.scores.iter().zip(problem.nodes)) {
        let logits = problem.logits.row(parent as usize);
        let largest = logits.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b)));
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        for child in problem.offsets[node as usize]..problem.offsets[node as usize + 1] {
            let code = problem.codes[child as usize];
            let score = f64::from(score) + f64::from(logits[code as usize]) - largest - sum.ln();
            if !score.is_nan() {
                found.push(Extension { score, parent, code, child });
            }
        }
    }
    found.sort_by_key(|extension| extension.child);
    found
}

impl Kernels for Reference {
    type Number = f64;
    type Error = Infallible;

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Reference
    }

    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Infallible> {
        let y: Vec<f64> = x.data.iter().map(|&x| f64::from(x)).collect();
        Ok(quantise(&y, x.cols, scaling))
    }

    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, Infallible> {
        Ok(quantise(&rms_norm(x, gain), x.cols, scaling))
    }

    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Infallible> {
        Ok(quantise(&swiglu(x), x.cols / 2, scaling))
    }

    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, Infallible> {
        self.quantise(x, Scaling::Rows)
    }

    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<f64>, Infallible> {
        Ok(rms_norm(x, gain))
    }

    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<f64>, Infallible> {
        Ok(swiglu(x))
    }

    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f64>, Infallible> {
        self.product(a, b)
    }

    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f64>, Infallible> {
        let found = products(&dequantise(a), &dequantise(b), a.cols(), a.rows(), b.rows());
        Ok(found.into_iter().map(|(sum, _)| sum).collect())
    }

    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<f64>, Infallible> {
        let mut out = Vec::new();
        for (a, b) in a.iter().zip(b) {
            let found = products(&dequantise(a), &dequantise(b), a.cols(), a.rows(), b.rows());
            out.extend(found.into_iter().map(|(sum, _)| sum));
        }
        Ok(out)
    }

    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<f64>, Infallible> {
        Ok(cross_heads(problem).iter().flat_map(Head::attend).map(|(sum, _)| sum).collect())
    }

    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<f64>, Infallible> {
        Ok(beam_heads(problem).iter().flat_map(Head::attend).map(|(sum, _)| sum).collect())
    }

    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, Infallible> {
        let mut found = extensions(problem);
        // Stable, so equal scores stay by child.
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(problem.k);
        Ok(found)
    }

    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, Infallible> {
        Ok(ids.iter().flat_map(|&id| table.row(id as usize).to_vec()).collect())
    }

    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, Infallible> {
        let ItemSearch { queries, table, k, .. } = *problem;
        let mut found = Vec::new();
        for query in 0..queries.rows() {
            let dot = |item: usize| -> f64 {
                queries.row(query).iter().zip(table.row(item)).map(|(&q, &t)| f64::from(q) * f64::from(t)).sum()
            };
            let mut scores: Vec<(f64, u32)> = (0..table.rows()).map(|item| (dot(item), item as u32)).collect();
            scores.sort_by(|a, b| b.0.total_cmp(&a.0));
            scores.truncate(k);
            found.push(scores);
        }
        Ok(found)
    }
}
