//! Ragged products of bytes and of pairs by every way of every level against sums in f64, and against each other in bits.

use super::*;
use crate::cpu::panels::Curve;
use crate::fp8::serve::gamma;
use crate::fp8::{Format, Quantised, Scaling};

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| (crate::noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Every way that every level may use.
fn ways() -> Vec<(Level, Dot)> {
    let ways = |level| Dot::all().into_iter().chain([Dot::at(level)]).map(move |dot| (level, dot));
    let all = Level::all().into_iter().flat_map(ways);
    all.filter(|&(level, dot)| (level == Level::PORTABLE) == (dot == Dot::at(Level::PORTABLE)))
        .filter(|&(level, dot)| dot.kind() as u8 <= Dot::at(level).kind() as u8)
        .collect()
}

/// Codes of weights, a scale an output.
struct Coded {
    codes: Vec<i8>,
    scales: Vec<f32>,
    depth: usize,
}

impl Coded {
    fn new(weights: &[f32], depth: usize) -> Self {
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        for row in weights.chunks_exact(depth) {
            let mut bytes = vec![0; depth];
            let (scale, inverse) = rows::scale_for(rows::largest(Level::PORTABLE, row));
            rows::code(Level::PORTABLE, &mut bytes, row, inverse);
            scales.push(scale);
            codes.extend(bytes.into_iter().map(|code| (code ^ 128).cast_signed()));
        }
        Self { codes, scales, depth }
    }

    fn panels(&self, gated: bool) -> Panels {
        Panels::bytes(&self.codes, &self.scales, (self.scales.len(), self.depth), gated)
    }
}

fn run((level, dot): (Level, Dot), x: &[f32], panels: &Panels, then: Then<'_>) -> Vec<f32> {
    let rows = x.len() / panels.depth();
    let (mut out, mut scratch) = (vec![f32::NAN; rows * panels.width()], vec![f32::NAN; panels.room(level, rows)]);
    product_by(level, dot, &mut out, Left::Plain(x), panels, then, &mut scratch);
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    // One NaN is as good as another.
    values.iter().map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }).collect()
}

/// Whether a product keeps the bound in the module's text; `x` is finite.
fn check_bound(found: &[f32], x: &[f32], weights: &[f32], coded: &Coded, told: &str) {
    let (depth, outputs) = (coded.depth, coded.scales.len());
    for (at, &found) in found.iter().enumerate() {
        let (row, output) = (at / outputs, at % outputs);
        let (x, w) = (&x[row * depth..][..depth], &weights[output * depth..][..depth]);
        let (scale, inverse) = rows::scale_for(x.iter().fold(0.0, |most: f32, x| most.max(x.abs())));
        let (s, t) = (f64::from(scale), f64::from(coded.scales[output]));
        let (mut exact, mut left, mut right, mut sum) = (0.0, 0.0, 0.0, 0_i64);
        for (k, (&x, &w)) in x.iter().zip(w).enumerate() {
            let d = coded.codes[output * depth + k];
            exact += f64::from(x) * f64::from(w);
            left += f64::from(x).abs();
            right += t * f64::from(d).abs();
            sum += i64::from(d) * (x * inverse).round_ties_even() as i64;
        }
        let bound = (0.5 + 2_f64.powi(-15)) * (t * left + s * right)
            + 2_f64.powi(-22) * (s * t * sum as f64).abs()
            + 2_f64.powi(-126);
        assert!((f64::from(found) - exact).abs() <= bound, "{told} {at}: {found} {exact} {bound}");
        // The sum of codes itself, not only something near it.
        let wanted = s * t * sum as f64;
        assert!((f64::from(found) - wanted).abs() <= 2_f64.powi(-22) * wanted.abs() + 2_f64.powi(-126), "{told} {at}");
    }
}

/// Rows, depth and outputs: single ones, ends of tiles, steps and panels, nothing, more than one block.
const SHAPES: [(usize, usize, usize); 10] = [
    (1, 1, 1),
    (2, 7, 31),
    (12, 64, 64),
    (13, 33, 32),
    (23, 5, 70),
    (50, 64, 130),
    (0, 4, 6),
    (3, 9, 0),
    (110, 2050, 2),
    (29, 66, 16),
];

