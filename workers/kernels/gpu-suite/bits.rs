//! How many elements of our E4M3 products have the very bits that the tensor core in bits predicts.
//!
//! In: an engine. Out: counts by case. What `fp8::emulate` models was found by others on other devices, so that on a device
//! the counts are figures and no verdict; the emulated driver models the same, so that there every element has to agree.

use recmesh_kernels::Level;
use recmesh_kernels::cuda::{CudaError, Engine};
use recmesh_kernels::fp8::emulate::{Promotion, gemm};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::twins::{Kernels, cases};
use serde_json::{Value, json};

use crate::checks::Checked;

/// Its name in reports and JSON.
pub const OPERATION: &str = "tensor_core_bits";

/// `m × n × k`: one stage and a ragged one, several tiles, the longest sum that is not promoted, one that is.
const SHAPES: [(usize, usize, usize); 5] =
    [(33, 40, 129), (130, 140, 512), (64, 128, 1792), (24, 40, 4096), (16, 32, 5376)];

/// Counts all cases.
pub fn run(engine: &mut Engine, checked: &mut Checked) -> Value {
    let scalings = [(Scaling::Rows, Scaling::Rows), (Scaling::Tiles, Scaling::Blocks)];
    let mut counts = Vec::new();
    for ((m, n, k), (left, right)) in SHAPES.into_iter().flat_map(|shape| scalings.map(|by| (shape, by))) {
        for (what, a, b) in [
            ("random", cases::normals(1, m * k), cases::normals(2, n * k)),
            ("outlying", cases::outlying(3, m, k), cases::outlying(4, n, k)),
        ] {
            let quantised =
                |scaling, data: &[f32], rows| Quantised::new(Level::detect(), Format::E4m3, scaling, data, rows, k);
            let (a, b) = (quantised(left, &a, m), quantised(right, &b, n));
            let case = format!("{what} {m} x {n} x {k}, {left:?} x {right:?}");
            counts.push(count(engine, checked, &case, (&a, &b)));
        }
    }
    Value::Array(counts)
}

fn count(engine: &mut Engine, checked: &mut Checked, case: &str, (a, b): (&Quantised, &Quantised)) -> Value {
    let found: Result<Vec<f32>, CudaError> = engine.product(a, b);
    let mut predicted = vec![0.0; a.rows() * b.rows()];
    let promotion = Promotion::over(a.cols());
    gemm(Level::detect(), &mut predicted, a, b, promotion);
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            checked.note(OPERATION, case, Some(error.to_string()));
            return json!({"case": case, "notMeasured": error.to_string()});
        }
    };
    let pairs = || found.iter().zip(&predicted);
    let equal = pairs().filter(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()).count();
    let largest = pairs().map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    println!("{OPERATION:22} {:>9} {equal:>11} {largest:>11.3e}  {case}", found.len());
    let differ = engine.device().is_emulated() && equal < found.len();
    checked.note(OPERATION, case, differ.then(|| format!("{equal} of {} elements have the bits", found.len())));
    json!({
        "case": case,
        "promoted": promotion == Promotion::Block || a.scaling() == Scaling::Tiles,
        "elements": found.len(),
        "equal": equal,
        "largestDifference": largest,
    })
}
