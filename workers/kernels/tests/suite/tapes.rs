//! What holds for tapes as a whole: memory, determinism, dropout, learning.

use recmesh_kernels::{Activation, Attention, Grads, Init, ParamId, Params, Role, Span, Tape, Var, Workspace};

/// A small sequence model: tied embeddings, one block, full softmax.
struct Toy {
    params: Params,
    items: ParamId,
    qkv: ParamId,
    gain: ParamId,
    bias: ParamId,
    up: ParamId,
    down: ParamId,
}

const ITEMS: usize = 50;
const WIDTH: usize = 32;

impl Toy {
    fn new() -> Self {
        let mut params = Params::default();
        let mut add = |name: &str, rows, cols, init| params.add(name, Role::Matrix, rows, cols, init, 11);
        let items = add("items", ITEMS, WIDTH, Init::Normal(0.1));
        let qkv = add("qkv", 3 * WIDTH, WIDTH, Init::Normal(0.1));
        let gain = add("gain", 1, WIDTH, Init::Ones);
        let bias = add("bias", 1, WIDTH, Init::Zeros);
        let up = add("up", 2 * WIDTH, WIDTH, Init::Normal(0.1));
        let down = add("down", WIDTH, WIDTH, Init::Normal(0.1));
        Self { params, items, qkv, gain, bias, up, down }
    }

    fn hidden(&self, tape: &mut Tape<'_>, lengths: &[u32]) -> (Var, Vec<u32>) {
        let inputs: Vec<u32> = lengths.iter().flat_map(|&n| (0..n).map(move |i| (i * 7 + n) % ITEMS as u32)).collect();
        let targets = inputs.iter().map(|&i| (i + 7) % ITEMS as u32).collect();
        let mut spans = Vec::new();
        let mut start = 0;
        for &n in lengths {
            spans.extend((0..n).map(|i| Span { start, end: start + i + 1 }));
            start += n;
        }
        let x = tape.embed(self.items, &inputs);
        let x = tape.dropout(x, 0.1);
        let y = tape.layer_norm(x, self.gain, self.bias);
        let qkv = tape.linear(y, self.qkv, None);
        let [q, k, v] = [0, 1, 2].map(|i| tape.columns(qkv, i * WIDTH..(i + 1) * WIDTH));
        let attended = tape.attention(q, k, v, Attention { heads: 2, groups: 2, spans: &spans, bias: None });
        let x = tape.add(x, attended);
        let y = tape.rms_norm(x, self.gain);
        let y = tape.linear(y, self.up, None);
        let y = tape.swiglu(y);
        let y = tape.linear(y, self.down, Some(self.bias));
        let y = tape.activate(y, Activation::Gelu);
        (tape.add(x, y), targets)
    }

    fn step(&self, workspace: &mut Workspace, grads: &mut Grads, lengths: &[u32], noise: u64) -> f32 {
        let mut tape = Tape::train(&self.params, workspace, noise);
        let (x, targets) = self.hidden(&mut tape, lengths);
        let full = tape.softmax_loss(x, self.items, 0..ITEMS, &targets, None);
        let sampled = tape.sampled_softmax_loss(x, self.items, &targets, &[1, 2, 3], None);
        let scale = 1.0 / targets.len() as f32;
        tape.backward(&[(full, scale), (sampled, 0.1 * scale)], grads);
        tape.value(full)[0] * scale
    }
}

#[test]
fn equal_shapes_take_no_new_memory() {
    let toy = Toy::new();
    let mut workspace = Workspace::default();
    let mut grads = Grads::zeros(&toy.params);
    for noise in 0..2 {
        toy.step(&mut workspace, &mut grads, &[3, 1, 9], noise);
    }
    let made = workspace.buffers_made();
    assert!(made > 10);
    for noise in 2..6 {
        toy.step(&mut workspace, &mut grads, &[9, 3, 1], noise);
    }
    assert_eq!(workspace.buffers_made(), made);
}

#[test]
fn serving_keeps_nothing_and_takes_less() {
    let toy = Toy::new();
    let (mut training, mut serving) = (Workspace::default(), Workspace::default());
    toy.hidden(&mut Tape::train(&toy.params, &mut training, 1), &[8, 8]);
    toy.hidden(&mut Tape::serve(&toy.params, &mut serving), &[8, 8]);
    assert!(serving.buffers_made() < training.buffers_made());
    let made = serving.buffers_made();
    toy.hidden(&mut Tape::serve(&toy.params, &mut serving), &[8, 8]);
    assert_eq!(serving.buffers_made(), made);
}

#[test]
fn released_values_make_room_and_change_nothing() {
    let toy = Toy::new();
    let (mut plain, mut released, mut training) = (Workspace::default(), Workspace::default(), Workspace::default());
    let run = |tape: &mut Tape<'_>, release: bool| {
        let (first, _) = toy.hidden(tape, &[8, 8]);
        let mark = tape.mark();
        let last = (0..20).fold(first, |x, _| {
            let x = tape.scale(x, 1.5);
            if release {
                tape.release(mark, &[x]);
            }
            x
        });
        (tape.value(first).to_vec(), tape.value(last).to_vec(), tape.shape(last), tape.mark())
    };
    let wanted = run(&mut Tape::serve(&toy.params, &mut plain), false);
    assert_eq!(run(&mut Tape::serve(&toy.params, &mut released), true), wanted);
    assert!(plain.buffers_made() - released.buffers_made() > 15);
    let mut tape = Tape::train(&toy.params, &mut training, 1);
    let mark = tape.mark();
    let x = tape.constant(1, 2, &[3.0, 4.0]);
    tape.release(mark, &[]);
    assert_eq!(tape.value(x), [3.0, 4.0], "a tape that trains keeps everything");
}