#[test]
fn products_keep_their_bound_and_agree_in_bits() {
    assert!(ways().len() >= Level::all().len());
    for (rows, depth, outputs) in SHAPES {
        let (x, w) = (numbers(rows * depth, 1), numbers(outputs * depth, 2));
        let coded = Coded::new(&w, depth);
        let panels = coded.panels(false);
        let mut first: Option<Vec<f32>> = None;
        for way in ways() {
            let found = run(way, &x, &panels, Then::NOTHING);
            check_bound(&found, &x, &w, &coded, &format!("{way:?} {rows} {depth} {outputs}"));
            assert_eq!(&found, first.get_or_insert_with(|| found.clone()), "{way:?} {rows} {depth} {outputs}");
        }
    }
}

/// Every number of rows up to more than a tile; an output alone gives what it gives beside others.
#[test]
fn a_row_gives_the_same_beside_any_others() {
    let (depth, outputs) = (42, 45);
    let (x, w) = (numbers(29 * depth, 3), numbers(outputs * depth, 4));
    let coded = Coded::new(&w, depth);
    let panels = coded.panels(false);
    for way in ways() {
        let all = run(way, &x, &panels, Then::NOTHING);
        for rows in 1..29 {
            let some = run(way, &x[depth..][..rows * depth], &panels, Then::NOTHING);
            assert_eq!(some, all[outputs..][..rows * outputs], "{way:?} {rows}");
        }
        let one = Panels::bytes(&coded.codes[7 * depth..8 * depth], &coded.scales[7..8], (1, depth), false);
        let column: Vec<f32> = all.iter().skip(7).step_by(outputs).copied().collect();
        assert_eq!(run(way, &x, &one, Then::NOTHING), column, "{way:?}");
    }
}

/// The longest sum of the largest codes, of either sign.
#[test]
fn the_deepest_product_does_not_overflow() {
    let panels = Panels::bytes(&[[127; DEEPEST], [-127; DEEPEST]].concat(), &[0.5], (2, DEEPEST), false);
    let x: Vec<f32> = (0..2 * DEEPEST).map(|i| if i < DEEPEST { 2.0 } else { -2.0 }).collect();
    let wanted = (DEEPEST * 127 * 127) as f32 * 0.5 * (2.0 / 127.0);
    for way in ways() {
        assert_eq!(run(way, &x, &panels, Then::NOTHING), [wanted, -wanted, -wanted, wanted], "{way:?}");
    }
}

#[test]
fn rows_that_are_odd_keep_the_bound_and_spoil_no_other() {
    let (depth, outputs) = (70, 67);
    let (plain, w) = (numbers(depth, 5), numbers(outputs * depth, 6));
    let coded = Coded::new(&w, depth);
    let panels = coded.panels(false);
    let bias = numbers(outputs, 7);
    let changed = |change: fn(usize, f32) -> f32| -> Vec<f32> {
        plain.iter().enumerate().map(|(at, &x)| change(at, x)).collect()
    };
    let finite = [
        plain.clone(),
        changed(|at, x| if at == 11 { 1e6 } else { x }),
        changed(|_, _| -0.0),
        changed(|_, x| x * 1e-40),
        changed(|at, x| if at == 3 { f32::from_bits(1) } else { x * 0.0 }),
        changed(|_, x| x * 1e-37),
        changed(|at, x| if at % 2 == 0 { f32::MAX } else { x }),
        changed(|at, _| if at % 3 == 0 { -1.0 } else { 0.5 / 127.0 }),
    ];
    let spoiled =
        [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|bad| [&plain[..9], &[bad], &plain[10..]].concat());
    let rows = [&finite[..], &spoiled[..], &finite[..1]].concat();
    let x = rows.concat();
    let mut first: Option<Vec<u32>> = None;
    for way in ways() {
        let found = run(way, &x, &panels, Then::NOTHING);
        let (sound, rest) = found.split_at(finite.len() * outputs);
        let huge = 6 * outputs..7 * outputs;
        for (at, row) in finite.iter().enumerate().filter(|&(at, _)| at != 6) {
            check_bound(&sound[at * outputs..][..outputs], row, &w, &coded, &format!("{way:?} row {at}"));
        }
        assert!(sound[huge].iter().all(|value| !value.is_nan()), "{way:?}: sums of the largest numbers");
        let (nan, last) = rest.split_at(spoiled.len() * outputs);
        assert!(nan.iter().all(|value| value.is_nan()), "{way:?}");
        assert_eq!(last, &sound[..outputs], "{way:?}");
        let zero = run(way, &rows[2], &panels, Then { bias: &bias, ..Then::NOTHING });
        assert_eq!(zero, bias, "{way:?}: a row of zeros");
        assert_eq!(&bits(&found), first.get_or_insert_with(|| bits(&found)), "{way:?}");
        let curved = run(way, &rows[8], &panels, Then { curve: Curve::Relu, ..Then::NOTHING });
        assert!(curved.iter().all(|value| value.is_nan()), "{way:?}");
    }
}

