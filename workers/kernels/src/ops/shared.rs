//! Operations that a team shares give, in bits, what one thread gives; each is large enough to be shared.

use std::sync::Arc;

use crate::{
    Activation, Attention, Init, Level, Packed, ParamId, Params, QuantisedLinear, QuantisedWeights, RelativeBias, Role,
    Span, Tape, Team, Tensor, Var, Workspace, fp8, int8,
};

const DEPTH: usize = 96;
const ROWS: usize = 260;

/// What an operation is given: a value of [`ROWS`] rows of [`DEPTH`], another one, and parameters.
struct Given {
    params: Params,
    packed: Packed,
    square: ParamId,
    wide: ParamId,
    gated: ParamId,
    back: ParamId,
    bias: ParamId,
    wide_bias: ParamId,
    table: ParamId,
    distances: ParamId,
    one: Vec<f32>,
    other: Vec<f32>,
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| (crate::noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

impl Given {
    fn new() -> Self {
        let mut params = Params::default();
        let mut add = |name: &str, rows, cols| params.add(name, Role::Matrix, rows, cols, Init::Normal(0.3), 7);
        let [square, wide, gated] =
            [("square", DEPTH), ("wide", 200), ("gated", 300)].map(|(name, rows)| add(name, rows, DEPTH));
        let (bias, wide_bias) = (add("bias", 1, DEPTH), add("wide bias", 1, 200));
        let back = add("back", DEPTH, 150);
        let (table, distances) = (add("table", 500, DEPTH), add("distances", 4, 7));
        let mut packed = Packed::new(&params, &[square, wide, back], &[gated]);
        packed.add_classes(&params, table, 10..400);
        let (one, other) = (numbers(ROWS * DEPTH, 1), numbers(ROWS * DEPTH, 2));
        Self { params, packed, square, wide, gated, back, bias, wide_bias, table, distances, one, other }
    }

    /// The same with its linear maps in eight bits.
    fn quantised(kind: fn(&Tensor) -> QuantisedWeights) -> Self {
        let Self { mut params, square, wide, gated, back, .. } = Self::new();
        for id in [square, wide, gated, back] {
            params.quantise(id, QuantisedLinear::serving(kind(params.get(id))));
        }
        Self { packed: Packed::new(&params, &[square, wide, back], &[gated]), params, ..Self::new() }
    }

    /// What the operation makes, and in how many rounds.
    fn run(&self, threads: usize, op: impl Fn(&Self, &mut Tape<'_>, Var, Var) -> Var) -> (Vec<u32>, u64) {
        let team = Arc::new(Team::new(threads, &[]));
        let mut workspace = Workspace::with_team(Arc::clone(&team));
        let mut tape = Tape::serve_packed(&self.params, &self.packed, &mut workspace);
        let [one, other] = [&self.one, &self.other].map(|values| tape.constant(ROWS, DEPTH, values));
        let out = op(self, &mut tape, one, other);
        (tape.value(out).iter().map(|x| x.to_bits()).collect(), team.rounds())
    }

    /// The same from all teams, which share it.
    fn alike(&self, name: &str, op: impl Fn(&Self, &mut Tape<'_>, Var, Var) -> Var) {
        let (wanted, alone) = self.run(1, &op);
        assert_eq!(alone, 0, "{name}: one thread has nobody to share with");
        for threads in 2..5 {
            let (found, rounds) = self.run(threads, &op);
            assert!(rounds > 0, "{name} is not shared");
            assert!(found == wanted, "{name} differs on {threads} threads");
        }
    }
}

#[test]
fn products_rows_and_lookups_are_the_same_on_any_number_of_threads() {
    let bytes = |it: &Tensor| int8::Weights::new(int8::Scaling::Rows, &it.data, it.rows, it.cols).into();
    let floats = |it: &Tensor| {
        let (level, scaling) = (Level::detect(), fp8::Scaling::Rows);
        fp8::Quantised::new(level, fp8::Format::E4m3, scaling, &it.data, it.rows, it.cols).into()
    };
    for given in [Given::new(), Given::quantised(bytes), Given::quantised(floats)] {
        given.alike("linear", |g, tape, x, _| tape.linear(x, g.square, Some(g.bias)));
        given.alike("activated", |g, tape, x, _| tape.linear_activated(x, g.wide, Some(g.wide_bias), Activation::Gelu));
        given.alike("gated", |g, tape, x, _| tape.linear_swiglu(x, g.gated));
        given.alike("added", |g, tape, x, onto| tape.linear_added(x, g.square, None, 0.0, onto));
        given.alike("coded", |g, tape, x, _| {
            let x = tape.layer_norm_for(x, g.bias, g.bias, &[g.gated]);
            let x = tape.linear_swiglu_for(x, g.gated, g.back);
            tape.linear(x, g.back, None)
        });
    }
    let given = Given::new();
    given.alike("logits", |g, tape, x, _| tape.logits(x, g.table, 10..400));
    given.alike("layer norm", |g, tape, x, _| tape.layer_norm(x, g.bias, g.bias));
    given.alike("root-mean-square norm", |g, tape, x, _| tape.rms_norm(x, g.bias));
    let ids: Vec<u32> = (0..ROWS as u32).map(|at| at * 37 % 250).collect();
    given.alike("embedding", |g, tape, _, _| tape.embed(g.table, &ids));
    given.alike("gather", |_, tape, x, _| tape.gather(x, &ids));
    given.alike("stack", |_, tape, x, other| tape.stack(&[other, x, other]));
}

/// One row reads as many weights as many rows do.
#[test]
fn a_row_alone_is_shared_by_its_outputs() {
    let given = Given::new();
    let alone = |tape: &mut Tape<'_>, x| tape.gather(x, &[3]);
    given.alike("one row", |g, tape, x, _| {
        let row = alone(tape, x);
        tape.logits(row, g.table, 10..400)
    });
}

#[test]
fn attention_is_the_same_on_any_number_of_threads() {
    let given = Given::new();
    let rows = ROWS as u32;
    let causal = |length: u32| -> Vec<Span> {
        (0..rows).map(|row| Span { start: row / length * length, end: row + 1 }).collect()
    };
    let common = |length: u32| vec![Span { start: 2, end: 2 + length }; ROWS];
    let own: Vec<Span> = (0..rows).map(|row| Span { start: row, end: row + 1 }).collect();
    // Runs of 1, 2, 3, … queries, some without keys.
    let mut ragged: Vec<Span> = Vec::new();
    for run in 1.. {
        ragged.extend((0..run).map(|at| Span { start: run, end: if run % 5 == 0 { 0 } else { run + 3 * at + 1 } }));
        if ragged.len() >= ROWS {
            break;
        }
    }
    ragged.truncate(ROWS);
    let positions: Vec<u32> = (0..rows).map(|row| row % 9).collect();
    let kinds = [causal(50), causal(2), causal(5), causal(13), common(40), common(258), own, ragged];
    for (kind, spans) in kinds.iter().enumerate() {
        for biased in [false, true] {
            given.alike(&format!("attention {kind} {biased}"), |g, tape, x, other| {
                let bias = RelativeBias { table: g.distances, query: &positions, key: &positions };
                let how = Attention { heads: 4, groups: 4, spans, bias: biased.then_some(bias) };
                tape.attention(x, other, x, how)
            });
        }
    }
}

/// A tape that trains keeps to its own thread.
#[test]
fn training_is_not_shared() {
    let given = Given::new();
    let team = Arc::new(Team::new(2, &[]));
    let mut workspace = Workspace::with_team(Arc::clone(&team));
    let mut tape = Tape::train(&given.params, &mut workspace, 1);
    let x = tape.constant(ROWS, DEPTH, &given.one);
    let x = tape.rms_norm(x, given.bias);
    tape.attention(x, x, x, Attention { heads: 4, groups: 4, spans: &[Span { start: 0, end: 40 }; ROWS], bias: None });
    assert_eq!(team.rounds(), 0);
}
