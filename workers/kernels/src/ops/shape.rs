//! Values put side by side, below each other, or cut.
//!
//! In: values. Out: copies in another layout; no arithmetic. Backward copies the other way.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::cpu::elementwise::add_to;
use crate::graph::{Backward, Forward, Rows, Value, Var};

/// Columns side by side. Saved: 0 the parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concat;

/// Rows below each other. Saved: 0 the parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack;

/// A range of columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    pub x: Var,
    pub start: usize,
}

fn save_parts(f: &mut Forward<'_>, out: &mut Value, parts: &[Var]) {
    if f.training {
        out.saved[0] = f.pool.take(parts.len());
        for (word, part) in out.saved[0].words_mut().iter_mut().zip(parts) {
            *word = part.0 as u32;
        }
    }
}

impl Concat {
    pub fn forward(self, f: &mut Forward<'_>, parts: &[Var]) -> Value {
        let rows = parts.first().map_or(0, |&p| f.value(p).rows);
        assert!(parts.iter().all(|&p| f.value(p).rows == rows), "values side by side have equal rows");
        let cols = parts.iter().map(|&p| f.value(p).cols).sum();
        let needs_grad = parts.iter().any(|&p| f.value(p).needs_grad);
        let mut out = f.output(rows, cols, needs_grad);
        let mut start = 0;
        for &part in parts {
            let x = f.value(part);
            if x.cols > 0 {
                for (to, from) in out.data.chunks_exact_mut(cols).zip(x.data.chunks_exact(x.cols)) {
                    to[start..start + x.cols].copy_from_slice(from);
                }
            }
            start += x.cols;
        }
        save_parts(f, &mut out, parts);
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let mut start = 0;
        for &part in y.saved[0].words() {
            let part = Var(part as usize);
            let cols = b.value(part).cols;
            if b.needs(part) && cols > 0 {
                let mut dx = b.pool.take(y.rows * cols);
                for (to, from) in dx.chunks_exact_mut(cols).zip(dy.chunks_exact(y.cols)) {
                    to.copy_from_slice(&from[start..start + cols]);
                }
                b.give(part, dx);
            }
            start += cols;
        }
        b.pool.give(dy);
    }
}

impl Stack {
    pub fn forward(self, f: &mut Forward<'_>, parts: &[Var]) -> Value {
        let cols = parts.first().map_or(0, |&p| f.value(p).cols);
        assert!(parts.iter().all(|&p| f.value(p).cols == cols), "values below each other have equal columns");
        let rows = parts.iter().map(|&p| f.value(p).rows).sum();
        let needs_grad = parts.iter().any(|&p| f.value(p).needs_grad);
        let mut out = f.output(rows, cols, needs_grad);
        let values = f.values;
        f.rows(&mut out.data, Rows::cheap(rows * cols, cols), 1, |range, out| {
            let (mut start, mut out) = (0, out);
            for x in parts.iter().map(|part| &values[part.0]) {
                let (first, end) = (range.start.clamp(start, start + x.rows), range.end.clamp(start, start + x.rows));
                let (to, rest) = out.split_at_mut((end - first) * cols);
                to.copy_from_slice(&x.data[(first - start) * cols..(end - start) * cols]);
                (start, out) = (start + x.rows, rest);
            }
        });
        save_parts(f, &mut out, parts);
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let mut start = 0;
        for &part in y.saved[0].words() {
            let part = Var(part as usize);
            let len = b.value(part).data.len();
            let level = b.level;
            if let Some(dx) = b.sum(part) {
                add_to(level, dx, &dy[start..start + len]);
            }
            start += len;
        }
        b.pool.give(dy);
    }
}

impl Columns {
    pub fn forward(self, f: &mut Forward<'_>, range: Range<usize>) -> Value {
        let x = f.value(self.x);
        assert!(range.start <= range.end && range.end <= x.cols, "columns {range:?} of {}", x.cols);
        let cols = range.len();
        let mut out = f.output(x.rows, cols, x.needs_grad);
        if cols > 0 {
            for (to, from) in out.data.chunks_exact_mut(cols).zip(x.data.chunks_exact(x.cols)) {
                to.copy_from_slice(&from[range.clone()]);
            }
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let (level, cols, all) = (b.level, y.cols, b.value(self.x).cols);
        if cols > 0
            && let Some(dx) = b.sum(self.x)
        {
            for (to, from) in dx.chunks_exact_mut(all).zip(dy.chunks_exact(cols)) {
                add_to(level, &mut to[self.start..self.start + cols], from);
            }
        }
        b.pool.give(dy);
    }
}
