//! What the layers of a search multiply: rows and weights in E4M3 by our kernels or cuBLASLt, or in bf16 by cuBLASLt.
//!
//! In: rows in f32 or bf16 as the kernels leave them, weights packed once. Out: products into memory that is already
//! there, in bf16, or in f32 written or added. Both precisions walk the same steps, so that their times compare. Launching
//! allocates nothing and waits for nothing. Never run on a device.

#![allow(unsafe_code)] // `launch!`.

use std::collections::HashMap;

use cudarc::driver::{CudaSlice, CudaViewMut};

use super::engine::{grid, launch};
use super::products::{product_bf16, product_f32};
use super::{Blas, CudaError, Engine, GemmTable, Multiplier, Operands, Packed, Plan, choice};

/// In what layers multiply. Heads are bf16 in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// E4M3 with a scale a row of either side.
    E4m3,
    /// bf16.
    Bf16,
}

/// Threads of the kernels that take a row a block.
const THREADS: u32 = 256;
/// Added to a mean square.
const EPSILON: f32 = 1e-6;

/// Weights `[out, in]` of a linear map.
pub(super) enum Weights {
    E4m3(Packed),
    Bf16 { values: CudaSlice<u16>, rows: usize, cols: usize },
}

/// Rows on their way into a product.
pub(super) enum Rows {
    E4m3(Packed),
    Bf16(CudaSlice<u16>),
}

impl Rows {
    /// Room for rows.
    pub fn room(engine: &Engine, precision: Precision, rows: usize, cols: usize) -> Result<Self, CudaError> {
        Ok(match precision {
            Precision::Bf16 => Self::Bf16(engine.zeros(rows * cols)?),
            Precision::E4m3 => Self::E4m3(Packed::room(engine, rows, cols)?),
        })
    }

    /// Takes the norm of rows of `x`.
    pub fn norm(
        &mut self,
        engine: &Engine,
        x: &CudaSlice<f32>,
        gain: &CudaSlice<f32>,
        (rows, cols): (usize, usize),
    ) -> Result<(), CudaError> {
        let (by_row, columns) = (grid((rows, 1, 1), THREADS, 4 * cols), cols as i32);
        match self {
            Self::E4m3(Packed { codes, scales, .. }) => {
                launch!(engine, "rmsnorm_quantise", by_row, [x, gain, &mut *codes, &mut *scales, &columns, &EPSILON])
            }
            Self::Bf16(values) => launch!(engine, "rmsnorm_bf16", by_row, [x, gain, &mut *values, &columns, &EPSILON]),
        }
    }

    /// Takes the gated halves of rows of `x`, which is twice as wide.
    pub fn gate(&mut self, engine: &Engine, x: &CudaSlice<f32>, (rows, cols): (usize, usize)) -> Result<(), CudaError> {
        let columns = cols as i32;
        match self {
            Self::E4m3(Packed { codes, scales, .. }) => {
                let by_row = grid((rows, 1, 1), THREADS, 4 * cols);
                launch!(engine, "swiglu_quantise", by_row, [x, &mut *codes, &mut *scales, &columns])
            }
            Self::Bf16(values) => {
                launch!(engine, "swiglu_bf16", grid((rows, 1, 1), THREADS, 0), [x, &mut *values, &columns])
            }
        }
    }

    /// Where attention leaves its bf16 rows: here, or in `spare` when they are still to be quantised.
    pub fn attended<'a>(&'a mut self, spare: &'a mut CudaSlice<u16>) -> &'a mut CudaSlice<u16> {
        match self {
            Self::E4m3(_) => spare,
            Self::Bf16(values) => values,
        }
    }

    /// Takes what attention left in `spare`.
    pub fn take(
        &mut self,
        engine: &Engine,
        spare: &CudaSlice<u16>,
        (rows, cols): (usize, usize),
    ) -> Result<(), CudaError> {
        let Self::E4m3(Packed { codes, scales, .. }) = self else { return Ok(()) };
        let (by_row, columns) = (grid((rows, 1, 1), THREADS, 4 * cols), cols as i32);
        launch!(engine, "quantise_bf16", by_row, [spare, &mut *codes, &mut *scales, &columns])
    }
}

