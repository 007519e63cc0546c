//! The loops of attention over all runs, groups, heads and queries.
//!
//! In: a [`Problem`] and scratch memory. Out: rows, probabilities, gradients. A run is a stretch of queries whose spans
//! start at the same key, such as a causal sequence or the beams of a request: its keys are packed (transposed) once a
//! group, so that scores are computed across keys without horizontal sums.

use std::ops::Range;

use super::single::attend;
use super::tiles::{
    PANEL, QUERIES, Strided, StridedMut, gather, normalise, normalise_back, pack, product, scores, update,
};
use crate::cpu::elementwise::scale_in_place;
use crate::cpu::reduce::LANES;
use crate::cpu::{Level, kernel};

/// One attention, flattened.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub heads: usize,
    pub groups: usize,
    pub width: usize,
    /// Pairs of first key and end, one a query.
    pub spans: &'a [u32],
    pub bias: Option<Bias<'a>>,
}

/// A learned score by distance.
#[derive(Clone, Copy)]
pub(super) struct Bias<'a> {
    pub table: &'a [f32],
    pub cols: usize,
    pub query: &'a [u32],
    pub key: &'a [u32],
}

impl Bias<'_> {
    /// Where the score of a pair lies in the table.
    fn place(&self, head: usize, query: usize, key: usize) -> usize {
        head * self.cols + (self.query[query].saturating_sub(self.key[key]) as usize).min(self.cols - 1)
    }

    /// `scores` become `scale · scores + bias` for the keys from `start` on.
    fn add(&self, level: Level, scores: &mut [f32], scale: f32, (head, query, start): (usize, usize, usize)) {
        let row = &self.table[head * self.cols..][..self.cols];
        let keys = &self.key[start..start + scores.len()];
        add_by_distance(level, scores, scale, row, self.query[query], keys);
    }
}

kernel! {
    /// `scores[j] = scale · scores[j] + row[min(query − keys[j], last)]`, distance 0 when negative.
    fn add_by_distance<S>(scores: &mut [f32], scale: f32, row: &[f32], query: u32, keys: &[u32]) {
        let farthest = (row.len() - 1) as u32;
        for (score, &key) in scores.iter_mut().zip(keys) {
            // Within the row by the minimum.
            let bias = row[query.saturating_sub(key).min(farthest) as usize];
            *score = *score * scale + bias;
        }
    }
}

/// Memory for one run.
pub(super) struct Scratch<'a> {
    pub packed: &'a mut [f32],
    pub scores: &'a mut [f32],
    /// As long as `packed` going forward, as `scores` going back.
    pub more: &'a mut [f32],
}

/// Where gradients are added to (`dq` is written).
pub(super) struct Gradients<'a> {
    pub dq: &'a mut [f32],
    pub dk: &'a mut [f32],
    pub dv: &'a mut [f32],
    pub d_bias: &'a mut [f32],
}

/// Floats of scratch.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub packed: usize,
    pub scores: usize,
}

impl Sizes {
    /// What going forward needs.
    pub fn all(self) -> usize {
        2 * self.packed + self.scores
    }

    /// Memory of that size, cut.
    pub fn cut(self, memory: &mut [f32]) -> Scratch<'_> {
        let (packed, rest) = memory.split_at_mut(self.packed);
        let (more, scores) = rest.split_at_mut(self.packed);
        Scratch { packed, scores, more }
    }
}

pub(super) fn scratch_sizes(p: &Problem<'_>) -> Sizes {
    let longest = p.spans.chunks_exact(2).map(|s| (s[1] - s[0]) as usize).max().unwrap_or(0);
    let padded = longest.next_multiple_of(PANEL);
    Sizes { packed: padded * p.width, scores: QUERIES * padded }
}

/// A stretch of queries whose spans start at the same key.
struct Run {
    first: usize,
    end: usize,
    start: usize,
    longest: usize,
    padded: usize,
    /// Length of all its spans together.
    seen: usize,
}

/// Queries a run needs for a copy of its values to pay off: far rows of a wide matrix share few cache sets.
const GATHER: usize = 16;

/// A run's packed keys and the rows that go with them, and the head they are used for.
#[derive(Clone, Copy)]
struct Head<'a> {
    packed: &'a [f32],
    rows: Strided<'a>,
    head: usize,
    group: usize,
    /// Where the run's probabilities start.
    kept: usize,
}

impl<'a> Problem<'a> {
    /// The same for some of the queries.
    pub fn some(&self, queries: Range<usize>) -> Self {
        let cols = self.heads * self.width;
        let bias = self.bias.map(|bias| Bias { query: &bias.query[queries.clone()], ..bias });
        let (q, spans) =
            (&self.q[queries.start * cols..queries.end * cols], &self.spans[2 * queries.start..2 * queries.end]);
        Self { q, spans, bias, ..*self }
    }

