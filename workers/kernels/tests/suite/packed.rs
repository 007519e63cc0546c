//! Tapes that serve packed weights against the operations that training composes, at every level.

use recmesh_kernels::{Activation, Attention, Init, Level, Packed, ParamId, Params, Role, Span, Tape, Workspace};

const WIDTH: usize = 24;
const HIDDEN: usize = 70;

struct Weights {
    params: Params,
    square: [ParamId; 3],
    up: ParamId,
    gate: ParamId,
    down: ParamId,
    bias: ParamId,
    out_bias: ParamId,
}

fn weights() -> Weights {
    let mut params = Params::default();
    let mut add = |name: &str, rows, cols| params.add(name, Role::Matrix, rows, cols, Init::Normal(0.3), 7);
    let square = ["query", "key", "value"].map(|name| add(name, WIDTH, WIDTH));
    let (up, gate) = (add("up", HIDDEN, WIDTH), add("gate", 2 * HIDDEN, WIDTH));
    let (down, bias, out_bias) = (add("down", WIDTH, HIDDEN), add("bias", 1, HIDDEN), add("out bias", 1, WIDTH));
    Weights { params, square, up, gate, down, bias, out_bias }
}

fn rows(count: usize) -> Vec<f32> {
    (0..count * WIDTH).map(|i| (i as f32 * 0.37 + (i % 7) as f32).sin()).collect()
}

fn close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{a} {b}");
    }
}

/// A feed-forward layer of each kind, with a residual, and the scores of some classes.
fn layers(tape: &mut Tape<'_>, w: &Weights, count: usize) -> Vec<f32> {
    let x = tape.constant(count, WIDTH, &rows(count));
    let mut outputs = Vec::new();
    for f in [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Sigmoid] {
        let hidden = tape.linear_activated(x, w.up, Some(w.bias), f);
        let y = tape.linear_added(hidden, w.down, Some(w.out_bias), 0.0, x);
        outputs.extend_from_slice(tape.value(y));
    }
    let hidden = tape.linear_swiglu(x, w.gate);
    let y = tape.linear(hidden, w.down, None);
    outputs.extend_from_slice(tape.value(y));
    if count > 0 {
        let scores = tape.logits(x, w.square[0], 5..12);
        outputs.extend_from_slice(tape.value(scores));
    }
    outputs
}

#[test]
fn packed_layers_are_the_layers_of_training() {
    let w = weights();
    let mut packed = Packed::new(&w.params, &[w.up, w.down], &[w.gate]);
    packed.add_classes(&w.params, w.square[0], 5..12);
    assert_eq!(packed.maps().collect::<Vec<_>>(), [w.up, w.gate, w.down]);
    let mut served = w.params.clone();
    packed.maps().for_each(|id| served.drop_values(id));
    for count in [0, 1, 5, 13, 50] {
        let wanted = layers(&mut Tape::train(&w.params, &mut Workspace::default(), 1), &w, count);
        for level in Level::all() {
            let mut workspace = Workspace::with_level(level);
            // The values that were packed are gone: nothing but the packed ones can be read.
            close(&layers(&mut Tape::serve_packed(&served, &packed, &mut workspace), &w, count), &wanted);
            let made = workspace.buffers_made();
            layers(&mut Tape::serve_packed(&served, &packed, &mut workspace), &w, count);
            assert_eq!(workspace.buffers_made(), made, "equal shapes take no new memory");
        }
    }
}

#[test]
#[should_panic(expected = "gated weights are packed for their gate")]
fn gated_weights_serve_their_gate_only() {
    let w = weights();
    let packed = Packed::new(&w.params, &[], &[w.gate]);
    let mut workspace = Workspace::default();
    let mut tape = Tape::serve_packed(&w.params, &packed, &mut workspace);
    let x = tape.constant(1, WIDTH, &rows(1));
    tape.linear(x, w.gate, None);
}

/// Ragged spans, an empty one among them, and far-off scores.
#[test]
fn rows_attended_before_their_projection_give_what_projected_ones_give() {
    let w = weights();
    let [query, key, value] = w.square;
    let spans = [(0, 9), (9, 10), (4, 4), (10, 50)].map(|(start, end)| Span { start, end });
    for size in [1.0, 1e3] {
        let all: Vec<f32> = rows(50).iter().map(|x| x * size).collect();
        for heads in [1, 2, 3] {
            for level in Level::all() {
                let mut workspace = Workspace::with_level(level);
                let mut tape = Tape::serve(&w.params, &mut workspace);
                let x = tape.constant(50, WIDTH, &all);
                let asked = tape.gather(x, &[8, 9, 3, 49]);
                let q = tape.linear(asked, query, None);
                let (k, v) = (tape.linear(x, key, None), tape.linear(x, value, None));
                let wanted = tape.attention(q, k, v, Attention { heads, groups: heads, spans: &spans, bias: None });
                let found = tape.attention_unprojected(q, x, (key, value), heads, &spans);
                let (found, wanted) = (tape.value(found), tape.value(wanted));
                let bound = 1e-4 * size;
                assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= bound), "{level:?} {heads} {size}");
                assert!(found[2 * WIDTH..3 * WIDTH].iter().all(|&x| x == 0.0), "an empty span gives zeros");
            }
        }
    }
}
