//! The device's kernels behind the trait that the CPU's and the reference's are behind.
//!
//! In: host matrices. Out: host matrices: every call uploads, launches, downloads and waits. For correctness only; what is
//! served goes through [`super::Graphs`]. Never run on a device.

#![allow(unsafe_code)] // `launch!`.

use super::CudaError;
use super::engine::{Engine, grid, launch};
use super::products::{Packed, by_block, grouped_f32, product_f32};
use cudarc::driver::CudaSlice;

use crate::bf16::{rounded, widened};
use crate::fp8::{BLOCK, Quantised, Scaling};
use crate::twins::{Arithmetic, BeamAttention, BeamStep, CrossAttention, Extension, ItemSearch, Kernels, Rows, Scaled};

/// Threads of the row-wise kernels, and rows and keys of a block of cross-attention.
const ROW_THREADS: u32 = 256;
const FOLDED: usize = 64;
/// Items a block of the scan looks at.
const CHUNK: usize = 4096;
/// A node that is none.
const NONE: u32 = u32::MAX;

/// The entry for a head's width.
fn by_width(width: usize, narrow: &'static str, wide: &'static str) -> Result<&'static str, CudaError> {
    match width {
        64 => Ok(narrow),
        128 => Ok(wide),
        _ => Err(CudaError::new(wide, format!("no kernel for heads of width {width}"))),
    }
}

fn shape(problem: &str) -> CudaError {
    CudaError::new(problem, "no kernel for this shape")
}

/// The entry for a scaling.
fn by_scaling(scaling: Scaling, rows: &'static str, tiles: &'static str) -> Result<&'static str, CudaError> {
    match scaling {
        Scaling::Rows => Ok(rows),
        Scaling::Tiles => Ok(tiles),
        other => Err(CudaError::new(rows, format!("no kernel for scales {other:?}"))),
    }
}

/// Memory that a quantising kernel fills.
struct Codes {
    codes: CudaSlice<u8>,
    scales: CudaSlice<f32>,
    rows: usize,
    cols: usize,
    width: usize,
}

impl Codes {
    fn new(engine: &Engine, rows: usize, cols: usize, scaling: Scaling) -> Result<Self, CudaError> {
        let width = if scaling == Scaling::Tiles { BLOCK } else { cols.max(1) };
        let (codes, scales) = (engine.zeros(rows * cols)?, engine.zeros(rows * cols.div_ceil(width))?);
        Ok(Self { codes, scales, rows, cols, width })
    }

    fn download(&self, engine: &Engine) -> Result<Scaled, CudaError> {
        let Self { rows, cols, width, .. } = *self;
        let codes = engine.download(&self.codes, rows * cols)?;
        let scales = engine.download(&self.scales, rows * cols.div_ceil(width))?;
        Ok(Scaled { width, cols, codes, scales })
    }
}

impl Kernels for Engine {
    type Number = f32;
    type Error = CudaError;

    fn arithmetic(&self) -> Arithmetic {
        Arithmetic::TensorCore
    }

    fn quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, CudaError> {
        let entry = by_scaling(scaling, "quantise_f32", "quantise_f32_tiles")?;
        let mut made = Codes::new(self, x.rows(), x.cols, scaling)?;
        if made.rows > 0 {
            let (data, cols) = (self.upload(x.data)?, x.cols as i32);
            let grid = grid((made.rows, 1, 1), ROW_THREADS, 4 * x.cols);
            launch!(self, entry, grid, [&data, &mut made.codes, &mut made.scales, &cols])?;
        }
        made.download(self)
    }

    fn rms_norm_quantise(&mut self, x: Rows<'_>, gain: &[f32], scaling: Scaling) -> Result<Scaled, CudaError> {
        let entry = by_scaling(scaling, "rmsnorm_quantise", "rmsnorm_quantise_tiles")?;
        let mut made = Codes::new(self, x.rows(), x.cols, scaling)?;
        if made.rows > 0 {
            let (data, gain) = (self.upload(x.data)?, self.upload(gain)?);
            let (cols, epsilon) = (x.cols as i32, 1e-6_f32);
            let grid = grid((made.rows, 1, 1), ROW_THREADS, 4 * x.cols);
            launch!(self, entry, grid, [&data, &gain, &mut made.codes, &mut made.scales, &cols, &epsilon])?;
        }
        made.download(self)
    }