    /// Where queries may be split, at this one or before it, so that each gives the same in bits: whole blocks of a run,
    /// and never one query alone, which goes another way than several.
    pub fn edge(&self, query: usize) -> usize {
        let start = |query: usize| self.spans[2 * query];
        let before = (0..query).rev().take_while(|&other| start(other) == start(query)).count();
        let after = (query..self.spans.len() / 2).take_while(|&other| start(other) == start(query)).count();
        let (first, own) = (query - before, before / QUERIES * QUERIES);
        let alone = own > 0 && before - own + after == 1;
        first + if alone { own - QUERIES } else { own }
    }

    fn span(&self, query: usize) -> (usize, usize) {
        let (start, end) = (self.spans[2 * query] as usize, self.spans[2 * query + 1] as usize);
        (start, end - start)
    }

    fn run(&self, first: usize) -> Run {
        let (start, longest) = self.span(first);
        let mut run = Run { first, end: first + 1, start, longest, padded: 0, seen: longest };
        while run.end < self.spans.len() / 2 {
            let (start, len) = self.span(run.end);
            if start != run.start {
                break;
            }
            run.longest = run.longest.max(len);
            run.seen += len;
            run.end += 1;
        }
        run.padded = run.longest.next_multiple_of(PANEL);
        run
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// Scales and adds learned scores, where there are some; gives by what the scores are still to be scaled.
    pub fn biased(&self, level: Level, scores: &mut [f32], head: usize, query: usize, start: usize) -> f32 {
        let Some(bias) = &self.bias else { return self.scale() };
        bias.add(level, scores, self.scale(), (head, query, start));
        1.0
    }

    /// One group's columns of keys or values, from the run's first key on.
    fn group_rows(&self, x: &'a [f32], run: &Run, group: usize) -> Strided<'a> {
        let stride = self.groups * self.width;
        Strided { data: &x[run.start * stride + group * self.width..], stride }
    }

    /// One head's columns of four query rows.
    fn head_rows<'x>(&self, x: &'x [f32], rows: [usize; QUERIES], head: usize) -> [&'x [f32]; QUERIES] {
        let stride = self.heads * self.width;
        rows.map(|row| &x[row * stride + head * self.width..][..self.width])
    }

    /// One head's columns of the queries of a block, to be written.
    fn head_out<'x>(&self, x: &'x mut [f32], block: &Block, head: usize) -> StridedMut<'x> {
        let stride = self.heads * self.width;
        // Ends with the last real row, so that repeated queries are not written.
        let end = (block.first + block.count - 1) * stride + (head + 1) * self.width;
        StridedMut { data: &mut x[block.first * stride + head * self.width..end], stride }
    }
}

/// Up to four queries; a short block repeats its last one, whose results are dropped.
struct Block {
    first: usize,
    count: usize,
    rows: [usize; QUERIES],
    /// Span lengths, and the largest.
    lens: [usize; QUERIES],
    len: usize,
}

impl Block {
    fn new(p: &Problem<'_>, first: usize, run: &Run) -> Self {
        let rows = std::array::from_fn(|r| (first + r).min(run.end - 1));
        let lens = rows.map(|row| p.span(row).1);
        let len = lens.into_iter().fold(0, usize::max);
        Self { first, count: QUERIES.min(run.end - first), rows, lens, len }
    }
}

/// Four equal rows of a slice, cut to `len`.
fn four(x: &[f32], stride: usize, len: usize) -> [&[f32]; QUERIES] {
    std::array::from_fn(|r| &x[r * stride..r * stride + len])
}

/// All rows of the output; probabilities too when there is room for them.
pub(super) fn forward_all(level: Level, p: Problem<'_>, s: Scratch<'_>, out: &mut [f32], probabilities: &mut [f32]) {
    let (mut first, mut kept) = (0, 0);
    while first < p.spans.len() / 2 {
        let run = p.run(first);
        first = run.end;
        if run.longest == 0 {
            let stride = p.heads * p.width;
            out[run.first * stride..run.end * stride].fill(0.0);
            continue;
        }
        if run.end - run.first == 1 {
            let kept_here = if probabilities.is_empty() { &mut [][..] } else { &mut probabilities[kept..] };
            attend(level, &p, (run.first, run.start, run.longest), s.scores, out, kept_here);
            kept += p.heads * run.seen;
            continue;
        }
        let packed = &mut s.packed[..run.padded * p.width];
        let gathered = &mut s.more[..run.longest * p.width];
        for group in 0..p.groups {
            pack(level, packed, p.group_rows(p.k, &run, group), p.width, run.longest);
            let mut rows = p.group_rows(p.v, &run, group);
            if run.end - run.first >= GATHER {
                gather(level, gathered, rows, p.width);
                rows = Strided { data: gathered, stride: p.width };
            }
            let per_group = p.heads / p.groups;
            for head in group * per_group..(group + 1) * per_group {
                let head = Head { packed, rows, head, group, kept };
                forward_head(level, &p, &run, head, s.scores, out, probabilities);
            }
        }
        kept += p.heads * run.seen;
    }
}

