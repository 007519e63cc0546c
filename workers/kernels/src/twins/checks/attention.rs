//! Attention of beams: to the context they share, and to their own past.
//!
//! In: operands that bf16 holds exactly. Out: outcomes.

use super::{Meter, Outcome};
use crate::twins::reference::{Head, beam_heads, cross_heads};
use crate::twins::{Arithmetic, BeamAttention, CrossAttention, Kernels, Operation, Rows, bounds, cases};

/// The width of a head in every published decoder that these kernels are for.
const WIDTH: usize = 128;

fn expected(arithmetic: Arithmetic, heads: &[Head<'_>]) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for head in heads {
        let scores = head.scores();
        let of = |sum: (f64, f64)| (sum.0, bounds::attention(arithmetic, head.query.len(), &scores, sum));
        out.extend(head.attend().into_iter().map(of));
    }
    out
}

/// Normals, made worse by a name.
fn operands(name: &str, seed: u64, rows: usize, cols: usize, real: Rows<'_>) -> Vec<f32> {
    let mut x = cases::normals(seed, rows * cols);
    match name {
        // Scores far apart: all the weight on a key.
        "peaked" => x.iter_mut().for_each(|x| *x *= 4.0),
        "outlying" => x = cases::outlying(seed, rows, cols),
        "denormal" => x.iter_mut().for_each(|x| *x *= 1e-39),
        "zero" => x.fill(0.0),
        "trained" if !real.data.is_empty() => {
            x.iter_mut().zip(real.data.iter().cycle()).for_each(|(x, &weight)| *x = weight);
        }
        _ => {}
    }
    cases::all_bf16(x)
}

/// What is done to queries, keys and values of each case.
const CASES: [[&str; 4]; 6] = [
    ["random", "random", "random", "random"],
    ["peaked", "peaked", "peaked", "random"],
    ["outlying values", "random", "random", "outlying"],
    ["denormal", "denormal", "random", "denormal"],
    ["zero", "zero", "random", "random"],
    ["trained", "trained", "trained", "trained"],
];

pub(super) fn check_cross<K: Kernels>(kernels: &mut K, real: Rows<'_>) -> Vec<Outcome> {
    // Rows and keys of each request: a whole beam, one row, an empty context, no row at all.
    let shapes: [(usize, &[(u32, u32)]); 5] = [
        (1, &[(1, 1)]),
        (14, &[(5, 300), (1, 33), (2, 0), (0, 7), (3, 1)]),
        (2, &[(70, 129)]),
        (18, &[(1, 1000)]),
        (3, &[(0, 5)]),
    ];
    let mut outcomes = Vec::new();
    for (heads, requests) in shapes {
        let (mut rows, mut context) = (vec![0], vec![0]);
        for &(more, keys) in requests {
            rows.push(rows[rows.len() - 1] + more);
            context.push(context[context.len() - 1] + keys);
        }
        let (beams, length) = (rows[requests.len()] as usize, context[requests.len()] as usize);
        for [name, q, k, v] in CASES {
            let mut queries = operands(q, 21, beams, heads * WIDTH, real);
            let (keys, values) = (operands(k, 22, length, WIDTH, real), operands(v, 23, length, WIDTH, real));
            if name == "random" && beams > 4 {
                // A broken row stays alone.
                queries[4 * heads * WIDTH] = f32::NAN;
            }
            let problem = CrossAttention {
                queries: Rows::new(&queries, heads * WIDTH),
                keys: Rows::new(&keys, WIDTH),
                values: Rows::new(&values, WIDTH),
                heads,
                rows: &rows,
                context: &context,
            };
            let mut meter = Meter::new(Operation::CrossAttention, &format!("{name}, {heads} heads, {requests:?}"));
            let expected = expected(kernels.arithmetic(), &cross_heads(&problem));
            meter.all(kernels.cross_attention(&problem), &expected);
            outcomes.push(meter.outcome);
        }
    }
    outcomes
}

pub(super) fn check_beams<K: Kernels>(kernels: &mut K, real: Rows<'_>) -> Vec<Outcome> {
    let shapes: [(usize, &[usize]); 5] = [(1, &[1]), (14, &[1, 9]), (14, &[1, 40, 40]), (3, &[2, 5, 33]), (2, &[4, 0])];
    let mut outcomes = Vec::new();
    for (heads, levels) in shapes {
        let beams = levels[levels.len() - 1];
        let mut parents: Vec<Vec<u32>> = vec![Vec::new()];
        for (level, pair) in levels.windows(2).enumerate() {
            parents.push(cases::indices(60 + level as u64, pair[1], pair[0] as u32));
        }
        let parents: Vec<&[u32]> = parents.iter().map(Vec::as_slice).collect();
        for [name, q, k, v] in CASES {
            let width = heads * WIDTH;
            let queries = operands(q, 31, beams, width, real);
            let of = |what: &str, seed: u64| -> Vec<Vec<f32>> {
                (seed..).zip(levels).map(|(seed, &rows)| operands(what, seed, rows, width, real)).collect()
            };
            let (keys, values) = (of(k, 40), of(v, 50));
            let keys: Vec<Rows<'_>> = keys.iter().map(|x| Rows::new(x, width)).collect();
            let values: Vec<Rows<'_>> = values.iter().map(|x| Rows::new(x, width)).collect();
            let problem = BeamAttention {
                queries: Rows::new(&queries, width),
                keys: &keys,
                values: &values,
                heads,
                parents: &parents,
            };
            let mut meter = Meter::new(Operation::BeamAttention, &format!("{name}, {heads} heads, levels {levels:?}"));
            let expected = expected(kernels.arithmetic(), &beam_heads(&problem));
            meter.all(kernels.beam_attention(&problem), &expected);
            outcomes.push(meter.outcome);
        }
    }
    outcomes
}