    fn swiglu_quantise(&mut self, x: Rows<'_>, scaling: Scaling) -> Result<Scaled, CudaError> {
        let entry = by_scaling(scaling, "swiglu_quantise", "swiglu_quantise_tiles")?;
        let mut made = Codes::new(self, x.rows(), x.cols / 2, scaling)?;
        if made.rows > 0 {
            let (data, cols) = (self.upload(x.data)?, made.cols as i32);
            let grid = grid((made.rows, 1, 1), ROW_THREADS, 4 * made.cols);
            launch!(self, entry, grid, [&data, &mut made.codes, &mut made.scales, &cols])?;
        }
        made.download(self)
    }

    fn quantise_bf16(&mut self, x: Rows<'_>) -> Result<Scaled, CudaError> {
        let mut made = Codes::new(self, x.rows(), x.cols, Scaling::Rows)?;
        if made.rows > 0 {
            let (data, cols) = (self.upload(&rounded(x.data))?, x.cols as i32);
            let grid = grid((made.rows, 1, 1), ROW_THREADS, 4 * x.cols);
            launch!(self, "quantise_bf16", grid, [&data, &mut made.codes, &mut made.scales, &cols])?;
        }
        made.download(self)
    }

    fn rms_norm(&mut self, x: Rows<'_>, gain: &[f32]) -> Result<Vec<f32>, CudaError> {
        if x.rows() == 0 {
            return Ok(Vec::new());
        }
        let (data, gain, mut out) = (self.upload(x.data)?, self.upload(gain)?, self.zeros::<u16>(x.data.len())?);
        let (cols, epsilon) = (x.cols as i32, 1e-6_f32);
        let grid = grid((x.rows(), 1, 1), ROW_THREADS, 4 * x.cols);
        launch!(self, "rmsnorm_bf16", grid, [&data, &gain, &mut out, &cols, &epsilon])?;
        Ok(widened(&self.download(&out, x.data.len())?))
    }

    fn swiglu(&mut self, x: Rows<'_>) -> Result<Vec<f32>, CudaError> {
        if x.rows() == 0 {
            return Ok(Vec::new());
        }
        let (data, mut out) = (self.upload(x.data)?, self.zeros::<u16>(x.data.len() / 2)?);
        let cols = (x.cols / 2) as i32;
        launch!(self, "swiglu_bf16", grid((x.rows(), 1, 1), ROW_THREADS, 0), [&data, &mut out, &cols])?;
        Ok(widened(&self.download(&out, x.data.len() / 2)?))
    }

