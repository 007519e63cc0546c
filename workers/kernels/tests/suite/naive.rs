//! The naive machine: f64, definitions written out, nothing fused, nothing shared with the code under test.
//!
//! In: parameters as f64. Out: values. Dropout takes its masks from whoever knows them.

use std::collections::VecDeque;
use std::ops::Range;

use recmesh_kernels::{Activation, Attention, ParamId, Params};

use crate::machine::Machine;

pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

impl Matrix {
    fn from_fn(rows: usize, cols: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        let data = (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))).map(|(r, c)| f(r, c)).collect();
        Self { rows, cols, data }
    }
    pub fn at(&self, r: usize, c: usize) -> f64 {
        self.data[r * self.cols + c]
    }
    fn row(&self, r: usize) -> &[f64] {
        &self.data[r * self.cols..(r + 1) * self.cols]
    }
}

pub struct Naive {
    pub params: Vec<Matrix>,
    pub values: Vec<Matrix>,
    pub masks: VecDeque<Vec<f64>>,
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    scores.iter().map(|s| (s - max).exp() / sum).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Naive {
    pub fn new(params: &Params) -> Self {
        let wide = |data: &[f32]| data.iter().map(|&x| f64::from(x)).collect();
        let params =
            params.tensors().iter().map(|t| Matrix { rows: t.rows, cols: t.cols, data: wide(&t.data) }).collect();
        Self { params, values: Vec::new(), masks: VecDeque::new() }
    }
    fn push(&mut self, rows: usize, cols: usize, f: impl Fn(&Self, usize, usize) -> f64) -> usize {
        let value = Matrix::from_fn(rows, cols, |r, c| f(self, r, c));
        self.values.push(value);
        self.values.len() - 1
    }
    fn push_rows(&mut self, rows: usize, cols: usize, f: impl Fn(&Self, usize) -> Vec<f64>) -> usize {
        let data = (0..rows).flat_map(|r| f(self, r)).collect();
        self.values.push(Matrix { rows, cols, data });
        self.values.len() - 1
    }
    fn size(&self, x: usize) -> (usize, usize) {
        (self.values[x].rows, self.values[x].cols)
    }
    fn weighted_sum(&mut self, n: usize, weights: Option<&[f32]>, loss: impl Fn(&Self, usize) -> f64) -> usize {
        self.push(1, 1, |m, _, _| (0..n).map(|i| weights.map_or(1.0, |w| f64::from(w[i])) * loss(m, i)).sum())
    }
}

impl Machine for Naive {
    type Var = usize;
    fn constant(&mut self, rows: usize, cols: usize, data: &[f32]) -> usize {
        self.push(rows, cols, |_, r, c| f64::from(data[r * cols + c]))
    }
    fn embed(&mut self, table: ParamId, ids: &[u32]) -> usize {
        let cols = self.params[table.0].cols;
        self.push(ids.len(), cols, |m, r, c| m.params[table.0].at(ids[r] as usize, c))
    }
    fn embed_bag(&mut self, table: ParamId, ids: &[u32], offsets: &[u32], mean: bool) -> usize {
        let cols = self.params[table.0].cols;
        self.push(offsets.len() - 1, cols, |m, r, c| {
            let bag = &ids[offsets[r] as usize..offsets[r + 1] as usize];
            let sum: f64 = bag.iter().map(|&id| m.params[table.0].at(id as usize, c)).sum();
            if mean && !bag.is_empty() { sum / bag.len() as f64 } else { sum }
        })
    }
    fn gather(&mut self, x: usize, rows: &[u32]) -> usize {
        self.push(rows.len(), self.values[x].cols, |m, r, c| m.values[x].at(rows[r] as usize, c))
    }
    fn concat(&mut self, parts: &[usize]) -> usize {
        let cols = parts.iter().map(|&p| self.values[p].cols).sum();
        self.push(self.values[parts[0]].rows, cols, |m, r, c| {
            let all: Vec<f64> = parts.iter().flat_map(|&p| m.values[p].row(r).to_vec()).collect();
            all[c]
        })
    }
    fn columns(&mut self, x: usize, range: Range<usize>) -> usize {
        self.push(self.values[x].rows, range.len(), |m, r, c| m.values[x].at(r, range.start + c))
    }
    fn stack(&mut self, parts: &[usize]) -> usize {
        let rows: Vec<Vec<f64>> = parts
            .iter()
            .flat_map(|&p| (0..self.values[p].rows).map(move |r| (p, r)))
            .map(|(p, r)| self.values[p].row(r).to_vec())
            .collect();
        self.push(rows.len(), self.values[parts[0]].cols, |_, r, c| rows[r][c])
    }
    fn linear(&mut self, x: usize, weight: ParamId, bias: Option<ParamId>) -> usize {
        self.push(self.values[x].rows, self.params[weight.0].rows, |m, r, c| {
            dot(m.values[x].row(r), m.params[weight.0].row(c)) + bias.map_or(0.0, |b| m.params[b.0].at(0, c))
        })
    }
    fn add(&mut self, a: usize, b: usize) -> usize {
        let (rows, cols) = self.size(a);
        self.push(rows, cols, |m, r, c| m.values[a].at(r, c) + m.values[b].at(r, c))
    }
    fn mul(&mut self, a: usize, b: usize) -> usize {
        let (rows, cols) = self.size(a);
        self.push(rows, cols, |m, r, c| m.values[a].at(r, c) * m.values[b].at(r, c))
    }
    fn scale(&mut self, x: usize, by: f32) -> usize {
        let (rows, cols) = self.size(x);
        self.push(rows, cols, |m, r, c| m.values[x].at(r, c) * f64::from(by))
    }
    fn activate(&mut self, x: usize, f: Activation) -> usize {
        let (rows, cols) = self.size(x);
        self.push(rows, cols, |m, r, c| {
            let x = m.values[x].at(r, c);
            match f {
                Activation::Relu => x.max(0.0),
                Activation::Gelu => {
                    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                    0.5 * x * (1.0 + u.tanh())
                }
                Activation::Silu => x * sigmoid(x),
                Activation::Sigmoid => sigmoid(x),
            }
        })
    }
    fn swiglu(&mut self, x: usize) -> usize {
        let (rows, cols) = self.size(x);
        self.push(rows, cols / 2, |m, r, c| {
            let left = m.values[x].at(r, c);
            left * sigmoid(left) * m.values[x].at(r, cols / 2 + c)
        })
    }
    fn dropout(&mut self, x: usize, p: f32) -> usize {
        if p == 0.0 {
            return x;
        }
        assert!(!self.masks.is_empty(), "a mask for every dropout");
        let mask = self.masks.pop_front().unwrap_or_default();
        let (rows, cols) = self.size(x);
        self.push(rows, cols, |m, r, c| m.values[x].at(r, c) * mask[r * cols + c])
    }
    fn layer_norm(&mut self, x: usize, gain: ParamId, bias: ParamId) -> usize {
        let (rows, cols) = self.size(x);
        self.push_rows(rows, cols, |m, r| {
            let row = m.values[x].row(r);
            let mean = row.iter().sum::<f64>() / cols as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cols as f64;
            let unit = |c: usize| (row[c] - mean) / (variance + 1e-5).sqrt();
            (0..cols).map(|c| unit(c) * m.params[gain.0].at(0, c) + m.params[bias.0].at(0, c)).collect()
        })
    }
    fn rms_norm(&mut self, x: usize, gain: ParamId) -> usize {
        let (rows, cols) = self.size(x);
        self.push_rows(rows, cols, |m, r| {
            let row = m.values[x].row(r);
            let root = (dot(row, row) / cols as f64 + 1e-6).sqrt();
            (0..cols).map(|c| row[c] / root * m.params[gain.0].at(0, c)).collect()
        })
    }
    fn softmax(&mut self, x: usize) -> usize {
        let (rows, cols) = self.size(x);
        self.push_rows(rows, cols, |m, r| softmax(m.values[x].row(r)))
    }
    fn mix(&mut self, gates: usize, experts: usize) -> usize {
        let ((rows, count), cols) = (self.size(gates), self.values[experts].cols);
        let width = cols / count;
        self.push(rows, width, |m, r, c| {
            (0..count).map(|e| m.values[gates].at(r, e) * m.values[experts].at(r, e * width + c)).sum()
        })
    }
    fn attention(&mut self, q: usize, k: usize, v: usize, how: Attention<'_>) -> usize {
        let (rows, cols) = self.size(q);
        let width = cols / how.heads;
        let of = |m: &Self, x: usize, row: usize, part: usize| -> Vec<f64> {
            m.values[x].row(row)[part * width..(part + 1) * width].to_vec()
        };
        self.push_rows(rows, cols, |m, r| {
            let keys = how.spans[r].start as usize..how.spans[r].end as usize;
            let head = |head: usize| {
                let group = head / (how.heads / how.groups);
                let query = of(m, q, r, head);
                let score = |j: usize| {
                    let bias = how.bias.map_or(0.0, |b| {
                        let distance = i64::from(b.query[r]) - i64::from(b.key[j]);
                        let table = &m.params[b.table.0];
                        table.at(head, distance.clamp(0, table.cols as i64 - 1) as usize)
                    });
                    dot(&query, &of(m, k, j, group)) / (width as f64).sqrt() + bias
                };
                let weights = softmax(&keys.clone().map(score).collect::<Vec<_>>());
                let mut out = vec![0.0; width];
                for (weight, j) in weights.iter().zip(keys.clone()) {
                    out.iter_mut().zip(of(m, v, j, group)).for_each(|(o, value)| *o += weight * value);
                }
                out
            };
            (0..how.heads).flat_map(head).collect()
        })
    }
    fn softmax_loss(
        &mut self,
        x: usize,
        table: ParamId,
        classes: Range<usize>,
        targets: &[u32],
        weights: Option<&[f32]>,
    ) -> usize {
        self.weighted_sum(targets.len(), weights, |m, i| {
            let scores: Vec<f64> = classes.clone().map(|j| dot(m.values[x].row(i), m.params[table.0].row(j))).collect();
            -softmax(&scores)[targets[i] as usize].ln()
        })
    }
    fn sampled_softmax_loss(
        &mut self,
        x: usize,
        table: ParamId,
        targets: &[u32],
        negatives: &[u32],
        weights: Option<&[f32]>,
    ) -> usize {
        self.weighted_sum(targets.len(), weights, |m, i| {
            let others = negatives.iter().filter(|&&n| n != targets[i]);
            let scores: Vec<f64> = std::iter::once(&targets[i])
                .chain(others)
                .map(|&j| dot(m.values[x].row(i), m.params[table.0].row(j as usize)))
                .collect();
            -softmax(&scores)[0].ln()
        })
    }
    fn choice_loss(
        &mut self,
        x: usize,
        table: ParamId,
        (ids, offsets): (&[u32], &[u32]),
        right: &[u32],
        weights: Option<&[f32]>,
    ) -> usize {
        self.weighted_sum(right.len(), weights, |m, i| {
            let list = &ids[offsets[i] as usize..offsets[i + 1] as usize];
            let scores: Vec<f64> =
                list.iter().map(|&j| dot(m.values[x].row(i), m.params[table.0].row(j as usize))).collect();
            -softmax(&scores)[right[i] as usize].ln()
        })
    }
    fn bce_loss(&mut self, logits: usize, labels: &[f32], weights: Option<&[f32]>) -> usize {
        self.weighted_sum(labels.len(), weights, |m, i| {
            // −ln σ(x) is ln(1 + e^−x).
            let (x, y) = (m.values[logits].at(i, 0), f64::from(labels[i]));
            y * (-x).exp().ln_1p() + (1.0 - y) * x.exp().ln_1p()
        })
    }
}