#[test]
fn equal_inputs_give_equal_bytes_and_noise_matters() {
    let toy = Toy::new();
    let run = |workspace: &mut Workspace, noise| {
        let mut grads = Grads::zeros(&toy.params);
        let loss = toy.step(workspace, &mut grads, &[5, 12, 2], noise);
        let bytes: Vec<u32> =
            (0..toy.params.tensors().len()).flat_map(|t| grads.get(ParamId(t)).iter().map(|x| x.to_bits())).collect();
        (loss.to_bits(), bytes)
    };
    let mut used = Workspace::default();
    let mut grads = Grads::zeros(&toy.params);
    // Stale contents of used buffers must not show.
    toy.step(&mut used, &mut grads, &[40, 3], 8);
    assert_eq!(run(&mut Workspace::default(), 7), run(&mut used, 7));
    assert_ne!(run(&mut used, 7).0, run(&mut used, 8).0);
}

#[test]
fn dropout_keeps_the_mean_and_is_off_when_serving() {
    let params = Params::default();
    let mut workspace = Workspace::default();
    let mut tape = Tape::train(&params, &mut workspace, 5);
    let ones = tape.constant(100, 100, &[1.0; 10_000]);
    let (first, second) = (tape.dropout(ones, 0.25), tape.dropout(ones, 0.25));
    let mean = tape.value(first).iter().sum::<f32>() / 1e4;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    assert!(tape.value(first).iter().all(|&x| x == 0.0 || (x - 4.0 / 3.0).abs() < 1e-6));
    assert_ne!(tape.value(first), tape.value(second), "each operation has its own mask");
    assert_eq!(tape.dropout(ones, 0.0), ones);
    let mut tape = Tape::serve(&params, &mut workspace);
    let ones = tape.constant(1, 3, &[1.0; 3]);
    assert_eq!(tape.dropout(ones, 0.9), ones);
}

#[test]
fn plain_descent_lowers_a_toy_loss() {
    let mut toy = Toy::new();
    let mut workspace = Workspace::default();
    let mut losses = Vec::new();
    for step in 0..50 {
        let mut grads = Grads::zeros(&toy.params);
        losses.push(toy.step(&mut workspace, &mut grads, &[20, 13, 1, 30], step));
        for (t, tensor) in toy.params.tensors_mut().iter_mut().enumerate() {
            for (value, gradient) in tensor.data.iter_mut().zip(grads.get(ParamId(t))) {
                *value -= 0.5 * gradient;
            }
        }
    }
    assert!((losses[0] - (ITEMS as f32).ln()).abs() < 0.5, "an untrained loss is near uniform: {}", losses[0]);
    assert!(losses[49] < 0.5 * losses[0], "{} to {}", losses[0], losses[49]);
}

#[test]
fn a_sampled_loss_over_very_many_negatives_is_the_sum_of_its_rows() {
    // So many that a chunk holds few rows: the 50 rows take two chunks.
    let negatives: Vec<u32> = (0..300_000).map(|i| i * 7 % ITEMS as u32).collect();
    let mut params = Params::default();
    let table = params.add("items", Role::Embedding, ITEMS, 4, Init::Normal(1.0), 3);
    let mut workspace = Workspace::default();
    let mut differentiate = |rows: &[u32], grads: &mut Grads| {
        let mut tape = Tape::train(&params, &mut workspace, 0);
        let x = tape.embed(table, rows);
        let targets: Vec<u32> = rows.iter().map(|row| (row + 1) % ITEMS as u32).collect();
        let loss = tape.sampled_softmax_loss(x, table, &targets, &negatives, None);
        tape.backward(&[(loss, 1.0)], grads);
        tape.value(loss)[0]
    };
    let (mut together, mut apart) = (Grads::zeros(&params), Grads::zeros(&params));
    let rows: Vec<u32> = (0..ITEMS as u32).collect();
    let loss = differentiate(&rows, &mut together);
    let sum: f32 = rows.chunks(10).map(|rows| differentiate(rows, &mut apart)).sum();
    assert!((loss - sum).abs() < 1e-4 * sum, "{loss} {sum}");
    assert!(together.get(table).iter().zip(apart.get(table)).all(|(a, b)| (a - b).abs() < 1e-2));
    assert!(apart.get(table).iter().any(|gradient| gradient.abs() > 1.0));
}

#[test]
fn logits_are_products_with_a_range_of_the_table() {
    let toy = Toy::new();
    let mut workspace = Workspace::default();
    let mut tape = Tape::serve(&toy.params, &mut workspace);
    let x = tape.embed(toy.items, &[4, 8]);
    let y = tape.logits(x, toy.items, 10..13);
    assert_eq!(tape.shape(y), (2, 3));
    let table = &toy.params.get(toy.items).data;
    for (i, a) in [4, 8].into_iter().enumerate() {
        for (j, b) in (10..13).enumerate() {
            let exact: f32 = (0..WIDTH).map(|c| table[a * WIDTH + c] * table[b * WIDTH + c]).sum();
            assert!((tape.value(y)[i * 3 + j] - exact).abs() < 1e-6);
        }
    }
}

#[test]
#[should_panic(expected = "only a tape made to train")]
fn a_serving_tape_does_not_go_backward() {
    let params = Params::default();
    let mut grads = Grads::zeros(&params);
    let mut workspace = Workspace::default();
    Tape::serve(&params, &mut workspace).backward(&[], &mut grads);
}
