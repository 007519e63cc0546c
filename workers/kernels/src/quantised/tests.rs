//! Maps in eight bits on tapes: packed and not, tried and served.

use super::*;
use crate::fp8::{Format, Quantised};
use crate::{Activation, Init, Packed, ParamId, Params, Role, Tape, Var, Workspace};

const ROWS: usize = 9;
const COLS: usize = 40;
const WIDTH: usize = 70;

type Kind = fn(&[f32], usize, usize) -> QuantisedWeights;

fn e4m3(data: &[f32], rows: usize, cols: usize) -> QuantisedWeights {
    Quantised::new(Level::detect(), Format::E4m3, fp8::Scaling::Rows, data, rows, cols).into()
}

fn bytes(data: &[f32], rows: usize, cols: usize) -> QuantisedWeights {
    int8::Weights::new(int8::Scaling::Rows, data, rows, cols).into()
}

/// Each kind, with the least and the most error of a layer.
const KINDS: [(Kind, f64, f64); 2] = [(e4m3, 0.01, 0.05), (bytes, 1e-3, 0.02)];

/// A gated map, one back with bias, and rows.
fn params() -> (Params, [ParamId; 3], Vec<f32>) {
    let mut params = Params::default();
    let up = params.add("up", Role::Matrix, 2 * WIDTH, COLS, Init::Normal(0.3), 5);
    let down = params.add("down", Role::Matrix, COLS, WIDTH, Init::Normal(0.3), 5);
    let bias = params.add("bias", Role::Vector, 1, COLS, Init::Normal(1.0), 5);
    let x = params.add("x", Role::Matrix, ROWS, COLS, Init::Normal(1.0), 5);
    let x = params.get(x).data.clone();
    (params, [up, down, bias], x)
}

fn quantise(params: &mut Params, ids: &[ParamId], kind: Kind, make: fn(QuantisedWeights) -> QuantisedLinear) {
    for &id in ids {
        let tensor = params.get(id);
        let weights = kind(&tensor.data, tensor.rows, tensor.cols);
        params.quantise(id, make(weights));
    }
}

/// `x + silu(g) ∘ v` and `gelu(down)` of it.
fn run(tape: &mut Tape<'_>, [up, down, bias]: [ParamId; 3], x: &[f32]) -> Vec<f32> {
    let x = tape.constant(ROWS, COLS, x);
    let hidden = tape.linear_swiglu(x, up);
    let y = tape.linear_added(hidden, down, Some(bias), 0.0, x);
    let z = tape.linear_activated(hidden, down, Some(bias), Activation::Gelu);
    [tape.value(y), tape.value(z)].concat()
}

#[test]
fn packed_and_unpacked_maps_agree_and_are_near_f32() {
    for (kind, least, most) in KINDS {
        let (mut params, ids, x) = params();
        let mut workspace = Workspace::default();
        let exact = run(&mut Tape::serve(&params, &mut workspace), ids, &x);
        quantise(&mut params, &ids[..2], kind, QuantisedLinear::serving);
        assert!(ids[..2].iter().all(|&id| params.get(id).data.is_empty()), "the f32 weights are dropped");
        let packed = Packed::new(&params, &ids[1..2], &ids[..1]);
        assert_eq!(packed.maps().collect::<Vec<_>>(), &ids[..2]);
        for level in Level::all() {
            let mut workspace = Workspace::with_level(level);
            let plain = run(&mut Tape::serve(&params, &mut workspace), ids, &x);
            let fused = run(&mut Tape::serve_packed(&params, &packed, &mut workspace), ids, &x);
            assert!(plain.iter().zip(&fused).all(|(a, b)| (a - b).abs() < 1e-5), "{level:?}");
            let error = fp8::gates::relative_error(&exact, &fused, COLS);
            assert!(error > least && error < 2.0 * most, "{level:?} {error}: two layers");
            let made = workspace.buffers_made();
            for _ in 0..3 {
                assert_eq!(run(&mut Tape::serve_packed(&params, &packed, &mut workspace), ids, &x), fused);
            }
            assert_eq!(workspace.buffers_made(), made, "memory is used again");
        }
        let mut served = params.clone();
        packed.maps().for_each(|id| served.drop_values(id));
        assert!(ids[..2].iter().all(|&id| served.quantised(id).is_some_and(|it| it.weights().bytes() == 0)));
        let wanted = run(&mut Tape::serve_packed(&params, &packed, &mut workspace), ids, &x);
        assert_eq!(
            run(&mut Tape::serve_packed(&served, &packed, &mut workspace), ids, &x),
            wanted,
            "from panels alone"
        );
    }
}

#[test]
fn a_trial_answers_exactly_and_measures_what_serving_changes() {
    for (kind, least, most) in KINDS {
        let (plain, ids, x) = params();
        let mut workspace = Workspace::default();
        let exact = run(&mut Tape::serve(&plain, &mut workspace), ids, &x);
        let mut tried = plain.clone();
        quantise(&mut tried, &ids[..2], kind, QuantisedLinear::trial);
        let packed = Packed::new(&tried, &ids[1..2], &ids[..1]);
        assert_eq!(packed.maps().count(), 0, "what is tried is not packed");
        let same = run(&mut Tape::serve_packed(&tried, &packed, &mut workspace), ids, &x);
        assert!(exact.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-5));
        for id in &ids[..2] {
            let error = tried.quantised(*id).and_then(QuantisedLinear::rel_error).unwrap();
            assert!(error > least && error < most, "{error}");
        }
        quantise(&mut tried, &ids[..1], kind, QuantisedLinear::serving);
        assert_eq!(tried.quantised(ids[0]).and_then(QuantisedLinear::rel_error), None);
    }
}

