//! Eight-bit floats against naive references: formats, scaled matrices, both products, gates.

mod emulate;
mod formats;
mod gates;
mod quantised;
mod serve;

use recmesh_kernels::fp8::Quantised;

/// Standard normals from a counter: a hash, then Box–Muller. The same on every machine.
pub fn normals(seed: u64, count: usize) -> Vec<f32> {
    let uniform = |counter: u64| {
        let mut x = (seed << 40 ^ counter).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for (shift, factor) in [(30, 0xBF58_476D_1CE4_E5B9_u64), (27, 0x94D0_49BB_1331_11EB), (31, 1)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        ((x >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let normal = |i: u64| (-2.0 * uniform(2 * i).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * i + 1)).cos();
    (0..count as u64).map(|i| normal(i) as f32).collect()
}

/// `a · bᵀ` in f64, with `Σ |a · b|` beside each element.
pub fn product(a: &[f64], b: &[f64], k: usize) -> Vec<(f64, f64)> {
    let row = |a: &[f64], b: &[f64]| {
        let mut sums = (0.0, 0.0);
        for (x, y) in a.iter().zip(b) {
            sums.0 += x * y;
            sums.1 += (x * y).abs();
        }
        sums
    };
    a.chunks_exact(k).flat_map(|a| b.chunks_exact(k).map(move |b| row(a, b))).collect()
}

/// `code · scale` without rounding.
pub fn exact(x: &Quantised) -> Vec<f64> {
    let value = |at: usize| {
        let (row, col) = (at / x.cols(), at % x.cols());
        f64::from(x.format().decode(x.codes()[at])) * f64::from(x.scale_at(row, col))
    };
    (0..x.codes().len()).map(value).collect()
}