    fn product_bf16(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, CudaError> {
        let (m, n, k) = (a.rows(), b.rows(), a.cols());
        if m * n == 0 {
            return Ok(Vec::new());
        }
        if by_block(a, b)? {
            return Err(shape("product in bf16"));
        }
        let (a, b, mut out) = (Packed::new(self, &[a], k)?, Packed::new(self, &[b], k)?, self.zeros::<u16>(m * n)?);
        a.times(self, &b, &mut out)?;
        Ok(widened(&self.download(&out, m * n)?))
    }

    fn product(&mut self, a: &Quantised, b: &Quantised) -> Result<Vec<f32>, CudaError> {
        let (m, n, k) = (a.rows(), b.rows(), a.cols());
        if m * n == 0 {
            return Ok(Vec::new());
        }
        let blocks = by_block(a, b)?;
        let (a, b) = (Packed::new(self, &[a], k)?, Packed::new(self, &[b], k)?);
        let mut out = self.zeros(m * n)?;
        product_f32(self, (&a, m), &b, &mut out, (blocks, false))?;
        self.download(&out, m * n)
    }

    fn grouped_product(&mut self, a: &[Quantised], b: &[Quantised]) -> Result<Vec<f32>, CudaError> {
        let Some(first) = b.first() else { return Ok(Vec::new()) };
        let (n, k, experts) = (first.rows(), first.cols(), b.len());
        if b.iter().any(|b| (b.rows(), b.cols()) != (n, k)) {
            return Err(shape("grouped product"));
        }
        let mut offsets = vec![0_u32];
        for a in a {
            offsets.push(offsets[offsets.len() - 1] + a.rows() as u32);
        }
        let m = offsets[offsets.len() - 1] as usize;
        if m * n == 0 {
            return Ok(Vec::new());
        }
        let (a, b): (Vec<&Quantised>, Vec<&Quantised>) = (a.iter().collect(), b.iter().collect());
        let (a, b, offsets) = (Packed::new(self, &a, k)?, Packed::new(self, &b, k)?, self.upload(&offsets)?);
        let mut out = self.zeros(m * n)?;
        grouped_f32(self, &a, &b, &offsets, experts, &mut out)?;
        self.download(&out, m * n)
    }

    fn cross_attention(&mut self, problem: &CrossAttention<'_>) -> Result<Vec<f32>, CudaError> {
        let CrossAttention { queries, keys, values, heads, rows, context } = *problem;
        let width = queries.cols / heads.max(1);
        let entry = by_width(width, "cross_attention_64", "cross_attention_128")?;
        let requests = rows.len() - 1;
        let beams = rows.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
        if beams == 0 {
            return Ok(Vec::new());
        }
        // The kernel's requests all have as many rows: shorter ones are filled up with zeros.
        let length = beams * queries.cols;
        let mut padded = vec![0.0; requests * length];
        for (to, pair) in padded.chunks_exact_mut(length).zip(rows.windows(2)) {
            let from = &queries.data[pair[0] as usize * queries.cols..pair[1] as usize * queries.cols];
            to[..from.len()].copy_from_slice(from);
        }
        let spans: Vec<u32> = context.windows(2).flat_map(|pair| [pair[0], pair[1]]).collect();
        let (q, k, v) =
            (self.upload(&rounded(&padded))?, self.upload(&rounded(keys.data))?, self.upload(&rounded(values.data))?);
        let (spans, mut out) = (self.upload(&spans)?, self.zeros::<u16>(padded.len())?);
        let (null, none) = (0_u64, 0_i32);
        let (count, heads_count, groups) = (beams as i32, heads as i32, 1_i32);
        let scale = 1.0 / (width as f32).sqrt();
        let grid = grid(((beams * heads).div_ceil(FOLDED), 1, requests), 128, 4 * FOLDED * (width + 8) * 2);
        launch!(
            self,
            entry,
            grid,
            [&q, &k, &v, &spans, &null, &null, &null, &mut out, &count, &heads_count, &groups, &none, &scale]
        )?;
        let found = widened(&self.download(&out, padded.len())?);
        let mut answer = Vec::with_capacity(queries.data.len());
        for (from, pair) in found.chunks_exact(length).zip(rows.windows(2)) {
            answer.extend_from_slice(&from[..(pair[1] - pair[0]) as usize * queries.cols]);
        }
        Ok(answer)
    }

    fn beam_attention(&mut self, problem: &BeamAttention<'_>) -> Result<Vec<f32>, CudaError> {
        let BeamAttention { queries, keys, values, heads, parents } = *problem;
        let (rows, width, levels) = (queries.rows(), queries.cols / heads.max(1), keys.len());
        let entry = by_width(width, "beam_attention_64", "beam_attention_128")?;
        if rows == 0 {
            return Ok(Vec::new());
        }
        // Every level gets the room of the largest.
        let capacity = keys.iter().map(Rows::rows).max().unwrap_or(0).max(rows);
        let spread = |levels: &[Rows<'_>]| {
            let mut all = vec![0_u16; levels.len() * capacity * queries.cols];
            for (to, from) in all.chunks_exact_mut(capacity * queries.cols).zip(levels) {
                to[..from.data.len()].copy_from_slice(&rounded(from.data));
            }
            all
        };
        let mut links = vec![0_u32; levels * capacity];
        for (to, from) in links.chunks_exact_mut(capacity).zip(parents) {
            to[..from.len()].copy_from_slice(from);
        }
        let (q, k, v) =
            (self.upload(&rounded(queries.data))?, self.upload(&spread(keys))?, self.upload(&spread(values))?);
        let (links, mut out) = (self.upload(&links)?, self.zeros::<u16>(queries.data.len())?);
        let (count, heads_count, room, level) = (rows as i32, heads as i32, capacity as u32, levels as i32 - 1);
        let scale = 1.0 / (width as f32).sqrt();
        let grid = grid(((rows * heads).div_ceil(4), 1, 1), 128, 0);
        launch!(self, entry, grid, [&q, &k, &v, &links, &mut out, &count, &heads_count, &room, &level, &scale])?;
        Ok(widened(&self.download(&out, queries.data.len())?))
    }

    fn beam_step(&mut self, problem: &BeamStep<'_>) -> Result<Vec<Extension>, CudaError> {
        let (beams, k) = (problem.nodes.len(), problem.k);
        if beams == 0 || k == 0 {
            return Ok(Vec::new());
        }
        if beams > 1024 || k > 1024 {
            return Err(shape("beam step"));
        }
        let room = problem.codes.len().max(1);
        let (logits, offsets) = (self.upload(problem.logits.data)?, self.upload(problem.offsets)?);
        let (codes, nodes) = (self.upload(problem.codes)?, self.upload(problem.nodes)?);
        let scores = self.upload(problem.scores)?;
        let (mut keys, mut slots) = (self.zeros::<u64>(room)?, self.zeros::<u32>(beams + 1)?);
        let mut status = self.zeros::<u32>(1)?;
        let (null, zero, nothing) = (0_u64, 0_u32, 0_i32);
        let (count, width, capacity, best) = (beams as i32, problem.logits.cols as i32, room as u32, k as i32);
        launch!(
            self,
            "beam_score",
            grid((beams, 1, 1), 256, 0),
            [
                &logits,
                &offsets,
                &codes,
                &null,
                &null,
                &nodes,
                &scores,
                &mut keys,
                &mut slots,
                &mut status,
                &count,
                &width,
                &capacity,
                &zero,
                &zero,
                &nothing
            ]
        )?;
        let (mut parents, mut chosen) = (self.zeros::<u32>(k)?, self.zeros::<u32>(k)?);
        let (mut children, mut totals) = (self.zeros::<u32>(k)?, self.zeros::<f32>(k)?);
        let mut counts = self.zeros::<u32>(1)?;
        launch!(
            self,
            "beam_select",
            grid((1, 1, 1), 1024, 0),
            [
                &keys,
                &slots,
                &offsets,
                &codes,
                &nodes,
                &mut parents,
                &mut chosen,
                &mut children,
                &mut totals,
                &mut counts,
                &count,
                &best,
                &capacity
            ]
        )?;
        let found = self.download(&counts, 1)?[0] as usize;
        let (parents, chosen) = (self.download(&parents, k)?, self.download(&chosen, k)?);
        let (children, totals) = (self.download(&children, k)?, self.download(&totals, k)?);
        let of = |at: usize| {
            let (parent, code, child) = (parents[at], chosen[at], children[at]);
            Extension { score: f64::from(totals[at]), parent, code, child }
        };
        Ok((0..found.min(k)).map(of).filter(|extension| extension.child != NONE).collect())
    }

    fn embedding_gather(&mut self, table: Rows<'_>, ids: &[u32]) -> Result<Vec<f32>, CudaError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (data, rows) = (self.upload(table.data)?, self.upload(ids)?);
        let (mut out, mut status) = (self.zeros::<f32>(ids.len() * table.cols)?, self.zeros::<u32>(1)?);
        let (known, cols, scale) = (table.rows() as u32, table.cols as i32, 1.0_f32);
        let grid = grid((ids.len(), 1, 1), 128, 0);
        launch!(self, "embedding_gather_f32", grid, [&data, &rows, &mut out, &mut status, &known, &cols, &scale])?;
        self.download(&out, ids.len() * table.cols)
    }

    fn item_top_k(&mut self, problem: &ItemSearch<'_>) -> Result<Vec<Vec<(f64, u32)>>, CudaError> {
        let ItemSearch { queries, table, codes, candidates, k } = *problem;
        let (count, items, dim) = (queries.rows(), table.rows(), table.cols);
        if count == 0 || items == 0 {
            return Ok(vec![Vec::new(); count]);
        }
        if !dim.is_multiple_of(4) || !(k..=1024).contains(&candidates) {
            return Err(shape("item search"));
        }
        let chunks = items.div_ceil(CHUNK);
        let (q, t) = (self.upload(queries.data)?, self.upload(table.data)?);
        let (bytes, scales) = (self.upload(codes.codes())?, self.upload(codes.scales())?);
        let (mut keys, mut status) = (self.zeros::<u64>(count * chunks * candidates)?, self.zeros::<u32>(1)?);
        let (null, zero) = (0_u64, 0_u32);
        let (queries_count, all, width, kept) = (count as i32, items as u32, dim as i32, candidates as i32);
        launch!(
            self,
            "item_scan",
            grid((chunks, count.div_ceil(4), 1), 1024, 65_536 + 16 * dim),
            [&q, &bytes, &scales, &null, &mut keys, &mut status, &queries_count, &all, &width, &kept, &zero]
        )?;
        let (mut found, mut totals) = (self.zeros::<u32>(count * k)?, self.zeros::<f32>(count * k)?);
        let mut counts = self.zeros::<u32>(count)?;
        let (parts, best) = (chunks as u32, k as i32);
        launch!(
            self,
            "item_rerank",
            grid((count, 1, 1), 1024, 0),
            [&q, &t, &keys, &mut found, &mut totals, &mut counts, &mut status, &width, &parts, &kept, &best]
        )?;
        let (found, totals) = (self.download(&found, count * k)?, self.download(&totals, count * k)?);
        let counts = self.download(&counts, count)?;
        let of = |query: usize| {
            let range = query * k..query * k + (counts[query] as usize).min(k);
            range.map(|at| (f64::from(totals[at]), found[at])).collect()
        };
        Ok((0..count).map(of).collect())
    }
}
