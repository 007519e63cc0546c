//! The kernels as the CPU serves them: the code of this crate, called and nothing more.
//!
//! In: host matrices. Out: the same. What is not yet a kernel of its own elsewhere (a beam step, a scan in E4M3) is put
//! together here from those that are; memory is not reused.

use std::convert::Infallible;

use super::cases::all_bf16;
use super::{Arithmetic, BeamAttention, BeamStep, CrossAttention, Extension, ItemSearch, Kernels, Rows, Scaled};
use crate::cpu::{exp, kernel, reduce};
use crate::fp8::serve::{Tiles, gemm};
use crate::fp8::{BLOCK, Format, Quantised, Scaling};
use crate::topk::{TieOrder, TopK};
use crate::{Attention, Init, Level, Params, Role, Span, Tape, Workspace};

/// The kernels of this crate at one instruction set.
#[derive(Debug, Default)]
pub struct Cpu {
    level: Level,
    tiles: Tiles,
    workspace: Workspace,
    row: Vec<f32>,
}

impl Cpu {
    /// At an instruction set other than the best.
    #[must_use]
    pub fn with_level(level: Level) -> Self {
        Self { level, workspace: Workspace::with_level(level), ..Self::default() }
    }

    fn attend(&mut self, q: Rows<'_>, k: &[f32], v: &[f32], width: usize, how: Attention<'_>) -> Vec<f32> {
        if q.data.is_empty() {
            return Vec::new();
        }
        let params = Params::default();
        let mut tape = Tape::serve(&params, &mut self.workspace);
        let queries = tape.constant(q.rows(), q.cols, q.data);
        let keys = tape.constant(k.len() / width, width, k);
        let values = tape.constant(v.len() / width, width, v);
        let out = tape.attention(queries, keys, values, how);
        tape.value(out).to_vec()
    }
}

kernel! {
    /// The largest logit, and the logarithm of `Σ e^(logit − largest)`; `row` is overwritten.
    fn log_sum<S>(row: &mut [f32]) -> (f32, f32) {
        let largest = reduce::max_of(row);
        let sum = exp::exp_below::<S>(row, largest);
        (largest, sum.ln())
    }
}

fn scaled(made: &Quantised) -> Scaled {
    let width = if made.scaling() == Scaling::Tiles { BLOCK } else { made.cols().max(1) };
    Scaled { width, cols: made.cols(), codes: made.codes().to_vec(), scales: made.scales().to_vec() }
}

