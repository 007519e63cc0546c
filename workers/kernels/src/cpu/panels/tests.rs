//! Ragged products at every level against sums in f64, and in bits wherever products are fused.

use super::*;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| (crate::noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Rows, depth and outputs: single ones, ends of tiles and panels, nothing, more than one block.
const SHAPES: [(usize, usize, usize); 9] =
    [(1, 1, 1), (2, 7, 31), (12, 64, 64), (13, 33, 32), (23, 5, 70), (50, 64, 33), (0, 4, 6), (3, 9, 0), (70, 1030, 2)];

#[test]
fn products_keep_their_bound_at_every_level() {
    for (rows, depth, outputs) in SHAPES {
        let (x, w) = (numbers(rows * depth, 1), numbers(outputs * depth, 2));
        let panels = Panels::new(&w, outputs, depth, false);
        let mut fused: Vec<Vec<f32>> = Vec::new();
        for level in Level::all() {
            let mut out = vec![f32::NAN; rows * outputs];
            product(level, &mut out, &x, &panels, Then::NOTHING);
            for (at, &value) in out.iter().enumerate() {
                let (row, output) = (at / outputs, at % outputs);
                let product = |k| f64::from(x[row * depth + k]) * f64::from(w[output * depth + k]);
                let exact = (0..depth).map(product).sum::<f64>();
                let size = (0..depth).map(|k| product(k).abs()).sum::<f64>();
                let bound = depth as f64 * f64::from(f32::EPSILON) * size;
                assert!((f64::from(value) - exact).abs() <= bound, "{level:?} {rows} {depth} {outputs} {at}");
            }
            if level != Level::PORTABLE {
                fused.push(out);
            }
        }
        assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "{rows} {depth} {outputs}");
    }
}

#[test]
fn a_row_gives_the_same_beside_any_others() {
    let (depth, outputs) = (40, 45);
    let (x, w) = (numbers(29 * depth, 3), numbers(outputs * depth, 4));
    let panels = Panels::new(&w, outputs, depth, false);
    for level in Level::all() {
        let mut all = vec![0.0; 29 * outputs];
        product(level, &mut all, &x, &panels, Then::NOTHING);
        for (x, wanted) in x.chunks(depth).zip(all.chunks(outputs)) {
            let mut one = vec![0.0; outputs];
            product(level, &mut one, x, &panels, Then::NOTHING);
            assert_eq!(one, wanted, "{level:?}");
        }
    }
}

#[test]
fn parts_of_a_product_cover_it_once() {
    for rows in [1, 2, 11, 12, 13, 50, 128, 1000] {
        for panels in [1, 2, 3, 4, 31, 32] {
            for threads in 1..5 {
                let cut = Cut::new(rows, panels, threads);
                let mut seen = vec![0; rows * panels];
                for Part { rows, panels: some } in (0..cut.pieces()).map(|piece| cut.part(piece)) {
                    for row in rows.0..rows.1 {
                        seen[row * panels..][some.0..some.1].iter_mut().for_each(|seen| *seen += 1);
                    }
                }
                assert!(seen.iter().all(|&seen| seen == 1), "{rows} rows, {panels} panels, {threads} threads");
            }
        }
    }
}

/// What follows a product is, in bits, what the loops of its own would make of it.
#[test]
fn what_follows_is_what_single_steps_give() {
    use crate::cpu::elementwise as single;
    let (rows, depth, outputs) = (14, 20, 50);
    let (x, w) = (numbers(rows * depth, 5), numbers(outputs * depth, 6));
    let (bias, onto) = (numbers(outputs, 7), numbers(rows * outputs, 8));
    let panels = Panels::new(&w, outputs, depth, false);
    for level in Level::all() {
        let mut plain = vec![0.0; rows * outputs];
        product(level, &mut plain, &x, &panels, Then::NOTHING);
        type Run = fn(Level, &mut [f32], &[f32]);
        let curves: [(Curve, Run); 5] = [
            (Curve::None, |level, y, x| single::scale(level, y, 1.0, x)),
            (Curve::Relu, single::relu),
            (Curve::Gelu, single::gelu),
            (Curve::Silu, single::silu),
            (Curve::Sigmoid, single::logistic),
        ];
        for (curve, run) in curves {
            for (bias, onto) in [(&[][..], &[][..]), (&bias, &[]), (&[], &onto), (&bias, &onto)] {
                let mut wanted = plain.clone();
                for row in wanted.chunks_mut(outputs) {
                    row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
                }
                let before = wanted.clone();
                run(level, &mut wanted, &before);
                wanted.iter_mut().zip(onto).for_each(|(y, onto)| *y += onto);
                let mut found = vec![0.0; rows * outputs];
                product(level, &mut found, &x, &panels, Then { bias, curve, onto });
                assert_eq!(found, wanted, "{level:?} {curve:?} {} {}", bias.len(), onto.len());
            }
        }
    }
}

#[test]
fn gates_and_values_find_each_other() {
    let (rows, depth) = (7, 12);
    for half in [1, 16, 21, 40] {
        let (x, w) = (numbers(rows * depth, 9), numbers(2 * half * depth, 10));
        for level in Level::all() {
            let mut both = vec![0.0; rows * 2 * half];
            product(level, &mut both, &x, &Panels::new(&w, 2 * half, depth, false), Then::NOTHING);
            let mut wanted = vec![0.0; rows * half];
            crate::cpu::elementwise::swiglu(level, &mut wanted, &both, half);
            let mut found = vec![0.0; rows * half];
            product(level, &mut found, &x, &Panels::new(&w, 2 * half, depth, true), Then::NOTHING);
            assert_eq!(found, wanted, "{level:?} {half}");
        }
    }
}

#[test]
fn not_a_number_goes_through() {
    let panels = Panels::new(&[1.0, f32::NAN, 2.0, 3.0], 2, 2, false);
    for level in Level::all() {
        let mut out = [0.0; 2];
        product(level, &mut out, &[1.0, 1.0], &panels, Then { curve: Curve::Relu, ..Then::NOTHING });
        assert!(out[0].is_nan() && out[1] == 5.0);
    }
}
