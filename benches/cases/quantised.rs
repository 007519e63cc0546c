//! Linear maps in signed bytes beside the same in f32: the lazy decoder's shapes at beam 128 and SASRec's, fused with
//! what follows them as they serve. One thread, weights packed, rows coded within the time.

use std::hint::black_box;

use anyhow::{Result, ensure};
use recmesh_kernels::fp8::{self, gates::relative_error};
use recmesh_kernels::{
    Init, Level, Packed, ParamId, Params, QuantisedLinear, QuantisedWeights, Role, Tape, Tensor, Workspace, int8,
};

use super::random::Random;
use crate::measure::{Bench, Side};

/// Rows, inputs, outputs, and whether outputs are gates and values.
const SHAPES: [(usize, usize, usize, bool); 6] = [
    (128, 256, 2048, true),
    (128, 1024, 256, false),
    (128, 256, 256, false),
    (1, 256, 2048, true),
    (256, 64, 256, false),
    (256, 256, 64, false),
];

/// A map as it serves.
struct Served {
    params: Params,
    packed: Packed,
    weight: ParamId,
    gated: bool,
    workspace: Workspace,
}

impl Served {
    fn new(mut params: Params, weight: ParamId, gated: bool, codes: Option<fn(&Tensor) -> QuantisedWeights>) -> Self {
        if let Some(codes) = codes {
            let codes = codes(params.get(weight));
            params.quantise(weight, QuantisedLinear::serving(codes));
        }
        let (plain, gates): (&[ParamId], &[ParamId]) = if gated { (&[], &[weight]) } else { (&[weight], &[]) };
        let packed = Packed::new(&params, plain, gates);
        Self { params, packed, weight, gated, workspace: Workspace::default() }
    }

    fn run<T>(&mut self, x: &[f32], depth: usize, read: impl FnOnce(&[f32]) -> T) -> T {
        let mut tape = Tape::serve_packed(&self.params, &self.packed, &mut self.workspace);
        let x = tape.constant(x.len() / depth, depth, x);
        let y = if self.gated { tape.linear_swiglu(x, self.weight) } else { tape.linear(x, self.weight, None) };
        read(tape.value(y))
    }
}

fn in_bytes(tensor: &Tensor) -> QuantisedWeights {
    int8::Weights::new(int8::Scaling::Rows, &tensor.data, tensor.rows, tensor.cols).into()
}

fn in_e4m3(tensor: &Tensor) -> QuantisedWeights {
    let (level, format, scaling) = (Level::detect(), fp8::Format::E4m3, fp8::Scaling::Rows);
    fp8::Quantised::new(level, format, scaling, &tensor.data, tensor.rows, tensor.cols).into()
}

pub fn run(bench: &mut Bench) -> Result<()> {
    for (rows, depth, outputs, gated) in SHAPES {
        let mut params = Params::default();
        let weight = params.add("w", Role::Matrix, outputs, depth, Init::Normal(0.05), 3);
        let x = Random(12).numbers(rows * depth);
        let mut plain = Served::new(params.clone(), weight, gated, None);
        let mut bytes = Served::new(params.clone(), weight, gated, Some(in_bytes));
        let mut floats = Served::new(params, weight, gated, Some(in_e4m3));
        let exact = plain.run(&x, depth, <[f32]>::to_vec);
        let width = exact.len() / rows;
        let mut errors = [0.0; 2];
        for (error, side) in errors.iter_mut().zip([&mut bytes, &mut floats]) {
            *error = side.run(&x, depth, |found| relative_error(&exact, found, width));
        }
        ensure!(errors[0] > 0.0 && errors[0] < 0.02, "in bytes the map is off by {}", errors[0]);
        ensure!(errors[1] > 0.0 && errors[1] < 0.06, "in E4M3 the map is off by {}", errors[1]);
        let sides = [("f32", &mut plain), ("signed bytes", &mut bytes), ("E4M3", &mut floats)].map(|(name, served)| {
            let x = &x;
            Side::new(name, move || {
                served.run(x, depth, |y| black_box(y).len());
                Ok(())
            })
        });
        let gate = if gated { ", gated" } else { "" };
        bench.compare(&format!("quantised {rows} x {depth} -> {outputs}{gate}"), "product", sides.into())?;
        let times = |side| bench.median("f32") / bench.median(side);
        let (bytes, floats) = (times("signed bytes"), times("E4M3"));
        let [in_bytes, in_floats] = errors;
        bench.note(format!(
            "{bytes:.2} times as fast in bytes (error {in_bytes:.4}), {floats:.2} in E4M3 ({in_floats:.4})"
        ));
    }
    Ok(())
}
