//! Conversion, packing and products at every level of the machine, against f64 and the written bound.

use super::convert::round_all;
use super::pack::{Of, pack_left, pack_right, words};
use super::{Left, Right, matmul, peak, product, round, widen};
use crate::cpu::Level;
use crate::cpu::level::Kind;
use crate::cpu::matmul::Output;
use crate::noise;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| (noise::hash(seed, i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// The levels with an instruction for products of bf16.
fn multiplying() -> impl Iterator<Item = Level> {
    Level::all().into_iter().filter(|level| level.multiplies_bf16())
}

fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|at| x[at % rows * cols + at / rows]).collect()
}

/// Packs both sides, multiplies, and gives the output, which held `start`.
fn multiplied(level: Level, how: Output, start: f32, a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
    let (mut left, mut right) = (vec![7; words(m, k)], vec![7; words(n, k)]);
    pack_left(level, &mut left, a, (m, k), Of::Matrix);
    pack_right(level, &mut right, b, (k, n), Of::Matrix);
    let mut out = vec![start; m * n];
    product(level, &mut out, how, Left::new(&left, m, k), Right::new(&right, k, n));
    out
}

/// Each element against the sum of rounded operands in f64, by the bound at the head of the module.
fn within_bound(what: &str, found: &[f32], start: f32, a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) {
    assert_eq!(found.len(), m * n);
    let of = |x: &[f32], at: usize| f64::from(widen(round(x[at])));
    for (at, &found) in found.iter().enumerate() {
        let (row, col) = (at / n, at % n);
        let (mut exact, mut size, mut sides) = (f64::from(start), f64::from(start).abs(), 0.0);
        for i in 0..k {
            let (a, b) = (of(a, row * k + i), of(b, i * n + col));
            exact += a * b;
            size += (a * b).abs();
            sides += 2.0 + a.abs() + b.abs();
        }
        if !exact.is_finite() {
            let same = if exact.is_nan() { found.is_nan() } else { f64::from(found) == exact };
            assert!(same, "{what} at {row}, {col}: {found}, not {exact}");
            continue;
        }
        let bound = (k + 3) as f64 * f64::from(f32::EPSILON) * size + f64::from(f32::MIN_POSITIVE) * (4.0 + sides);
        let error = (f64::from(found) - exact).abs();
        assert!(error <= bound, "{what} at {row}, {col}: {found}, not {exact} ± {bound}");
    }
}

#[test]
fn bf16_rounds_to_the_nearest_even_and_keeps_nan() {
    let bits = |bits: u32| round(f32::from_bits(bits));
    assert_eq!([bits(0x3F80_8000), bits(0x3F80_8001), bits(0x3F81_8000)], [0x3F80, 0x3F81, 0x3F82]);
    assert_eq!([round(0.0), round(-0.0), round(f32::INFINITY)], [0, 0x8000, 0x7F80]);
    // The largest f32 lies beyond the largest bf16; denormals stay.
    assert_eq!([round(f32::MAX), bits(0x0001_8000), bits(0x0000_8001)], [0x7F80, 2, 1]);
    // The payload lies in what is cut off.
    assert!(widen(bits(0x7F80_0001)).is_nan() && widen(bits(0xFFFF_FFFF)).is_nan());
    for code in 0..=u16::MAX {
        assert!(round(widen(code)) == code || widen(code).is_nan(), "{code:x}");
    }
    let mut x: Vec<f32> = (0..3000).map(|i| f32::from_bits(noise::hash(3, i) as u32)).collect();
    x.extend([f32::NAN, f32::from_bits(0x7F80_0001), f32::MIN_POSITIVE / 4.0]);
    for level in Level::all() {
        let mut found = vec![0; x.len()];
        round_all(level, &mut found, &x);
        for (&x, &found) in x.iter().zip(&found) {
            assert_eq!(found, round(x), "{level:?} {x:e}");
            // No bf16 is nearer.
            if widen(found).is_finite() {
                let error = |code: u16| (f64::from(widen(code)) - f64::from(x)).abs();
                let nearer = |&code: &u16| error(code) < error(found);
                assert!(![found.wrapping_sub(1), found.wrapping_add(1)].iter().any(nearer), "{x:e}");
            }
        }
    }
}

