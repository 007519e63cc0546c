//! Which of two E4M3 products a shape gets: our kernel's, or cuBLASLt's.
//!
//! ```text
//! table has the bucket ─► what it says
//!                    else ─► both are timed on the device, once, at warm-up ─► the faster
//! ```
//! In: a table, empty or another search's; a shape. Out: a [`Multiplier`]. Both round within the bounds of [`crate::twins`]
//! but not to the same bits: searches that must agree in bits share a table. Measures nothing where the table answers.
//! Never run on a device.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::products::{product_bf16, product_f32};
use super::{Blas, CudaError, Engine, Operands, Packed};

/// What multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplier {
    /// Our kernel.
    Ours,
    /// cuBLASLt.
    Library,
}

const NAMES: [(&str, Multiplier); 2] = [("ours", Multiplier::Ours), ("cublaslt", Multiplier::Library)];
const OUTPUTS: [(&str, Operands); 2] = [("bf16", Operands::E4m3), ("f32", Operands::E4m3Single)];

/// Rounds of each product that are timed, after one that is not.
const ROUNDS: u32 = 10;

/// What was chosen, by output and `m × n × k`; rows `m` in buckets of powers of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GemmTable(BTreeMap<(&'static str, [usize; 3]), Multiplier>);

fn key(operands: Operands, [m, n, k]: [usize; 3]) -> Option<(&'static str, [usize; 3])> {
    let output = OUTPUTS.iter().find(|(_, known)| *known == operands)?.0;
    Some((output, [m.next_power_of_two(), n, k]))
}

impl GemmTable {
    /// Its rows, in order, for reports.
    #[must_use]
    pub fn json(&self) -> Value {
        let name = |chosen: Multiplier| NAMES.iter().find(|(_, known)| *known == chosen).map(|(name, _)| *name);
        let row = |(key, chosen): (&(&str, [usize; 3]), &Multiplier)| {
            let (out, [m, n, k]) = *key;
            json!({"out": out, "m": m, "n": n, "k": k, "chosen": name(*chosen)})
        };
        self.0.iter().map(row).collect()
    }

    /// Notes a choice; products of bf16 have none.
    pub fn set(&mut self, operands: Operands, shape: [usize; 3], chosen: Multiplier) {
        if let Some(key) = key(operands, shape) {
            self.0.insert(key, chosen);
        }
    }

    /// What the bucket of a shape gets.
    #[must_use]
    pub fn get(&self, operands: Operands, shape: [usize; 3]) -> Option<Multiplier> {
        key(operands, shape).and_then(|key| self.0.get(&key).copied())
    }
}

/// The faster of the two for a shape, by the device's own time. The library where it has no product of this shape is no
/// choice.
///
/// # Errors
/// If the device fails.
pub(super) fn measure(
    engine: &Engine,
    blas: &Blas,
    operands: Operands,
    [m, n, k]: [usize; 3],
) -> Result<Multiplier, CudaError> {
    let Ok(plan) = blas.plan(operands, m, n, k) else { return Ok(Multiplier::Ours) };
    let (a, b) = (Packed::drawn(engine, m, k)?, Packed::drawn(engine, n, k)?);
    let mut single = engine.zeros::<f32>(m * n)?;
    let mut half = engine.zeros::<u16>(m * n)?;
    let wide = operands == Operands::E4m3Single;
    let ours = engine.time(ROUNDS, || {
        if wide {
            return product_f32(engine, (&a, m), &b, &mut single, (false, true));
        }
        product_bf16(engine, (&a, m), &b, &mut half.slice_mut(..))
    })?;
    let library = engine.time(ROUNDS, || {
        if wide {
            return blas.e4m3::<f32>(engine, &plan, (&a, &b), &mut single, true);
        }
        blas.e4m3::<u16>(engine, &plan, (&a, &b), &mut half, false)
    })?;
    Ok(if library < ours { Multiplier::Library } else { Multiplier::Ours })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_knows_buckets_of_rows() {
        let mut table = GemmTable::default();
        table.set(Operands::E4m3, [500, 1792, 1792], Multiplier::Library);
        table.set(Operands::E4m3Single, [1, 1792, 5376], Multiplier::Ours);
        table.set(Operands::Bf16, [500, 1792, 1792], Multiplier::Library);
        assert_eq!(table.get(Operands::E4m3, [257, 1792, 1792]), Some(Multiplier::Library));
        assert_eq!(table.get(Operands::E4m3, [256, 1792, 1792]), None);
        assert_eq!(table.get(Operands::E4m3Single, [1, 1792, 5376]), Some(Multiplier::Ours));
        assert_eq!(table.get(Operands::Bf16, [500, 1792, 1792]), None);
        let rows = table.json();
        assert_eq!(rows.as_array().map(Vec::len), Some(2));
        assert_eq!(rows[0], json!({"out": "bf16", "m": 512, "n": 1792, "k": 1792, "chosen": "cublaslt"}));
    }
}