/// The library's plans of all shapes that a search multiplies by it, and what was chosen where there was a choice.
#[derive(Debug, Default)]
pub(super) struct Plans {
    plans: HashMap<(Operands, [usize; 3]), Plan>,
    pub chosen: GemmTable,
}

impl Plans {
    /// Chooses an algorithm for `m × n × k`, once.
    pub fn add(&mut self, blas: &Blas, operands: Operands, shape: [usize; 3]) -> Result<(), CudaError> {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.plans.entry((operands, shape)) {
            let [m, n, k] = shape;
            entry.insert(blas.plan(operands, m, n, k)?);
        }
        Ok(())
    }

    /// Chooses between the library and our kernel for `m × n × k` of E4M3, once: by the table, else by their times.
    pub fn choose(
        &mut self,
        engine: &Engine,
        blas: &Blas,
        operands: Operands,
        shape: [usize; 3],
    ) -> Result<(), CudaError> {
        let known = self.chosen.get(operands, shape).or_else(|| blas.table().get(operands, shape));
        let mut chosen = match known {
            Some(chosen) => chosen,
            None => choice::measure(engine, blas, operands, shape)?,
        };
        // A table of another version of the library may name a shape that this one has not.
        if chosen == Multiplier::Library && self.add(blas, operands, shape).is_err() {
            chosen = Multiplier::Ours;
        }
        self.chosen.set(operands, shape, chosen);
        Ok(())
    }

    /// The library's plan where a product of E4M3 is its own.
    fn library(&self, operands: Operands, shape: [usize; 3]) -> Option<&Plan> {
        self.plans.get(&(operands, shape))
    }

    pub fn get(&self, operands: Operands, shape: [usize; 3]) -> Result<&Plan, CudaError> {
        let missing = || CudaError::new("product", format!("no plan of {operands:?} for {shape:?}"));
        self.plans.get(&(operands, shape)).ok_or_else(missing)
    }
}

/// What multiplies.
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    pub engine: &'a Engine,
    pub blas: &'a Blas,
    pub plans: &'a Plans,
}

impl Products<'_> {
    /// `out = a · bᵀ` over the first `m` rows, in bf16, into memory that begins where the view does.
    pub fn into_bf16(
        self,
        (a, m): (&Rows, usize),
        b: &Weights,
        out: &mut CudaViewMut<'_, u16>,
    ) -> Result<(), CudaError> {
        match (a, b) {
            (Rows::E4m3(a), Weights::E4m3(b)) => match self.plans.library(Operands::E4m3, [m, b.rows, b.cols]) {
                Some(plan) => self.blas.e4m3(self.engine, plan, (a, b), out, false),
                None => product_bf16(self.engine, (a, m), b, out),
            },
            (Rows::Bf16(a), Weights::Bf16 { values, rows, cols }) => {
                let plan = self.plans.get(Operands::Bf16, [m, *rows, *cols])?;
                self.blas.bf16(self.engine, plan, (a, values), out, false)
            }
            _ => Err(CudaError::new("product", "rows and weights are of two precisions")),
        }
    }

    /// The same in f32, written or added to what stands there.
    pub fn into_f32(
        self,
        (a, m): (&Rows, usize),
        b: &Weights,
        out: &mut CudaSlice<f32>,
        add: bool,
    ) -> Result<(), CudaError> {
        match (a, b) {
            (Rows::E4m3(a), Weights::E4m3(b)) => match self.plans.library(Operands::E4m3Single, [m, b.rows, b.cols]) {
                Some(plan) => self.blas.e4m3(self.engine, plan, (a, b), out, add),
                None => product_f32(self.engine, (a, m), b, out, (false, add)),
            },
            (Rows::Bf16(a), Weights::Bf16 { values, rows, cols }) => {
                let plan = self.plans.get(Operands::Bf16Single, [m, *rows, *cols])?;
                self.blas.bf16(self.engine, plan, (a, values), out, add)
            }
            _ => Err(CudaError::new("product", "rows and weights are of two precisions")),
        }
    }
}