#[test]
fn bf16_packing_is_the_same_at_every_level_and_from_a_transpose() {
    for (rows, cols) in [(1, 1), (16, 32), (17, 33), (5, 70), (40, 3), (0, 4), (4, 0)] {
        let x = numbers(rows * cols, 1);
        let turned = transposed(&x, rows, cols);
        let mut left = vec![7; words(rows, cols)];
        pack_left(Level::PORTABLE, &mut left, &x, (rows, cols), Of::Matrix);
        let mut right = vec![7; words(cols, rows)];
        pack_right(Level::PORTABLE, &mut right, &x, (rows, cols), Of::Matrix);
        for row in 0..rows.next_multiple_of(16) {
            for col in 0..cols.next_multiple_of(32) {
                let value = if row < rows && col < cols { round(x[row * cols + col]) } else { 0 };
                let tile = row / 16 * cols.div_ceil(32) + col / 32;
                let word = left[tile * 256 + row % 16 * 16 + col % 32 / 2];
                assert_eq!((word >> (16 * (col % 2))) as u16, value, "left {rows} {cols} {row} {col}");
            }
        }
        for row in 0..rows.next_multiple_of(32) {
            for col in 0..cols.next_multiple_of(16) {
                let value = if row < rows && col < cols { round(x[row * cols + col]) } else { 0 };
                let tile = col / 16 * rows.div_ceil(32) + row / 32;
                let word = right[tile * 256 + row % 32 / 2 * 16 + col % 16];
                assert_eq!((word >> (16 * (row % 2))) as u16, value, "right {rows} {cols} {row} {col}");
            }
        }
        for level in Level::all() {
            for (x, shape, of) in [(&x, (rows, cols), Of::Matrix), (&turned, (cols, rows), Of::Transpose)] {
                let (mut again, mut across) = (vec![7; left.len()], vec![7; right.len()]);
                pack_left(level, &mut again, x, shape, of);
                pack_right(level, &mut across, x, shape, of);
                assert!(again == left && across == right, "{level:?} {rows} {cols} {of:?}");
            }
        }
    }
}

#[test]
fn bf16_products_of_ragged_shapes_keep_their_bound() {
    let shapes = [
        [1, 1, 1],
        [16, 16, 32],
        [32, 32, 64],
        [17, 15, 31],
        [48, 16, 33],
        [5, 49, 130],
        [33, 65, 7],
        [3, 0, 5],
        [0, 3, 5],
        [4, 4, 0],
        // Beyond one block of the depth, of columns and of rows.
        [18, 20, 600],
        [8, 300, 40],
        [150, 9, 40],
    ];
    for shape @ [m, n, k] in shapes {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        for (how, start) in [(Output::Write, f32::NAN), (Output::Add, 0.75)] {
            for level in multiplying() {
                let found = multiplied(level, how, start, &a, &b, shape);
                let start = if how == Output::Add { start } else { 0.0 };
                within_bound(&format!("{level:?} {shape:?}"), &found, start, &a, &b, shape);
            }
        }
    }
}

