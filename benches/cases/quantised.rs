//! Linear maps in signed bytes beside the same in f32: the lazy decoder's shapes at beam 128 and SASRec's, fused with
//! what follows them as they serve. One thread, weights packed, rows coded within the time.

use std::hint::black_box;

use anyhow::{Result, ensure};
use recmesh_kernels::{Init, Packed, ParamId, Params, Role, Tape, Workspace, fp8::gates::relative_error, int8};

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
    fn new(mut params: Params, weight: ParamId, gated: bool, in_bytes: bool) -> Self {
        if in_bytes {
            let tensor = params.get(weight);
            let codes = int8::Weights::new(int8::Scaling::Rows, &tensor.data, tensor.rows, tensor.cols);
            params.quantise(weight, int8::Linear::serving(codes).into());
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

pub fn run(bench: &mut Bench) -> Result<()> {
    for (rows, depth, outputs, gated) in SHAPES {
        let mut params = Params::default();
        let weight = params.add("w", Role::Matrix, outputs, depth, Init::Normal(0.05), 3);
        let x = Random(12).numbers(rows * depth);
        let mut plain = Served::new(params.clone(), weight, gated, false);
        let mut bytes = Served::new(params, weight, gated, true);
        let exact = plain.run(&x, depth, <[f32]>::to_vec);
        let width = exact.len() / rows;
        let error = bytes.run(&x, depth, |found| relative_error(&exact, found, width));
        ensure!(error > 0.0 && error < 0.02, "in bytes the map is off by {error}");
        let sides = vec![
            Side::new("f32", || {
                plain.run(&x, depth, |y| black_box(y).len());
                Ok(())
            }),
            Side::new("signed bytes", || {
                bytes.run(&x, depth, |y| black_box(y).len());
                Ok(())
            }),
        ];
        let gate = if gated { ", gated" } else { "" };
        bench.compare(&format!("quantised {rows} x {depth} -> {outputs}{gate}"), "product", sides)?;
        let times = bench.median("f32") / bench.median("signed bytes");
        bench.note(format!("{times:.2} times as fast in bytes, relative error {error:.4}"));
    }
    Ok(())
}
