//! Maps in signed bytes on tapes: packed and not, tried and served; weights that were kept come back or are refused.

use super::*;
use crate::{Activation, Init, Packed, ParamId, Params, QuantisedLinear, Role, Tape, Workspace};

const ROWS: usize = 9;
const COLS: usize = 40;
const WIDTH: usize = 70;

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

fn quantise(params: &mut Params, ids: &[ParamId], scaling: Scaling, make: fn(Weights) -> Linear) {
    for &id in ids {
        let tensor = params.get(id);
        let weights = Weights::new(scaling, &tensor.data, tensor.rows, tensor.cols);
        params.quantise(id, make(weights).into());
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
    let (mut params, ids, x) = params();
    let mut workspace = Workspace::default();
    let exact = run(&mut Tape::serve(&params, &mut workspace), ids, &x);
    quantise(&mut params, &ids[..2], Scaling::Rows, Linear::serving);
    assert!(ids[..2].iter().all(|&id| params.get(id).data.is_empty()), "the f32 weights are dropped");
    let packed = Packed::new(&params, &ids[1..2], &ids[..1]);
    assert_eq!(packed.maps().collect::<Vec<_>>(), &ids[..2]);
    for level in Level::all() {
        let mut workspace = Workspace::with_level(level);
        let plain = run(&mut Tape::serve(&params, &mut workspace), ids, &x);
        let fused = run(&mut Tape::serve_packed(&params, &packed, &mut workspace), ids, &x);
        assert!(plain.iter().zip(&fused).all(|(a, b)| (a - b).abs() < 1e-5), "{level:?}");
        let error = crate::fp8::gates::relative_error(&exact, &fused, COLS);
        assert!(error > 1e-3 && error < 0.02, "{level:?} {error}");
        let made = workspace.buffers_made();
        for _ in 0..3 {
            assert_eq!(run(&mut Tape::serve_packed(&params, &packed, &mut workspace), ids, &x), fused);
        }
        assert_eq!(workspace.buffers_made(), made, "memory is used again");
    }
}

#[test]
fn a_trial_answers_exactly_and_measures_what_serving_changes() {
    let (plain, ids, x) = params();
    let mut workspace = Workspace::default();
    let exact = run(&mut Tape::serve(&plain, &mut workspace), ids, &x);
    let mut tried = plain.clone();
    quantise(&mut tried, &ids[..2], Scaling::Rows, Linear::trial);
    let packed = Packed::new(&tried, &ids[1..2], &ids[..1]);
    assert_eq!(packed.maps().count(), 0, "what is tried is not packed");
    let same = run(&mut Tape::serve_packed(&tried, &packed, &mut workspace), ids, &x);
    assert!(exact.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-5));
    for id in &ids[..2] {
        let error = tried.quantised(*id).and_then(QuantisedLinear::rel_error).unwrap();
        assert!(error > 0.002 && error < 0.02, "{error}");
    }
    quantise(&mut tried, &ids[..1], Scaling::Rows, Linear::serving);
    assert_eq!(tried.quantised(ids[0]).and_then(QuantisedLinear::rel_error), None);
}

/// One column that is a thousand times the others takes their codes away.
#[test]
fn an_outlier_among_the_columns_shows_in_the_error() {
    let error = |times: f32| {
        let (mut params, ids, mut x) = params();
        x.iter_mut().step_by(COLS).for_each(|x| *x *= times);
        params.get_mut(ids[0]).data.iter_mut().step_by(COLS).for_each(|w| *w /= times);
        quantise(&mut params, &ids[..1], Scaling::Rows, Linear::trial);
        run(&mut Tape::serve(&params, &mut Workspace::default()), ids, &x);
        params.quantised(ids[0]).and_then(QuantisedLinear::rel_error).unwrap()
    };
    assert!(error(1.0) < 0.02 && error(1000.0) > 0.2, "{} {}", error(1.0), error(1000.0));
}

#[test]
fn weights_come_back_as_they_were_kept_or_not_at_all() {
    let (params, [up, ..], _) = params();
    let data = &params.get(up).data;
    for (scaling, scales) in [(Scaling::Rows, 2 * WIDTH), (Scaling::Tensor, 1)] {
        let weights = Weights::new(scaling, data, 2 * WIDTH, COLS);
        assert_eq!(weights.scales().len(), scales);
        assert!(weights.codes().contains(&127) || weights.codes().contains(&-127));
        let back = |codes: &[i8], scales: &[f32]| {
            Weights::from_parts(scaling, (2 * WIDTH, COLS), codes.to_vec(), scales.to_vec())
        };
        let (codes, scales) = (weights.codes().to_vec(), weights.scales().to_vec());
        assert_eq!(back(&codes, &scales), Some(weights.clone()));
        assert_eq!((back(&codes[1..], &scales), back(&codes, &scales[1..])), (None, None));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(back(&codes, &[&[bad], &scales[1..]].concat()), None);
        }
        assert_eq!(back(&[&[-128], &codes[1..]].concat(), &scales), None);
        for ((&w, near), at) in data.iter().zip(weights.dequantise()).zip(0..) {
            let scale = weights.scales()[if scales.len() == 1 { 0 } else { at / COLS }];
            assert!((w - near).abs() <= scale * 0.5001, "{at}");
        }
    }
    let odd = Weights::new(Scaling::Rows, &[1.0, f32::NAN, 0.0, 0.0, f32::INFINITY, 1.0], 3, 2);
    assert_eq!((odd.scales()[0].is_nan(), odd.scales()[1] > 0.0, odd.scales()[2].is_nan()), (true, true, true));
    assert_eq!(odd.dequantise()[2..4], [0.0, 0.0]);
}
