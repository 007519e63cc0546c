//! Weights rounded to bf16 and packed, once for all tapes of a training step.
//!
//! In: parameters, as operations ask for them. Out: packed right sides, shared by threads until [`Bf16Weights::clear`].
//! The f32 weights stay the master: nothing here is ever written back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::{Buffer, Pool};
use crate::cpu::Level;
use crate::cpu::bf16::pack::{Of, pack_right, words};
use crate::{ParamId, Params};

/// Weights of a step in bf16. Tapes made by [`Tape::train_bf16`](crate::Tape::train_bf16) fill it as they go; whoever
/// changes the weights clears it.
#[derive(Debug, Default)]
pub struct Bf16Weights {
    packed: Mutex<Packed>,
}

/// Which rows of which tensor, as a matrix or its transpose.
type Key = (ParamId, usize, usize, Of);

#[derive(Debug, Default)]
struct Packed {
    pool: Pool,
    sides: BTreeMap<Key, Arc<Buffer>>,
}

impl Bf16Weights {
    /// Forgets all weights and keeps their memory: they have changed.
    pub fn clear(&mut self) {
        let Packed { pool, sides } = self.packed.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nobody else has one: tapes give theirs back when an operation ends.
        std::mem::take(sides).into_values().filter_map(Arc::into_inner).for_each(|side| pool.give(side));
    }

    /// Rows of a tensor, or their transpose, as the right side of a product. Packed by whoever asks first.
    pub(crate) fn right(&self, level: Level, params: &Params, id: ParamId, rows: Range<usize>, of: Of) -> Arc<Buffer> {
        // What a thread that panicked left behind is whole: sides enter when they are packed.
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let Packed { pool, sides } = &mut *packed;
        let side = sides.entry((id, rows.start, rows.end, of)).or_insert_with(|| {
            let tensor = params.get(id);
            let (count, cols) = (rows.len(), tensor.cols);
            let len = if of == Of::Matrix { words(cols, count) } else { words(count, cols) };
            let mut side = pool.take(len);
            pack_right(level, side.words_mut(), &tensor.data[rows.start * cols..rows.end * cols], (count, cols), of);
            Arc::new(side)
        });
        Arc::clone(side)
    }
}
