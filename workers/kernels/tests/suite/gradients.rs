//! Every operation's value and gradient, over ordinary, odd, single-row and empty shapes.

use std::collections::VecDeque;

use recmesh_kernels::{Activation, Attention, Init, ParamId, Params, RelativeBias, Role, Span, Tape, Workspace};

use crate::check::{Model, check, check_some, check_with_masks};
use crate::machine::Machine;

/// Parameters by name, drawn wide enough to leave linear regions.
fn params(shapes: &[(&str, usize, usize)]) -> (Params, Vec<ParamId>) {
    let mut params = Params::default();
    let ids = shapes.iter().map(|&(name, r, c)| params.add(name, Role::Matrix, r, c, Init::Normal(0.7), 3)).collect();
    (params, ids)
}

/// A model from a generic function: closures cannot be generic.
macro_rules! model {
    ($m:ident, ($($field:ident: $ty:ty = $value:expr),* $(,)?), $body:expr) => {{
        struct Local<'a> { $($field: $ty,)* marker: std::marker::PhantomData<&'a ()> }
        impl Model for Local<'_> {
            fn loss<M: Machine>(&self, $m: &mut M) -> M::Var {
                $(let $field = &self.$field;)*
                $body
            }
        }
        Local { $($field: $value,)* marker: std::marker::PhantomData }
    }};
}

fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).collect()
}

/// Ends a model: rows to one number each, then cross-entropy with soft labels and uneven weights.
fn probe<M: Machine>(m: &mut M, x: M::Var, rows: usize, weight: ParamId) -> M::Var {
    let logits = m.linear(x, weight, None);
    let labels: Vec<f32> = (0..rows).map(|i| (i % 5) as f32 / 4.0).collect();
    let weights: Vec<f32> = (0..rows).map(|i| 0.5 + (i % 3) as f32).collect();
    m.bce_loss(logits, &labels, Some(&weights))
}

#[test]
fn look_ups() {
    let (p, id) = params(&[("table", 7, 5), ("probe", 1, 5)]);
    let lists: [(&[u32], &[u32]); 3] = [(&[3, 3, 0, 6, 1], &[0, 2, 2, 5]), (&[4], &[0, 1]), (&[], &[0, 0, 0])];
    for (bag, offsets) in lists {
        for mean in [false, true] {
            let model = model!(m, (id: Vec<ParamId> = id.clone(), bag: Vec<u32> = bag.to_vec(), offsets: Vec<u32> = offsets.to_vec(), mean: bool = mean), {
                let x = m.embed_bag(id[0], bag, offsets, *mean);
                probe(m, x, offsets.len() - 1, id[1])
            });
            check(&p, &model, 1e-4);
        }
    }
    for rows in [vec![0, 0, 2, 1], vec![2], vec![]] {
        let model = model!(m, (id: Vec<ParamId> = id.clone(), rows: Vec<u32> = rows), {
            let x = m.embed(id[0], &[5, 2, 5]);
            let y = m.gather(x, rows);
            probe(m, y, rows.len(), id[1])
        });
        check(&p, &model, 1e-4);
    }
}

#[test]
fn shapes_are_cut_and_joined() {
    let (p, id) = params(&[("a", 4, 3), ("b", 4, 6), ("probe", 1, 7)]);
    let model = model!(m, (id: Vec<ParamId> = id), {
        let (a, b) = (m.embed(id[0], &ids(4)), m.embed(id[1], &ids(4)));
        let cut = m.columns(b, 1..5);
        let wide = m.concat(&[a, cut]);
        let constant = m.constant(2, 7, &[0.3; 14]);
        let tall = m.stack(&[wide, constant, wide]);
        probe(m, tall, 10, id[2])
    });
    check(&p, &model, 1e-4);
}

#[test]
fn linear_maps_with_and_without_bias() {
    for (rows, width, out) in [(1, 1, 1), (5, 33, 9), (0, 4, 3), (70, 16, 17)] {
        let (p, id) = params(&[("x", rows, width), ("w", out, width), ("b", 1, out), ("probe", 1, out)]);
        for with_bias in [false, true] {
            let model = model!(m, (id: Vec<ParamId> = id.clone(), rows: usize = rows, with_bias: bool = with_bias), {
                let x = m.embed(id[0], &ids(*rows));
                // Twice from one input: its gradients must add.
                let y = m.linear(x, id[1], with_bias.then_some(id[2]));
                let z = m.linear(x, id[1], None);
                let y = m.add(y, z);
                probe(m, y, *rows, id[3])
            });
            check(&p, &model, 1e-4);
        }
    }
}

