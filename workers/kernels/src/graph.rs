//! What operations are given: the values so far on the way forward, the gradients so far on the way back.
//!
//! In: a tape's state, split into parts that may be borrowed side by side. Out: new values and gradients. Never knows
//! which operations there are.

use std::ops::Range;

use crate::buffer::{Buffer, Pool};
use crate::cpu::coded::{self, Coding};
use crate::cpu::{Level, elementwise};
use crate::team::Split;
use crate::{Bf16Weights, Grads, Packed, ParamId, Params, Team};

/// A value on a tape: `rows × cols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var(pub(crate) usize);

/// A computed value and what its operation keeps for the way back (each operation says what lies in which slot).
#[derive(Debug)]
pub(crate) struct Value {
    pub rows: usize,
    pub cols: usize,
    pub data: Buffer,
    pub saved: [Buffer; 3],
    /// Where rows were coded for the maps that read them: how. The codes lie in the first slot, and there is no data.
    pub coding: Option<Coding>,
    /// Whether a gradient has to reach it.
    pub needs_grad: bool,
}

/// The way forward.
pub(crate) struct Forward<'w> {
    pub values: &'w [Value],
    pub pool: &'w mut Pool,
    pub params: &'w Params,
    /// Weights that were packed for serving.
    pub packed: Option<&'w Packed>,
    pub level: Level,
    /// Whether anything has to be kept.
    pub training: bool,
    /// Weights in bf16, on a tape that multiplies so.
    pub bf16: Option<&'w Bf16Weights>,
    /// Who shares the work, on a tape that serves.
    pub team: Option<&'w Team>,
}

/// Multiplications that are worth a round of a team: some microseconds of them.
const ROUND: usize = 1 << 18;
/// Values read or written that are.
const MOVED: usize = 1 << 14;
/// Reading a weight takes as long as so many multiplications with it.
const READ: usize = 8;
/// Pieces a member: more than one, so that who is late leaves some to others.
const PIECES: usize = 2;

/// How much an operation is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    /// Multiplications.
    Products(usize),
    /// Values that go through some cheap function.
    Values(usize),
}

/// Rows that an operation computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub amount: Amount,
    /// Values of a row.
    pub width: usize,
    /// Values that a thread needs besides, with stale contents.
    pub scratch: usize,
}

impl Rows {
    /// Rows of `values` in all that are cheap to compute.
    pub fn cheap(values: usize, width: usize) -> Self {
        Self { amount: Amount::Values(values), width, scratch: 0 }
    }
}

impl Amount {
    /// A product of `rows` with weights.
    pub fn product(rows: usize, weights: usize) -> Self {
        Self::Products((rows + READ) * weights)
    }
}

