//! Factors against planted ones.

use super::*;
use crate::noise;

fn normals(n: usize, key: u64) -> Vec<f64> {
    (0..n as u64).map(|i| noise::normal(key, i)).collect()
}

/// `n` orthonormal rows of length `len`, as columns of a list.
fn orthonormal(n: usize, len: usize, key: u64) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for i in 0..n {
        let mut row = normals(len, key + i as u64);
        for _ in 0..2 {
            for earlier in &rows {
                let along: f64 = earlier.iter().zip(&row).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(earlier).for_each(|(x, e)| *x -= along * e);
            }
        }
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        rows.push(row.iter().map(|x| x / norm).collect());
    }
    rows
}

fn assemble(u: &[Vec<f64>], s: &[f64], v: &[Vec<f64>]) -> Vec<f32> {
    let (rows, cols) = (u[0].len(), v[0].len());
    (0..rows * cols)
        .map(|i| s.iter().enumerate().map(|(t, s)| u[t][i / cols] * s * v[t][i % cols]).sum::<f64>() as f32)
        .collect()
}

/// Close relative to the largest entry.
fn close(a: &[f32], b: &[f32], bound: f32) {
    let scale = b.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= bound * scale.max(1.0), "{i}: {a}, not {b}");
    }
}

#[test]
fn newton_schulz_maps_singular_values_by_its_polynomial() {
    let [a, b, c] = QUINTIC.map(f64::from);
    for (rows, cols) in [(8, 8), (6, 20), (20, 6), (1, 5), (64, 64)] {
        let n = rows.min(cols);
        let (u, v) = (orthonormal(n, rows, 1), orthonormal(n, cols, 500));
        let s: Vec<f64> = (0..n).map(|i| 3.0 / (1.0 + i as f64)).collect();
        let norm = s.iter().map(|s| s * s).sum::<f64>().sqrt();
        let mapped: Vec<f64> =
            s.iter().map(|s| (0..5).fold(s / norm, |x, _| a * x + b * x.powi(3) + c * x.powi(5))).collect();
        let mut x = assemble(&u, &s, &v);
        newton_schulz(&mut x, rows, cols, 5, QUINTIC);
        close(&x, &assemble(&u, &mapped, &v), 1e-5);
    }
}

#[test]
fn newton_schulz_ignores_scale_and_commutes_with_transposition() {
    let (rows, cols) = (5, 12);
    let x: Vec<f32> = normals(rows * cols, 9).iter().map(|&x| x as f32).collect();
    let run = |x: &[f32], rows, cols| {
        let mut y = x.to_vec();
        newton_schulz(&mut y, rows, cols, 5, QUINTIC);
        y
    };
    let flip = |x: &[f32]| -> Vec<f32> { (0..rows * cols).map(|i| x[(i % rows) * cols + i / rows]).collect() };
    let plain = run(&x, rows, cols);
    close(&run(&x.iter().map(|v| v * 128.0).collect::<Vec<_>>(), rows, cols), &plain, 1e-5);
    close(&run(&flip(&x), cols, rows), &flip(&plain), 1e-5);
    assert_eq!(run(&[0.0; 6], 2, 3), [0.0; 6], "nothing to orthogonalise");
}

#[test]
fn eigenvectors_of_a_planted_matrix() {
    let n = 12;
    let vectors = orthonormal(n, n, 3);
    let values: Vec<f64> = (0..n).map(|i| 5.0 - i as f64 * 0.9).collect();
    let matrix: Vec<f64> =
        (0..n * n).map(|i| values.iter().zip(&vectors).map(|(l, v)| l * v[i / n] * v[i % n]).sum()).collect();
    let found = symmetric_eigen(&matrix, n);
    for i in 0..n {
        assert!((found.values[i] - values[i]).abs() < 1e-12);
        let along: f64 = found.vectors[i * n..][..n].iter().zip(&vectors[i]).map(|(a, b)| a * b).sum();
        assert!((along.abs() - 1.0).abs() < 1e-12);
    }
    assert!(symmetric_eigen(&[], 0).values.is_empty());
}

fn decompose(matrix: &[f32], rows: usize, cols: usize, rank: usize) -> Svd {
    let view = View::new(matrix, rows, cols);
    randomized_svd(
        |x, n, out| gemm(out, Output::Write, 1.0, view, View::new(x, cols, n)),
        |y, n, out| gemm(out, Output::Write, 1.0, view.t(), View::new(y, rows, n)),
        Sketch { rows, cols, rank, oversample: 6, power_iterations: 2, seed: 4 },
    )
}

#[test]
fn svd_finds_a_planted_low_rank_matrix() {
    for (rows, cols) in [(60, 40), (30, 90), (7, 5)] {
        let s = [9.0, 4.0, 2.5, 1.0];
        let (u, v) = (orthonormal(4, rows, 20), orthonormal(4, cols, 700));
        let matrix = assemble(&u, &s, &v);
        let found = decompose(&matrix, rows, cols, 4);
        assert_eq!(found.rank, 4);
        for t in 0..4 {
            assert!((f64::from(found.s[t]) - s[t]).abs() < 1e-4, "{:?}", found.s);
            let along: f64 = (0..rows).map(|r| u[t][r] * f64::from(found.u[r * 4 + t])).sum();
            assert!((along.abs() - 1.0).abs() < 1e-4);
            let along: f64 = (0..cols).map(|c| v[t][c] * f64::from(found.v[c * 4 + t])).sum();
            assert!((along.abs() - 1.0).abs() < 1e-4);
        }
        let scaled: Vec<f32> = found.u.chunks(4).flat_map(|r| [0, 1, 2, 3].map(|t| r[t] * found.s[t])).collect();
        let mut again = vec![0.0; rows * cols];
        gemm(&mut again, Output::Write, 1.0, View::new(&scaled, rows, 4), View::new(&found.v, cols, 4).t());
        close(&again, &matrix, 1e-5);
    }
}

#[test]
fn svd_of_a_matrix_of_lower_rank_than_asked() {
    let (u, v) = (orthonormal(1, 9, 2), orthonormal(1, 8, 5));
    let found = decompose(&assemble(&u, &[2.0], &v), 9, 8, 3);
    assert!((found.s[0] - 2.0).abs() < 1e-5 && found.s[1] < 1e-4 && found.s.iter().all(|s| s.is_finite()));
    assert!(found.u.iter().chain(&found.v).all(|x| x.is_finite()));
    assert_eq!(decompose(&[3.0], 1, 1, 5).rank, 1);
}