#[test]
fn element_wise_operations() {
    for width in [2, 18, 64] {
        let (p, id) = params(&[("x", 3, width), ("y", 3, width), ("probe", 1, width), ("half", 1, width / 2)]);
        for f in [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Sigmoid] {
            let model = model!(m, (id: Vec<ParamId> = id.clone(), f: Activation = f), {
                let (x, y) = (m.embed(id[0], &ids(3)), m.embed(id[1], &ids(3)));
                let x = m.scale(x, 2.5);
                let a = m.activate(x, *f);
                let product = m.mul(a, y);
                let square = m.mul(y, y);
                let sum = m.add(product, square);
                probe(m, sum, 3, id[2])
            });
            check(&p, &model, 1e-4);
        }
        let model = model!(m, (id: Vec<ParamId> = id), {
            let x = m.embed(id[0], &ids(3));
            let y = m.swiglu(x);
            probe(m, y, 3, id[3])
        });
        check(&p, &model, 1e-4);
    }
}

#[test]
fn norms_softmax_and_mixtures() {
    for width in [1, 5, 16, 50] {
        let (p, id) = params(&[
            ("x", 4, width),
            ("gain", 1, width),
            ("bias", 1, width),
            ("probe", 1, width),
            ("g", 4, 3),
            ("e", 4, 3 * width),
        ]);
        for kind in 0..4 {
            let model = model!(m, (id: Vec<ParamId> = id.clone(), kind: usize = kind), {
                let x = m.embed(id[0], &[0, 1, 2, 3, 1]);
                let y = match kind {
                    0 => m.layer_norm(x, id[1], id[2]),
                    1 => m.rms_norm(x, id[1]),
                    2 => m.softmax(x),
                    _ => {
                        let (gates, experts) = (m.embed(id[4], &[0, 1, 2, 3, 0]), m.embed(id[5], &[0, 1, 2, 3, 0]));
                        m.mix(gates, experts)
                    }
                };
                probe(m, y, 5, id[3])
            });
            check(&p, &model, 3e-4);
        }
    }
}

fn spans(kind: usize) -> Vec<Span> {
    let list: Vec<(u32, u32)> = match kind {
        // Causal sequences of 6, 1 and 4 rows.
        0 => [(0, 6), (6, 7), (7, 11)].iter().flat_map(|&(s, e)| (s..e).map(move |i| (s, i + 1))).collect(),
        // Every query sees all keys: the beam case.
        1 => vec![(0, 11); 11],
        // Ragged, with empty spans at odd places and ends that go down.
        2 => vec![(0, 0), (3, 9), (3, 5), (5, 5), (0, 11), (0, 2), (10, 11), (11, 11), (2, 3), (2, 9), (2, 2)],
        // Nobody sees anything.
        _ => vec![(4, 4); 11],
    };
    list.into_iter().map(|(start, end)| Span { start, end }).collect()
}

#[test]
fn attention_over_spans_groups_and_distances() {
    for (heads, groups, width) in [(1, 1, 3), (4, 2, 8), (2, 2, 17), (3, 1, 5), (2, 1, 33)] {
        let (p, id) = params(&[
            ("q", 11, heads * width),
            ("k", 11, groups * width),
            ("v", 11, groups * width),
            ("bias", heads, 4),
            ("probe", 1, heads * width),
        ]);
        for kind in 0..4 {
            for with_bias in [false, true] {
                let model = model!(m, (id: Vec<ParamId> = id.clone(), heads: usize = heads, groups: usize = groups, kind: usize = kind, with_bias: bool = with_bias), {
                    let (q, k, v) = (m.embed(id[0], &ids(11)), m.embed(id[1], &ids(11)), m.embed(id[2], &ids(11)));
                    let positions: Vec<u32> = (0..11).map(|i| i * 3 % 11).collect();
                    let bias = RelativeBias { table: id[3], query: &ids(11), key: &positions };
                    let how = Attention { heads: *heads, groups: *groups, spans: &spans(*kind), bias: with_bias.then_some(bias) };
                    let y = m.attention(q, k, v, how);
                    probe(m, y, 11, id[4])
                });
                check(&p, &model, 3e-4);
            }
        }
    }
}

#[test]
fn attention_over_spans_longer_than_a_panel() {
    // 45 keys in two panels, 19 queries: enough for values to be copied together, and a short last block.
    let (p, id) = params(&[("q", 19, 10), ("k", 45, 5), ("v", 45, 5), ("bias", 2, 30), ("probe", 1, 10)]);
    for causal in [false, true] {
        let model = model!(m, (id: Vec<ParamId> = id.clone(), causal: bool = causal), {
            let (q, k, v) = (m.embed(id[0], &ids(19)), m.embed(id[1], &ids(45)), m.embed(id[2], &ids(45)));
            let end = |i: u32| if *causal { 26 + i } else { 45 };
            let spans: Vec<Span> = (0..19).map(|i| Span { start: 2, end: end(i) }).collect();
            let query: Vec<u32> = (0..19).map(|i| 25 + i).collect();
            let bias = Some(RelativeBias { table: id[3], query: &query, key: &ids(45) });
            let y = m.attention(q, k, v, Attention { heads: 2, groups: 1, spans: &spans, bias });
            probe(m, y, 19, id[4])
        });
        check(&p, &model, 3e-4);
    }
}

