//! Products of quantised matrices: scales by row, by block, and one product an expert.
//!
//! In: matrices, quantised here. Out: outcomes. What quantising costs is no part of it: the reference multiplies the
//! same codes. Beside every element's bound, which holds for any operands, a case of many random ones is judged by its
//! error as a whole.

use super::{Meter, Outcome};
use crate::Level;
use crate::fp8::{BLOCK, Format, Quantised, Scaling};
use crate::twins::{Arithmetic, Kernels, Operation, Rows, bounds, cases, reference};

/// `m × n × k`.
const SHAPES: [(usize, usize, usize); 11] = [
    (1, 1, 1),
    (0, 3, 4),
    (3, 5, 31),
    (17, 300, 128),
    (33, 40, 129),
    (130, 70, 384),
    (5, 24, 5000),
    (64, 128, 1792),
    (129, 257, 512),
    (24, 40, 4096),
    (48, 64, 5376),
];

/// Elements from which on the root of a mean square says something.
const MANY: usize = 100;

fn quantised(scaling: Scaling, data: &[f32], rows: usize, cols: usize) -> Quantised {
    Quantised::new(Level::detect(), Format::E4m3, scaling, data, rows, cols)
}

fn expected(arithmetic: Arithmetic, a: &Quantised, b: &Quantised, width: usize) -> Vec<(f64, f64)> {
    let (m, n, k) = (a.rows(), b.rows(), a.cols());
    let scale = a.scales().iter().chain(b.scales()).fold(0.0_f64, |largest, &scale| largest.max(f64::from(scale)));
    let of = |(sum, magnitude)| (sum, bounds::product(arithmetic, k, width, magnitude, scale));
    reference::products(&reference::dequantise(a), &reference::dequantise(b), k, m, n).into_iter().map(of).collect()
}

pub(super) fn check<K: Kernels>(kernels: &mut K, operation: Operation, real: Rows<'_>) -> Vec<Outcome> {
    let by_block = operation == Operation::BlockProduct;
    let (left, right) = if by_block { (Scaling::Tiles, Scaling::Blocks) } else { (Scaling::Rows, Scaling::Rows) };
    let in_bf16 = operation == Operation::ProductBf16;
    let mut outcomes = Vec::new();
    let mut run = |what: &str, a: &Quantised, b: &Quantised| {
        let (m, n, k) = (a.rows(), b.rows(), a.cols());
        let mut meter = Meter::new(operation, &format!("{what} {m} x {n} x {k}"));
        let (arithmetic, width) = (kernels.arithmetic(), if by_block { BLOCK } else { k.max(1) });
        let mut expected = expected(arithmetic, a, b, width);
        let mut limit = bounds::product_spread(arithmetic, k, width);
        if in_bf16 {
            expected.iter_mut().for_each(|(y, bound)| *bound = bounds::half(arithmetic, *y, *bound));
            limit = bounds::half_spread(arithmetic, limit);
            meter.all(kernels.product_bf16(a, b), &expected);
        } else {
            meter.all(kernels.product(a, b), &expected);
        }
        if what == "random" && m * n >= MANY {
            meter.spread(limit);
        }
        outcomes.push(meter.outcome);
    };
    for (m, n, k) in SHAPES {
        let (a, b) = (cases::normals(4, m * k), cases::normals(5, n * k));
        let (a, b) = (quantised(left, &a, m, k), quantised(right, &b, n, k));
        run("random", &a, &b);
        let (a, b) = (cases::adversarial(6, m, k), cases::outlying(7, n, k));
        let (a, b) = (quantised(left, &a, m, k), quantised(right, &b, n, k));
        run("adversarial", &a, &b);
    }
    let (rows, cols) = (real.rows(), real.cols);
    let some = rows.min(48);
    let a = quantised(left, &real.data[..some * cols], some, cols);
    let b = quantised(right, real.data, rows, cols);
    run("trained", &a, &b);
    outcomes
}

pub(super) fn check_grouped<K: Kernels>(kernels: &mut K, real: Rows<'_>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    // Rows of each expert: some have none, some more than a tile.
    let lists: [(&str, &[usize], usize, usize); 6] = [
        ("random", &[3, 0, 17, 130], 70, 384),
        ("random", &[0, 0, 1], 5, 129),
        ("random", &[0], 5, 128),
        ("random", &[9, 5], 24, 5376),
        ("adversarial", &[12, 6, 0, 64], 128, 256),
        ("trained", &[20, 0, 9], 64, real.cols),
    ];
    for (name, sizes, n, k) in lists {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (expert, &rows) in sizes.iter().enumerate() {
            let seed = 10 + expert as u64;
            let (x, w) = match name {
                "adversarial" => (cases::adversarial(seed, rows, k), cases::outlying(seed + 50, n, k)),
                "trained" => {
                    let part = |first: usize, rows: usize| real.data[first * k..(first + rows) * k].to_vec();
                    let n = n.min(real.rows());
                    (part(0, rows.min(real.rows())), part(real.rows() - n, n))
                }
                _ => (cases::normals(seed, rows * k), cases::normals(seed + 50, n * k)),
            };
            a.push(quantised(Scaling::Tiles, &x, x.len() / k, k));
            b.push(quantised(Scaling::Blocks, &w, w.len() / k, k));
        }
        let mut meter = Meter::new(Operation::GroupedProduct, &format!("{name} {sizes:?} x {n} x {k}"));
        let arithmetic = kernels.arithmetic();
        let expected: Vec<(f64, f64)> = a.iter().zip(&b).flat_map(|(a, b)| expected(arithmetic, a, b, BLOCK)).collect();
        meter.all(kernels.grouped_product(&a, &b), &expected);
        if name == "random" && expected.len() >= MANY {
            meter.spread(bounds::product_spread(arithmetic, k, BLOCK));
        }
        outcomes.push(meter.outcome);
    }
    outcomes
}
