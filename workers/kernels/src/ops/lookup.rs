//! Rows picked by index: embeddings, bags of embeddings, rows of a value.
//!
//! In: a table (or value) and indices. Out: rows, or sums of rows. Backward scatters in index order, so equal indices
//! add up in a fixed order.

use crate::ParamId;
use crate::buffer::Buffer;
use crate::cpu::elementwise::{add_scaled, add_to, scale_in_place};
use crate::graph::{Backward, Forward, Rows, Value, Var};

/// Rows of a table. Saved: 0 the ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embed {
    pub table: ParamId,
}

impl Embed {
    pub fn forward(self, f: &mut Forward<'_>, ids: &[u32]) -> Value {
        let table = f.params.get(self.table);
        let mut out = f.output(ids.len(), table.cols, true);
        copy_rows(f, &mut out.data, &table.data, table.cols, ids);
        if f.training {
            out.saved[0] = f.pool.copy_words(ids);
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        scatter(b.level, b.grads.get_mut(self.table), &dy, y.cols, y.saved[0].words());
        b.pool.give(dy);
    }
}

/// Rows of a value. Saved: 0 the row numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gather {
    pub x: Var,
}

impl Gather {
    pub fn forward(self, f: &mut Forward<'_>, rows: &[u32]) -> Value {
        let x = f.value(self.x);
        let mut out = f.output(rows.len(), x.cols, x.needs_grad);
        copy_rows(f, &mut out.data, &x.data, x.cols, rows);
        if f.training {
            out.saved[0] = f.pool.copy_words(rows);
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let level = b.level;
        if let Some(dx) = b.sum(self.x) {
            scatter(level, dx, &dy, y.cols, y.saved[0].words());
        }
        b.pool.give(dy);
    }
}

/// Sums or means of rows of a table. Saved: 0 the ids, 1 the offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EmbedBag {
    pub table: ParamId,
    pub mean: bool,
}

impl EmbedBag {
    pub fn forward(self, f: &mut Forward<'_>, ids: &[u32], offsets: &[u32]) -> Value {
        assert!(!offsets.is_empty(), "offsets of bags have one entry more than there are bags");
        let table = f.params.get(self.table);
        let cols = table.cols;
        let mut out = f.output(offsets.len() - 1, cols, true);
        for (bag, row) in out.data.chunks_exact_mut(cols.max(1)).enumerate() {
            row.fill(0.0);
            let ids = &ids[offsets[bag] as usize..offsets[bag + 1] as usize];
            for &id in ids {
                add_to(f.level, row, &table.data[id as usize * cols..][..cols]);
            }
            if self.mean && ids.len() > 1 {
                scale_in_place(f.level, row, 1.0 / ids.len() as f32);
            }
        }
        if f.training {
            out.saved[0] = f.pool.copy_words(ids);
            out.saved[1] = f.pool.copy_words(offsets);
        }
        out
    }

    pub fn backward(self, y: &Value, dy: Buffer, b: &mut Backward<'_>) {
        let (ids, offsets, cols) = (y.saved[0].words(), y.saved[1].words(), y.cols);
        let grad = b.grads.get_mut(self.table);
        for (bag, row) in dy.chunks_exact(cols.max(1)).enumerate() {
            let ids = &ids[offsets[bag] as usize..offsets[bag + 1] as usize];
            let weight = if self.mean { 1.0 / ids.len().max(1) as f32 } else { 1.0 };
            for &id in ids {
                add_scaled(b.level, &mut grad[id as usize * cols..][..cols], weight, row);
            }
        }
        b.pool.give(dy);
    }
}

fn copy_rows(f: &mut Forward<'_>, out: &mut [f32], from: &[f32], cols: usize, rows: &[u32]) {
    f.rows(out, Rows::cheap(rows.len() * cols, cols), 1, |range, out| {
        for (out, &row) in out.chunks_exact_mut(cols.max(1)).zip(&rows[range]) {
            out.copy_from_slice(&from[row as usize * cols..][..cols]);
        }
    });
}

fn scatter(level: crate::cpu::Level, to: &mut [f32], dy: &[f32], cols: usize, rows: &[u32]) {
    for (dy, &row) in dy.chunks_exact(cols.max(1)).zip(rows) {
        add_to(level, &mut to[row as usize * cols..][..cols], dy);
    }
}