#[test]
fn bf16_products_of_outliers_denormals_and_nan_keep_their_bound() {
    let shape @ [m, n, k] = [37, 19, 45];
    let (mut a, mut b) = (numbers(m * k, 3), numbers(k * n, 4));
    for row in 0..m {
        let part = &mut a[row * k..][..k];
        match row % 7 {
            1 => part.fill(0.0),
            2 => part.iter_mut().step_by(5).for_each(|x| *x *= 1e6),
            3 => part.iter_mut().for_each(|x| *x *= 1e-40),
            4 => part[row] *= 1e6,
            5 => part[row] = f32::NAN,
            // Never beside a denormal, of which levels differ.
            6 => part[0] = f32::NEG_INFINITY,
            _ => {}
        }
    }
    b[5] = 0.0;
    for at in (1..k).step_by(6) {
        b[at * n + 2] *= 1e6;
        b[at * n + 3] *= 1e-30;
        b[at * n + 4] *= 1e-38;
    }
    for level in multiplying() {
        for (how, start) in [(Output::Write, 0.0), (Output::Add, -3e5)] {
            let found = multiplied(level, how, start, &a, &b, shape);
            within_bound(&format!("{level:?}"), &found, start, &a, &b, shape);
        }
    }
}

#[test]
fn bf16_products_of_parts_of_packed_sides_are_those_parts() {
    let [m, n, k] = [40, 70, 100];
    let (a, b) = (numbers(m * k, 5), numbers(k * n, 6));
    for level in multiplying() {
        let (mut left, mut right) = (vec![0; words(m, k)], vec![0; words(n, k)]);
        pack_left(level, &mut left, &a, (m, k), Of::Matrix);
        pack_right(level, &mut right, &b, (k, n), Of::Matrix);
        let (left, right) = (Left::new(&left, m, k), Right::new(&right, k, n));
        let mut whole = vec![0.0; m * n];
        product(level, &mut whole, Output::Write, left, right);
        let mut part = vec![0.0; 8 * 22];
        product(level, &mut part, Output::Write, left.rows(32..40), right.cols(48..70));
        for (at, value) in part.iter().enumerate() {
            assert_eq!(*value, whole[(32 + at / 22) * n + 48 + at % 22], "{level:?} {at}");
        }
        // The depth in two goes.
        let (mut short, mut rest) = (vec![0; words(m, 64)], vec![0; words(m, 36)]);
        let columns = |from: usize, to: usize| -> Vec<f32> {
            a.chunks(k).flat_map(|row| row[from..to].iter().copied()).collect()
        };
        pack_left(level, &mut short, &columns(0, 64), (m, 64), Of::Matrix);
        pack_left(level, &mut rest, &columns(64, k), (m, 36), Of::Matrix);
        let mut twice = vec![f32::NAN; m * n];
        product(level, &mut twice, Output::Write, Left::new(&short, m, 64), right.depth(0..64));
        product(level, &mut twice, Output::Add, Left::new(&rest, m, 36), right.depth(64..k));
        assert_eq!(twice, whole, "{level:?}");
    }
}

#[test]
fn bf16_products_are_the_same_on_any_number_of_threads() {
    let shape @ [m, n, k] = [70, 33, 40];
    let (a, b) = (numbers(m * k, 7), numbers(k * n, 8));
    for level in Level::all() {
        let mut found = [1, 2, 3, 8].map(|threads| {
            let mut out = vec![f32::NAN; m * n];
            matmul(level, threads, &mut out, &a, &b, shape);
            out
        });
        within_bound(&format!("{level:?}"), &found[0], 0.0, &a, &b, shape);
        found.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(found[0], found[3], "{level:?}");
    }
    matmul(Level::PORTABLE, 2, &mut [], &[], &[], [0, 0, 3]);
    matmul(Level::PORTABLE, 2, &mut [1.0; 6], &[], &[], [2, 3, 0]);
}

#[test]
fn bf16_peak_counts_what_it_runs() {
    for level in Level::all() {
        let counted = [1, 3].map(|rounds| peak(level, rounds).map(|(_, operations)| operations));
        assert_eq!(counted[0].is_none(), level == Level::PORTABLE);
        assert_eq!(counted[1], counted[0].map(|once| 3 * once));
    }
}

/// On the emulated processor the tests above are vacuous for tiles unless they are found.
#[test]
#[ignore = "needs a processor with AMX: make test-isa has one"]
fn bf16_finds_tiles() {
    assert_eq!(Level::detect().kind(), Kind::Amx);
}