/// One column that is a thousand times the others takes their bytes away; floats keep more of them.
#[test]
fn an_outlier_among_the_columns_shows_in_the_error() {
    let error = |kind: Kind, times: f32| {
        let (mut params, ids, mut x) = params();
        x.iter_mut().step_by(COLS).for_each(|x| *x *= times);
        params.get_mut(ids[0]).data.iter_mut().step_by(COLS).for_each(|w| *w /= times);
        quantise(&mut params, &ids[..1], kind, QuantisedLinear::trial);
        run(&mut Tape::serve(&params, &mut Workspace::default()), ids, &x);
        params.quantised(ids[0]).and_then(QuantisedLinear::rel_error).unwrap()
    };
    assert!(error(bytes, 1.0) < 0.02 && error(bytes, 1000.0) > 0.2, "{} {}", error(bytes, 1.0), error(bytes, 1000.0));
    assert!(error(e4m3, 1000.0) < 0.06 && error(e4m3, 1e6) > 0.2, "{} {}", error(e4m3, 1000.0), error(e4m3, 1e6));
}

/// Norms and gates that code what they make give the bits of the steps apart, at every level and of any number of rows,
/// and rows coded for some maps are refused by others.
#[test]
fn rows_coded_as_they_are_made_are_the_rows_coded_later() {
    for (kind, ..) in KINDS {
        let (mut params, [up, down, bias], x) = params();
        let gain = params.add("gain", Role::Vector, 1, COLS, Init::Normal(1.0), 5);
        let shift = params.add("shift", Role::Vector, 1, COLS, Init::Normal(1.0), 5);
        quantise(&mut params, &[up, down], kind, QuantisedLinear::serving);
        let packed = Packed::new(&params, &[down], &[up]);
        let x: Vec<f32> = (0..9).flat_map(|_| x.iter().copied()).collect();
        for level in Level::all() {
            for rows in [0, 1, 7, 16, 81] {
                let mut workspace = Workspace::with_level(level);
                let mut tape = Tape::serve_packed(&params, &packed, &mut workspace);
                let x = tape.constant(rows, COLS, &x[..rows * COLS]);
                let normed = [tape.rms_norm(x, gain), tape.layer_norm(x, gain, shift)];
                let coded = [tape.rms_norm_for(x, gain, &[up]), tape.layer_norm_for(x, gain, shift, &[up])];
                for (normed, coded) in normed.into_iter().zip(coded) {
                    assert_eq!(tape.shape(coded), (rows, COLS));
                    let (hidden, gated) = (tape.linear_swiglu(normed, up), tape.linear_swiglu_for(coded, up, down));
                    assert_eq!(tape.shape(gated), (rows, WIDTH));
                    let [later, made] = [hidden, gated].map(|it| tape.linear_added(it, down, Some(bias), 0.0, x));
                    assert_eq!(tape.value(later), tape.value(made), "{level:?} {rows}");
                }
            }
        }
        let mut workspace = Workspace::default();
        let mut tape = Tape::serve_packed(&params, &packed, &mut workspace);
        let x = tape.constant(3, COLS, &x[..3 * COLS]);
        let coded = tape.rms_norm_for(x, gain, &[up]);
        type Reader = fn(&mut Tape<'_>, Var, Var, [ParamId; 2]) -> Var;
        let readers: [(&str, Reader); 5] = [
            ("a map that rows were not coded for", |tape, _, coded, [_, down]| tape.linear(coded, down, None)),
            ("a map that adds them", |tape, x, coded, [up, down]| {
                let hidden = tape.linear_swiglu(x, up);
                tape.linear_added(hidden, down, None, 0.0, coded)
            }),
            ("a sum", |tape, x, coded, _| tape.add(x, coded)),
            ("a factor", |tape, _, coded, _| tape.scale(coded, 2.0)),
            ("whoever asks for values", |tape, _, coded, _| {
                assert!(tape.value(coded).is_empty());
                coded
            }),
        ];
        for (what, read) in readers {
            let read = std::panic::AssertUnwindSafe(|| read(&mut tape, x, coded, [up, down]));
            assert!(std::panic::catch_unwind(read).is_err(), "codes are read by {what}");
        }
    }
}

/// Scales of weights by block, of which a row's one scale covers several.
#[test]
fn weights_scaled_by_block_serve_as_any() {
    let mut params = Params::default();
    let (rows, cols, outputs) = (5, 300, 40);
    let weight = params.add("w", Role::Matrix, outputs, cols, Init::Normal(0.1), 5);
    let x = params.add("x", Role::Matrix, rows, cols, Init::Normal(1.0), 5);
    let x = params.get(x).data.clone();
    let run = |params: &Params, packed: bool, level| {
        let mut workspace = Workspace::with_level(level);
        let packed = Packed::new(params, &[weight][..usize::from(packed)], &[]);
        let mut found = Vec::new();
        // The second time in memory that was used.
        for _ in 0..2 {
            let mut tape = Tape::serve_packed(params, &packed, &mut workspace);
            let x = tape.constant(rows, cols, &x);
            let y = tape.linear(x, weight, None);
            found = tape.value(y).to_vec();
        }
        found
    };
    let exact = run(&params, false, Level::detect());
    let data = params.get(weight).data.clone();
    let weights = Quantised::new(Level::detect(), Format::E4m3, fp8::Scaling::Blocks, &data, outputs, cols);
    params.quantise(weight, QuantisedLinear::serving(weights));
    for level in Level::all() {
        for packed in [false, true] {
            let error = fp8::gates::relative_error(&exact, &run(&params, packed, level), outputs);
            assert!(error > 0.01 && error < 0.05, "{level:?} {packed} {error}");
        }
    }
}