impl<'w> Forward<'w> {
    /// A value that has numbers.
    ///
    /// # Panics
    /// If its rows were coded for the maps that read them: nothing else can.
    pub fn value(&self, x: Var) -> &'w Value {
        let value = &self.values[x.0];
        assert!(value.coding.is_none(), "rows that were coded for a map are read by something else");
        value
    }

    /// A value that has numbers or codes.
    pub fn value_or_codes(&self, x: Var) -> &'w Value {
        &self.values[x.0]
    }

    /// A value of these sizes with stale contents.
    pub fn output(&mut self, rows: usize, cols: usize, needs_grad: bool) -> Value {
        let data = self.pool.take(rows * cols);
        let needs_grad = self.training && needs_grad;
        Value { rows, cols, data, saved: Default::default(), coding: None, needs_grad }
    }

    /// Rows of coded numbers, which `work` writes: it is told which rows, where they go, and what memory it has besides.
    pub fn coded(
        &mut self,
        (rows, cols): (usize, usize),
        coding: Coding,
        (amount, scratch): (Amount, usize),
        work: impl Fn(Range<usize>, &mut [u32], &mut [f32]) + Sync,
    ) -> Value {
        let mut codes = self.pool.take(coding.room(rows));
        let how = Rows { amount, width: coding.stride(), scratch };
        self.rows_with(&mut codes[..rows * coding.stride()], how, coded::tile_of, |rows, out, memory| {
            work(rows, bytemuck::cast_slice_mut(out), memory);
        });
        let saved = [codes, Buffer::default(), Buffer::default()];
        Value { rows, cols, data: Buffer::default(), saved, coding: Some(coding), needs_grad: false }
    }

    /// The team, where there is one and the operation is worth a round of it.
    pub fn team(&self, amount: Amount) -> Option<&'w Team> {
        self.team.filter(|team| {
            team.threads() > 1
                && !team.taken()
                && match amount {
                    Amount::Products(count) => count >= ROUND,
                    Amount::Values(count) => count >= MOVED,
                }
        })
    }

    /// Computes rows, shared among a team where there is one and it pays: `work` is told which rows, and writes them.
    /// Shared rows come in whole tiles of `tile`.
    pub fn rows(&mut self, out: &mut [f32], how: Rows, tile: usize, work: impl Fn(Range<usize>, &mut [f32]) + Sync) {
        self.rows_with(out, how, |row| row / tile * tile, |rows, out, _| work(rows, out));
    }

    /// The same with scratch memory for each thread, and split where `edge` says instead of at a row; it must not descend.
    pub fn rows_with(
        &mut self,
        out: &mut [f32],
        how: Rows,
        edge: impl Fn(usize) -> usize + Sync,
        work: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
    ) {
        let Rows { amount, width, scratch } = how;
        let rows = out.len().checked_div(width).unwrap_or(0);
        let team = self.team(amount).filter(|_| rows > 1);
        let mut memory = self.pool.take(scratch * team.map_or(1, Team::threads));
        match team {
            Some(team) => {
                let split = Split { width, pieces: PIECES * team.threads(), edge };
                team.rows(out, &mut memory, split, work);
            }
            None => work(0..rows, out, &mut memory),
        }
        self.pool.give(memory);
    }

    /// A 1×1 value.
    pub fn scalar(&mut self, value: f32, needs_grad: bool) -> Value {
        let mut out = self.output(1, 1, needs_grad);
        out.data[0] = value;
        out
    }

    /// The values of a parameter.
    pub fn param(&self, id: ParamId) -> &'w [f32] {
        &self.params.get(id).data
    }
}

/// The way back.
pub(crate) struct Backward<'w> {
    pub values: &'w [Value],
    pub slots: &'w mut [Option<Buffer>],
    pub pool: &'w mut Pool,
    pub params: &'w Params,
    pub grads: &'w mut Grads,
    pub level: Level,
    pub bf16: Option<&'w Bf16Weights>,
}

impl<'w> Backward<'w> {
    pub fn value(&self, x: Var) -> &'w Value {
        &self.values[x.0]
    }

    pub fn needs(&self, x: Var) -> bool {
        self.values[x.0].needs_grad
    }

    pub fn param(&self, id: ParamId) -> &'w [f32] {
        &self.params.get(id).data
    }

    /// Adds a whole gradient to that of `x` and takes the buffer.
    pub fn give(&mut self, x: Var, gradient: Buffer) {
        if !self.needs(x) {
            self.pool.give(gradient);
            return;
        }
        match &mut self.slots[x.0] {
            Some(sum) => {
                elementwise::add_to(self.level, sum, &gradient);
                self.pool.give(gradient);
            }
            slot @ None => *slot = Some(gradient),
        }
    }

    /// The gradient of `x` so far, to be added to; zeros at first. `None` when nobody needs it.
    pub fn sum(&mut self, x: Var) -> Option<&mut Buffer> {
        if !self.needs(x) {
            return None;
        }
        let len = self.values[x.0].data.len();
        let Self { slots, pool, .. } = self;
        Some(slots[x.0].get_or_insert_with(|| pool.zeros(len)))
    }
}