/// What follows is what follows products of f32, in bits: the same code.
#[test]
fn what_follows_is_what_single_steps_give() {
    use crate::cpu::elementwise as single;
    let (rows, depth, outputs) = (14, 20, 74);
    let (x, w) = (numbers(rows * depth, 5), numbers(outputs * depth, 6));
    let (bias, onto) = (numbers(outputs, 7), numbers(rows * outputs, 8));
    let coded = Coded::new(&w, depth);
    let (panels, gated) = (coded.panels(false), coded.panels(true));
    for way in ways() {
        let plain = run(way, &x, &panels, Then::NOTHING);
        let mut wanted = plain.clone();
        wanted.chunks_mut(outputs).for_each(|row| row.iter_mut().zip(&bias).for_each(|(y, bias)| *y += bias));
        let before = wanted.clone();
        single::gelu(way.0, &mut wanted, &before);
        wanted.iter_mut().zip(&onto).for_each(|(y, onto)| *y += onto);
        let then = Then { bias: &bias, curve: Curve::Gelu, onto: &onto };
        assert_eq!(run(way, &x, &panels, then), wanted, "{way:?}");
        let mut wanted = vec![0.0; rows * outputs / 2];
        single::swiglu(way.0, &mut wanted, &plain, outputs / 2);
        assert_eq!(run(way, &x, &gated, Then::NOTHING), wanted, "{way:?}");
    }
}

#[test]
fn one_scale_of_all_outputs_is_each_outputs_scale() {
    let codes: Vec<i8> = (0..5 * 9).map(|i| (i * 37 % 255 - 127) as i8).collect();
    let (one, each) = (Panels::bytes(&codes, &[0.25], (5, 9), false), Panels::bytes(&codes, &[0.25; 5], (5, 9), false));
    let x = numbers(27, 9);
    for way in ways() {
        assert_eq!(run(way, &x, &one, Then::NOTHING), run(way, &x, &each, Then::NOTHING));
    }
}

/// Rows and weights in E4M3 as floats and as codes.
fn in_e4m3(scaling: Scaling, x: &[f32], cols: usize) -> (Quantised, Vec<f64>) {
    let made = Quantised::new(Level::PORTABLE, Format::E4m3, scaling, x, x.len() / cols, cols);
    let values = made
        .codes()
        .iter()
        .enumerate()
        .map(|(at, &code)| f64::from(Format::E4m3.decode(code)) * f64::from(made.scale_at(at / cols, at % cols)));
    let values = values.collect();
    (made, values)
}