impl Kernels for Cpu {
    type Number = f32;
    type Error = Infallible;

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::Single
    }

    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Infallible> {
        Ok(scaled(&Quantised::new(self.level, Format::E4m3, scaling, x.data, x.rows(), x.cols)))
    }

    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, Infallible> {
        let mut made = Quantised::empty(Format::E4m3, scaling);
        made.fill_rms_norm(self.level, x.data, gain, &mut self.row);
        Ok(scaled(&made))
    }

    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, Infallible> {
        let mut made = Quantised::empty(Format::E4m3, scaling);
        made.fill_swiglu(self.level, x.data, x.cols / 2, &mut self.row);
        Ok(scaled(&made))
    }

    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, Infallible> {
        self.quantise(x, Scaling::Rows)
    }

    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<f32>, Infallible> {
        if x.data.is_empty() {
            return Ok(Vec::new());
        }
        let mut params = Params::default();
        let given = params.add("gain", Role::Vector, 1, x.cols, Init::Ones, 0);
        params.get_mut(given).data.copy_from_slice(gain);
        let mut tape = Tape::serve(&params, &mut self.workspace);
        let rows = tape.constant(x.rows(), x.cols, x.data);
        let normed = tape.rms_norm(rows, given);
        Ok(all_bf16(tape.value(normed).to_vec()))
    }

    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<f32>, Infallible> {
        if x.data.is_empty() {
            return Ok(Vec::new());
        }
        let params = Params::default();
        let mut tape = Tape::serve(&params, &mut self.workspace);
        let rows = tape.constant(x.rows(), x.cols, x.data);
        let gated = tape.swiglu(rows);
        Ok(all_bf16(tape.value(gated).to_vec()))
    }

    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Infallible> {
        self.product(a, b).map(all_bf16)
    }

    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, Infallible> {
        let mut out = vec![0.0; a.rows() * b.rows()];
        gemm(self.level, &mut out, a, b, &mut self.tiles);
        Ok(out)
    }

    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<f32>, Infallible> {
        let mut out = Vec::new();
        for (a, b) in a.iter().zip(b) {
            let first = out.len();
            out.resize(first + a.rows() * b.rows(), 0.0);
            gemm(self.level, &mut out[first..], a, b, &mut self.tiles);
        }
        Ok(out)
    }

    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<f32>, Infallible> {
        let CrossAttention { queries, keys, values, heads, rows, context } = *problem;
        let spans: Vec<Span> = (0..queries.rows() as u32)
            .map(|row| {
                let request = rows.partition_point(|&start| start <= row) - 1;
                Span { start: context[request], end: context[request + 1] }
            })
            .collect();
        let how = Attention { heads, groups: 1, spans: &spans, bias: None };
        Ok(self.attend(queries, keys.data, values.data, keys.cols, how))
    }

    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<f32>, Infallible> {
        let BeamAttention { queries, keys, values, heads, .. } = *problem;
        let length = keys.len() as u32;
        let (mut near, mut seen) = (Vec::new(), Vec::new());
        for beam in 0..queries.rows() {
            for (level, row) in problem.chain(beam).into_iter().enumerate() {
                near.extend_from_slice(keys[level].row(row));
                seen.extend_from_slice(values[level].row(row));
            }
        }
        let spans: Vec<Span> =
            (0..queries.rows() as u32).map(|b| Span { start: b * length, end: (b + 1) * length }).collect();
        let how = Attention { heads, groups: heads, spans: &spans, bias: None };
        Ok(self.attend(queries, &near, &seen, queries.cols, how))
    }

    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, Infallible> {
        let mut top = TopK::new(problem.k, TieOrder::ByIndex);
        let mut owners = vec![0; problem.codes.len()];
        for (parent, (&score, &node)) in (0u32..).zip(problem.scores.iter().zip(problem.nodes)) {
            let children = problem.offsets[node as usize] as usize..problem.offsets[node as usize + 1] as usize;
            let logits = problem.logits.row(parent as usize);
            if children.is_empty() {
                continue;
            }
            self.row.clear();
            self.row.extend_from_slice(logits);
            let (largest, log) = log_sum(self.level, &mut self.row);
            for child in children {
                let score = score + (logits[problem.codes[child] as usize] - (largest + log));
                owners[child] = parent;
                if !score.is_nan() {
                    top.push(score, child as u32);
                }
            }
        }
        let found = top.into_sorted().into_iter().map(|(score, child)| {
            let (parent, code) = (owners[child as usize], problem.codes[child as usize]);
            Extension { score: f64::from(score), parent, code, child }
        });
        Ok(found.collect())
    }

    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, Infallible> {
        let mut out = Vec::with_capacity(ids.len() * table.cols);
        ids.iter().for_each(|&id| out.extend_from_slice(table.row(id as usize)));
        Ok(out)
    }

    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, Infallible> {
        let ItemSearch { queries, table, codes, candidates, k } = *problem;
        let scan = Quantised::new(self.level, Format::E4m3, Scaling::Rows, queries.data, queries.rows(), queries.cols);
        let scores = self.product(&scan, codes)?;
        let mut found = Vec::new();
        for query in 0..queries.rows() {
            let mut passed = TopK::new(candidates, TieOrder::ByIndex);
            let scores = &scores[query * table.rows()..(query + 1) * table.rows()];
            (0..).zip(scores).for_each(|(item, &score)| passed.push(score, item));
            let mut best = TopK::new(k, TieOrder::ByIndex);
            for (_, item) in passed.into_sorted() {
                best.push(reduce::dot(self.level, queries.row(query), table.row(item as usize)), item);
            }
            found.push(best.into_sorted().into_iter().map(|(score, item)| (f64::from(score), item)).collect());
        }
        Ok(found)
    }
}