fn forward_head(
    level: Level,
    p: &Problem<'_>,
    run: &Run,
    at: Head<'_>,
    rows: &mut [f32],
    out: &mut [f32],
    probabilities: &mut [f32],
) {
    let (mut kept, padded, head) = (at.kept, run.padded, at.head);
    let rows = &mut rows[..QUERIES * padded];
    for first in (run.first..run.end).step_by(QUERIES) {
        let block = Block::new(p, first, run);
        let to = StridedMut { data: rows, stride: padded };
        scores(level, to, p.head_rows(p.q, block.rows, head), at.packed, block.len);
        for (r, row) in rows.chunks_exact_mut(padded).enumerate() {
            let len = block.lens[r];
            let scale = p.biased(level, &mut row[..len], head, block.rows[r], run.start);
            let (near, far) = row.split_at_mut(len.next_multiple_of(LANES));
            normalise(level, near, len, scale);
            // What is read of it further on are the keys of the block's longest row.
            far.fill(0.0);
            let seen = &near[..len];
            if r < block.count && !probabilities.is_empty() {
                probabilities[kept + head * seen.len()..][..seen.len()].copy_from_slice(seen);
                kept += p.heads * seen.len();
            }
        }
        let left = four(rows, padded, block.len);
        product(level, p.head_out(out, &block, head), left, at.rows, p.width);
    }
}

/// Adds to all gradients.
pub(super) fn backward_all(
    level: Level,
    p: Problem<'_>,
    s: Scratch<'_>,
    probabilities: &[f32],
    dy: &[f32],
    g: Gradients<'_>,
) {
    let mut g = g;
    let (mut first, mut kept) = (0, 0);
    while first < p.spans.len() / 2 {
        let run = p.run(first);
        first = run.end;
        if run.longest == 0 {
            continue;
        }
        for group in 0..p.groups {
            let packed = &mut s.packed[..run.padded * p.width];
            pack(level, packed, p.group_rows(p.v, &run, group), p.width, run.longest);
            let per_group = p.heads / p.groups;
            for head in group * per_group..(group + 1) * per_group {
                let rows = p.group_rows(p.k, &run, group);
                let head = Head { packed, rows, head, group, kept };
                backward_head(level, &p, &run, head, (s.scores, s.more), (probabilities, dy), &mut g);
            }
        }
        kept += p.heads * run.seen;
    }
}

fn backward_head(
    level: Level,
    p: &Problem<'_>,
    run: &Run,
    at: Head<'_>,
    (p_rows, d_scores): (&mut [f32], &mut [f32]),
    (probabilities, dy): (&[f32], &[f32]),
    g: &mut Gradients<'_>,
) {
    let (mut kept, padded, head) = (at.kept, run.padded, at.head);
    let (p_rows, d_scores) = (&mut p_rows[..QUERIES * padded], &mut d_scores[..QUERIES * padded]);
    let stride = p.groups * p.width;
    let from = run.start * stride + at.group * p.width;
    for first in (run.first..run.end).step_by(QUERIES) {
        let block = Block::new(p, first, run);
        let (d_rows, q_rows) = (p.head_rows(dy, block.rows, head), p.head_rows(p.q, block.rows, head));
        scores(level, StridedMut { data: d_scores, stride: padded }, d_rows, at.packed, block.len);
        for (r, (p_row, d_row)) in p_rows.chunks_exact_mut(padded).zip(d_scores.chunks_exact_mut(padded)).enumerate() {
            let len = if r < block.count { block.lens[r] } else { 0 };
            p_row[len..].fill(0.0);
            d_row[len..].fill(0.0);
            let (p_row, d_row) = (&mut p_row[..len], &mut d_row[..len]);
            p_row.copy_from_slice(&probabilities[kept + head * len..][..len]);
            kept += p.heads * len;
            normalise_back(level, d_row, p_row);
            if let Some(bias) = &p.bias {
                for (j, &d) in d_row.iter().enumerate() {
                    g.d_bias[bias.place(head, block.rows[r], run.start + j)] += d;
                }
            }
            scale_in_place(level, d_row, p.scale());
        }
        let (p_rows, d_scores) = (four(p_rows, padded, block.len), four(d_scores, padded, block.len));
        product(level, p.head_out(g.dq, &block, head), d_scores, at.rows, p.width);
        update(level, StridedMut { data: &mut g.dk[from..], stride }, d_scores, q_rows, p.width);
        update(level, StridedMut { data: &mut g.dv[from..], stride }, p_rows, d_rows, p.width);
    }
}