/// Rows that are quantised as they come, by every level; tiles apart, levels agree in bits.
#[test]
fn pairs_keep_their_bound_and_agree_in_bits() {
    for (rows, depth, outputs) in SHAPES.into_iter().filter(|&(.., outputs)| outputs > 0) {
        let (mut x, w) = (numbers(rows * depth, 1), numbers(outputs * depth, 2));
        x.iter_mut().step_by(41).for_each(|x| *x *= 1e6);
        let (exact, weights) = (in_e4m3(Scaling::Rows, &x, depth), in_e4m3(Scaling::Rows, &w, depth));
        let panels = weights.0.panels(false);
        let mut first: Option<Vec<f32>> = None;
        for level in Level::all() {
            let found = run((level, Dot::at(level)), &x, &panels, Then::NOTHING);
            for (at, &found) in found.iter().enumerate() {
                let (a, b) = (&exact.1[at / outputs * depth..][..depth], &weights.1[at % outputs * depth..][..depth]);
                let terms = || a.iter().zip(b).map(|(a, b)| a * b);
                let (sum, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
                let scale = f64::from(exact.0.scale_at(at / outputs, 0));
                let bound = gamma(depth, depth) * size + 2_f64.powi(-149) * (1.0 + scale);
                assert!(
                    (f64::from(found) - sum).abs() <= bound,
                    "{level:?} {rows} {depth} {outputs} {at}: {found} {sum}"
                );
            }
            if level.kind() != LevelKind::Amx {
                assert_eq!(&found, first.get_or_insert_with(|| found.clone()), "{level:?} {rows} {depth} {outputs}");
            }
        }
    }
}

/// Rows coded before, with a scale for every 128 columns of both sides, by every level.
#[test]
fn pairs_scaled_by_block_keep_their_bound_and_agree_in_bits() {
    use crate::fp8::serve::{Tiles, gemm};
    let mut tiles = Tiles::default();
    for (rows, depth, outputs) in [(1, 129, 3), (17, 300, 70), (33, 512, 64)] {
        let (mut x, w) = (numbers(rows * depth, 1), numbers(outputs * depth, 2));
        x.iter_mut().step_by(41).for_each(|x| *x *= 1e3);
        let (a, b) = (in_e4m3(Scaling::Tiles, &x, depth), in_e4m3(Scaling::Blocks, &w, depth));
        let mut first: Option<Vec<f32>> = None;
        for level in Level::all() {
            let mut found = vec![f32::NAN; rows * outputs];
            gemm(level, &mut found, &a.0, &b.0, &mut tiles);
            for (at, &found) in found.iter().enumerate() {
                let (a, b) = (&a.1[at / outputs * depth..][..depth], &b.1[at % outputs * depth..][..depth]);
                let terms = || a.iter().zip(b).map(|(a, b)| a * b);
                let (sum, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
                let bound = gamma(depth, 128) * size + 1e-40;
                assert!((f64::from(found) - sum).abs() <= bound, "{level:?} {rows} {depth} {at}: {found} {sum}");
            }
            if level.kind() != LevelKind::Amx {
                assert_eq!(&found, first.get_or_insert_with(|| found.clone()), "{level:?} {rows} {depth} {outputs}");
            }
        }
    }
}

/// What follows, gates, single outputs, and any rows beside them, of pairs as of bytes.
#[test]
fn pairs_give_the_same_beside_any_others() {
    let (depth, outputs) = (42, 46);
    let (x, w) = (numbers(29 * depth, 3), numbers(outputs * depth, 4));
    let (weights, _) = in_e4m3(Scaling::Rows, &w, depth);
    let (panels, gated) = (weights.panels(false), weights.panels(true));
    let bias = numbers(outputs, 7);
    for level in Level::all() {
        let way = (level, Dot::at(level));
        let all = run(way, &x, &panels, Then::NOTHING);
        for rows in 1..29 {
            let some = run(way, &x[depth..][..rows * depth], &panels, Then::NOTHING);
            assert_eq!(some, all[outputs..][..rows * outputs], "{level:?} {rows}");
        }
        let mut wanted = all.clone();
        wanted
            .chunks_mut(outputs)
            .for_each(|row| row.iter_mut().zip(&bias).for_each(|(y, bias)| *y = (*y + bias).max(0.0)));
        assert_eq!(run(way, &x, &panels, Then { bias: &bias, curve: Curve::Relu, onto: &[] }), wanted, "{level:?}");
        let mut wanted = vec![0.0; 29 * outputs / 2];
        crate::cpu::elementwise::swiglu(level, &mut wanted, &all, outputs / 2);
        assert_eq!(run(way, &x, &gated, Then::NOTHING), wanted, "{level:?}");
        let mut spoiled = x[..2 * depth].to_vec();
        spoiled[7] = f32::NAN;
        let found = run(way, &spoiled, &panels, Then::NOTHING);
        assert!(found[..outputs].iter().all(|y| y.is_nan()), "{level:?}");
        assert_eq!(found[outputs..], all[outputs..2 * outputs], "{level:?}: spoils no other");
        assert_eq!(run(way, &[0.0; 42], &panels, Then { bias: &bias, ..Then::NOTHING }), bias, "{level:?}");
    }
}

#[test]
#[ignore = "needs a processor with AMX: make test-isa has one"]
fn int8_finds_tiles() {
    assert_eq!(Dot::at(Level::detect()).kind(), Kind::Amx);
}
