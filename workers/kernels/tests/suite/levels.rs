//! Instruction sets agree: fused levels in bits, the portable one within a bound. Long shapes against the naive machine.

use recmesh_kernels::{Attention, Grads, Init, Level, ParamId, Params, Role, Span, Tape, Workspace};

use crate::machine::Machine;
use crate::naive::Naive;

/// A long case: more rows than a chunk, more classes than a block, spans longer than tiles.
struct Long {
    params: Params,
    rows: usize,
}

const CLASSES: usize = 2500;

impl Long {
    fn new() -> Self {
        let mut params = Params::default();
        params.add("x", Role::Embedding, 300, 24, Init::Normal(1.0), 1);
        params.add("table", Role::Embedding, CLASSES, 24, Init::Normal(0.5), 1);
        Self { params, rows: 300 }
    }

    fn loss<M: Machine>(&self, m: &mut M) -> (M::Var, M::Var) {
        let rows = self.rows as u32;
        let x = m.embed(ParamId(0), &(0..rows).collect::<Vec<_>>());
        // Causal blocks of 70 rows, then beams that share all.
        let spans: Vec<Span> = (0..rows)
            .map(|i| if i < 210 { Span { start: i / 70 * 70, end: i + 1 } } else { Span { start: 0, end: rows } })
            .collect();
        let y = m.attention(x, x, x, Attention { heads: 3, groups: 3, spans: &spans, bias: None });
        let targets: Vec<u32> = (0..rows).map(|i| i * 37 % CLASSES as u32).collect();
        let weights: Vec<f32> = (0..rows).map(|i| (i % 4) as f32 * 0.5).collect();
        let z = m.add(x, y);
        (y, m.softmax_loss(z, ParamId(1), 0..CLASSES, &targets, Some(&weights)))
    }
}

#[test]
fn long_attention_and_loss_equal_the_naive_ones() {
    let long = Long::new();
    let mut naive = Naive::new(&long.params);
    let (y, loss) = long.loss(&mut naive);
    for level in Level::all() {
        let mut workspace = Workspace::with_level(level);
        let mut tape = Tape::train(&long.params, &mut workspace, 0);
        let (found_y, found_loss) = long.loss(&mut tape);
        for (found, exact) in tape.value(found_y).iter().zip(&naive.values[y].data) {
            assert!((f64::from(*found) - exact).abs() < 1e-5, "{level:?} {found} {exact}");
        }
        let (found, exact) = (f64::from(tape.value(found_loss)[0]), naive.values[loss].data[0]);
        assert!((found - exact).abs() < 1e-5 * exact, "{level:?} {found} {exact}");
    }
}

#[test]
fn levels_agree() {
    let long = Long::new();
    let mut all = Vec::new();
    for level in Level::all() {
        let mut workspace = Workspace::with_level(level);
        let mut grads = Grads::zeros(&long.params);
        let mut tape = Tape::train(&long.params, &mut workspace, 0);
        let (_, loss) = long.loss(&mut tape);
        tape.backward(&[(loss, 0.01)], &mut grads);
        let mut values: Vec<f32> = vec![tape.value(loss)[0]];
        values.extend(grads.get(ParamId(0)));
        values.extend(grads.get(ParamId(1)));
        all.push((level, values));
    }
    for pair in all.windows(2) {
        let [(lower, a), (upper, b)] = pair else { unreachable!() };
        let bound = if *lower == Level::PORTABLE { 2e-5 } else { 0.0 };
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= bound * (1.0 + a.abs()), "{lower:?} {upper:?} {i}: {a} {b}");
        }
    }
}
