//! Eigenvectors of a small symmetric matrix by cyclic Jacobi rotations, in f64.
//!
//! In: a symmetric matrix. Out: eigenvalues, largest first, and their vectors. For tens or hundreds of rows, not more.

/// Eigenvalues, largest first, and eigenvectors.
#[derive(Clone, Debug)]
pub struct Eigen {
    /// Eigenvalues.
    pub values: Vec<f64>,
    /// `[n, n]`; row `i` is the unit vector of `values[i]`.
    pub vectors: Vec<f64>,
}

/// Enough for any matrix met: convergence is quadratic and takes six to ten sweeps.
const SWEEPS: usize = 60;

/// Eigen-decomposition of an `n × n` symmetric matrix.
///
/// # Panics
/// If the slice is not `n × n` long.
#[must_use]
pub fn symmetric_eigen(matrix: &[f64], n: usize) -> Eigen {
    assert_eq!(matrix.len(), n * n, "a matrix of {n} x {n}");
    let mut a = matrix.to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    let total: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j].powi(2)).sum();
        if off <= total * 1e-30 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, (p, q));
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]).then(i.cmp(&j)));
    Eigen {
        values: order.iter().map(|&i| a[i * n + i]).collect(),
        vectors: order.iter().flat_map(|&i| v[i * n..(i + 1) * n].iter().copied()).collect(),
    }
}

/// Makes `a[p, q]` zero by a rotation of rows and columns p and q.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
    }
    for k in 0..n {
        let (x, y) = (v[p * n + k], v[q * n + k]);
        v[p * n + k] = c * x - s * y;
        v[q * n + k] = s * x + c * y;
    }
}