#[test]
fn softmax_loss_over_more_rows_than_a_chunk_and_more_classes_than_a_block() {
    let (p, id) = params(&[("x", 300, 3), ("table", 1300, 3)]);
    let model = model!(m, (id: Vec<ParamId> = id), {
        let x = m.embed(id[0], &ids(300));
        let targets: Vec<u32> = (0..300).map(|i| i * 41 % 1200).collect();
        m.softmax_loss(x, id[1], 50..1300, &targets, None)
    });
    check_some(&p, &model, 3e-4, 211);
    let model = model!(m, (id: Vec<ParamId> = vec![ParamId(0), ParamId(1)]), {
        let x = m.embed(id[0], &ids(300));
        let targets: Vec<u32> = (0..300).map(|i| i * 41 % 1200).collect();
        m.sampled_softmax_loss(x, id[1], &targets, &[7, 41, 41, 82, 1299], None)
    });
    check_some(&p, &model, 3e-4, 31);
}

#[test]
fn softmax_loss_over_a_range_of_classes() {
    for (rows, width, classes) in [(1, 3, 0..1), (5, 8, 2..40), (0, 4, 0..9), (3, 4, 0..21)] {
        let (p, id) = params(&[("x", rows, width), ("table", 40, width)]);
        for with_weights in [false, true] {
            let model = model!(m, (id: Vec<ParamId> = id.clone(), rows: usize = rows, classes: std::ops::Range<usize> = classes.clone(), with_weights: bool = with_weights), {
                let x = m.embed(id[0], &ids(*rows));
                let targets: Vec<u32> = (0..*rows).map(|i| (i * 7 % classes.len()) as u32).collect();
                let weights: Vec<f32> = (0..*rows).map(|i| i as f32 * 0.5).collect();
                m.softmax_loss(x, id[1], classes.clone(), &targets, with_weights.then_some(&weights[..]))
            });
            check(&p, &model, 2e-4);
        }
    }
}

#[test]
fn sampled_softmax_loss_leaves_the_target_out_of_the_negatives() {
    for negatives in [vec![0, 3, 3, 9, 17, 2], vec![2], vec![]] {
        let (p, id) = params(&[("x", 4, 6), ("table", 20, 6)]);
        let model = model!(m, (id: Vec<ParamId> = id.clone(), negatives: Vec<u32> = negatives), {
            let x = m.embed(id[0], &ids(4));
            m.sampled_softmax_loss(x, id[1], &[2, 3, 19, 2], negatives, Some(&[1.0, 0.5, 2.0, 1.0]))
        });
        check(&p, &model, 2e-4);
    }
}

#[test]
fn choice_loss_runs_over_each_rows_own_options() {
    let (p, id) = params(&[("x", 4, 6), ("table", 20, 6)]);
    let model = model!(m, (id: Vec<ParamId> = id.clone()), {
        let x = m.embed(id[0], &ids(4));
        let lists = (&[3, 4, 5, 19, 0, 3, 7, 1, 2][..], &[0, 3, 4, 7, 9][..]);
        m.choice_loss(x, id[1], lists, &[1, 0, 2, 1], Some(&[1.0, 0.5, 2.0, 1.0]))
    });
    check(&p, &model, 2e-4);
    let everything = model!(m, (id: Vec<ParamId> = id), {
        let x = m.embed(id[0], &ids(4));
        let all: Vec<u32> = (0..4).flat_map(|_| 0..20).collect();
        let choice = m.choice_loss(x, id[1], (&all, &[0, 20, 40, 60, 80]), &[2, 3, 19, 2], None);
        let full = m.softmax_loss(x, id[1], 0..20, &[2, 3, 19, 2], None);
        let minus = m.scale(full, -1.0);
        m.add(choice, minus)
    });
    check(&p, &everything, 2e-4);
}

#[test]
fn dropout_has_the_gradient_of_its_mask() {
    let (p, id) = params(&[("x", 6, 20), ("probe", 1, 20)]);
    let noise = 99;
    // The mask shows where ones go in: same noise and place on the tape.
    let mut workspace = Workspace::default();
    let mut tape = Tape::train(&p, &mut workspace, noise);
    let ones = tape.constant(6, 20, &[1.0; 120]);
    let mask = tape.dropout(ones, 0.3);
    let mask: Vec<f64> = tape.value(mask).iter().map(|&x| f64::from(x)).collect();
    let model = model!(m, (id: Vec<ParamId> = id), {
        let x = m.embed(id[0], &ids(6));
        let y = m.dropout(x, 0.3);
        probe(m, y, 6, id[1])
    });
    check_with_masks(&p, &model, 1e-4, noise, VecDeque::from([mask]));
}
