//! Weights rounded to bf16, once for all tapes of a training step.
//!
//! In: parameters, as operations ask for them. Out: packed right sides, or where no instruction multiplies bf16 rounded
//! copies in f32, shared by threads until [`Bf16Weights::clear`]. The f32 weights stay the master: nothing here is ever written back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::{Buffer, Pool};
use crate::cpu::Level;
use crate::cpu::bf16::pack::{Of, pack_right, words};
use crate::cpu::bf16::round_in;
use crate::{ParamId, Params};

/// Weights of a step in bf16. Tapes made by [`Tape::train_bf16`](crate::Tape::train_bf16) fill it as they go; whoever
/// changes the weights clears it.
#[derive(Debug, Default)]
pub struct Bf16Weights {
    made: Mutex<Made>,
}

/// Which rows of which tensor; packed as a matrix or its transpose, or neither.
type Key = (ParamId, usize, usize, Option<Of>);

#[derive(Debug, Default)]
struct Made {
    pool: Pool,
    copies: BTreeMap<Key, Arc<Buffer>>,
}

impl Bf16Weights {
    /// Forgets all weights and keeps their memory: they have changed.
    pub fn clear(&mut self) {
        let Made { pool, copies } = self.made.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nobody else has one: tapes give theirs back when an operation ends.
        std::mem::take(copies).into_values().filter_map(Arc::into_inner).for_each(|copy| pool.give(copy));
    }

    /// Rows of a tensor, or their transpose, as the right side of a product.
    pub(crate) fn right(&self, level: Level, params: &Params, id: ParamId, rows: Range<usize>, of: Of) -> Arc<Buffer> {
        let (count, cols) = (rows.len(), params.get(id).cols);
        let len = if of == Of::Matrix { words(cols, count) } else { words(count, cols) };
        self.copy(params, id, rows, (Some(of), len), |side, values| {
            pack_right(level, side.words_mut(), values, (count, cols), of);
        })
    }

    /// Rows of a tensor, rounded where they lie.
    pub(crate) fn rounded(&self, level: Level, params: &Params, id: ParamId, rows: Range<usize>) -> Arc<Buffer> {
        let len = rows.len() * params.get(id).cols;
        self.copy(params, id, rows, (None, len), |copy, values| {
            copy.copy_from_slice(values);
            round_in(level, copy);
        })
    }

    /// Made by whoever asks first.
    fn copy(
        &self,
        params: &Params,
        id: ParamId,
        rows: Range<usize>,
        (form, len): (Option<Of>, usize),
        make: impl FnOnce(&mut Buffer, &[f32]),
    ) -> Arc<Buffer> {
        // What a thread that panicked left behind is whole: copies enter when they are made.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Made { pool, copies } = &mut *made;
        let copy = copies.entry((id, rows.start, rows.end, form)).or_insert_with(|| {
            let tensor = params.get(id);
            let mut copy = pool.take(len);
            make(&mut copy, &tensor.data[rows.start * tensor.cols..rows.end * tensor.cols]);
            Arc::new(copy)
        });
        Arc::clone(copy)
    }
}
