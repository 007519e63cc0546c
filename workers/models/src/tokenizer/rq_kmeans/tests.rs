//! Residual k-means on planted structure, its negative control, the naive encoder, and hard inputs.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recmesh_contract::{Silent, config::RqKMeans};

use super::*;

fn params(levels: u32, codebook_size: u32, seed: u64) -> RqKMeans {
    let text = format!(r#"{{"levels": {levels}, "codebookSize": {codebook_size}, "seed": {seed}}}"#);
    serde_json::from_str(&text).unwrap()
}

fn normal(random: &mut Pcg64Mcg) -> f32 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

fn noise(rows: usize, cols: usize, seed: u64) -> Vectors {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    Vectors { rows, cols, data: (0..rows * cols).map(|_| normal(&mut random)).collect() }
}

/// Three nested levels of eight clusters, ever smaller; the true code of level 1 beside each vector.
fn nested(per_leaf: usize, seed: u64) -> (Vectors, Vec<u32>) {
    const DIMS: usize = 16;
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut centres = |scale: f32| (0..8 * DIMS).map(|_| scale * normal(&mut random)).collect::<Vec<f32>>();
    let (large, middle, small) = (centres(10.0), centres(2.0), centres(0.4));
    let (mut data, mut truth) = (Vec::new(), Vec::new());
    for leaf in 0..512 {
        let (a, b, c) = (leaf / 64, leaf / 8 % 8, leaf % 8);
        for _ in 0..per_leaf {
            truth.push(a as u32);
            let at = |d: usize| large[a * DIMS + d] + middle[b * DIMS + d] + small[c * DIMS + d];
            data.extend((0..DIMS).map(|d| at(d) + 0.02 * normal(&mut random)));
        }
    }
    (Vectors { rows: truth.len(), cols: DIMS, data }, truth)
}

/// Normalised mutual information of two labelings.
fn nmi(a: &[u32], b: &[u32]) -> f64 {
    let n = a.len() as f64;
    let mut joint = std::collections::BTreeMap::new();
    let (mut left, mut right) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    for (&x, &y) in a.iter().zip(b) {
        *joint.entry((x, y)).or_insert(0.0) += 1.0 / n;
        *left.entry(x).or_insert(0.0) += 1.0 / n;
        *right.entry(y).or_insert(0.0) += 1.0 / n;
    }
    let entropy = |m: &std::collections::BTreeMap<u32, f64>| m.values().map(|p: &f64| -p * p.ln()).sum::<f64>();
    let mutual: f64 = joint.iter().map(|((x, y), p): (_, &f64)| p * (p / (left[x] * right[y])).ln()).sum();
    mutual / (entropy(&left) * entropy(&right)).sqrt()
}

fn first_level(fit: &Fit, levels: usize) -> Vec<u32> {
    fit.codes.iter().step_by(levels).copied().collect()
}

/// The definition, written out.
fn naive(quantizer: &Quantizer, vectors: &Vectors) -> Vec<u32> {
    let mut codes = Vec::new();
    for i in 0..vectors.rows {
        let mut residual = vectors.of(i).to_vec();
        for book in &quantizer.codebooks {
            let mut best = (f64::INFINITY, 0);
            for (code, centroid) in book.chunks(quantizer.dims).enumerate() {
                let d: f64 = residual.iter().zip(centroid).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
                if d < best.0 {
                    best = (d, code);
                }
            }
            codes.push(best.1 as u32);
            let centroid = &book[best.1 * quantizer.dims..(best.1 + 1) * quantizer.dims];
            residual.iter_mut().zip(centroid).for_each(|(r, c)| *r -= c);
        }
    }
    codes
}

#[test]
fn nested_clusters_are_found() {
    let (vectors, truth) = nested(6, 1);
    let fit = fit(&vectors, &params(3, 8, 7), 2, &Silent).unwrap();
    let agreement = nmi(&first_level(&fit, 3), &truth);
    assert!(agreement > 0.95, "{agreement}");
    assert!(fit.levels.iter().all(|l| l.used == l.size), "every code is used");
    assert!(fit.levels.windows(2).all(|l| l[1].residual_norm < l[0].residual_norm));
    // What is left is the noise of 0.02 in 16 dimensions, about 0.08; level 3 must come near it.
    assert!(fit.levels[2].residual_norm < 0.6, "{}", fit.levels[2].residual_norm);
    assert!((fit.levels[0].entropy - 8f64.ln()).abs() < 0.05);
}

#[test]
fn noise_has_no_clusters_to_find() {
    let (_, truth) = nested(6, 1);
    let fit = fit(&noise(truth.len(), 16, 2), &params(1, 8, 7), 1, &Silent).unwrap();
    let agreement = nmi(&fit.codes, &truth);
    assert!(agreement < 0.02, "{agreement}");
}

#[test]
fn codes_are_those_of_the_naive_encoder() {
    let (vectors, _) = nested(2, 3);
    let fit = fit(&vectors, &params(3, 20, 5), 2, &Silent).unwrap();
    assert_eq!(naive(&fit.quantizer, &vectors), fit.codes);
    let others = noise(300, 16, 9);
    assert_eq!(encode(&fit.quantizer, &others, 3).unwrap(), naive(&fit.quantizer, &others));
}

#[test]
fn equal_seeds_equal_codes_for_any_threads() {
    let (vectors, _) = nested(3, 4);
    let one = fit(&vectors, &params(2, 32, 5), 1, &Silent).unwrap();
    assert_eq!(one, fit(&vectors, &params(2, 32, 5), 4, &Silent).unwrap());
    assert_ne!(one, fit(&vectors, &params(2, 32, 6), 1, &Silent).unwrap());
}

#[test]
fn ties_go_to_the_lowest_code() {
    let quantizer = Quantizer { dims: 1, codebooks: vec![vec![1.0, -1.0, 1.0]] };
    let vectors = Vectors { rows: 3, cols: 1, data: vec![0.0, 5.0, -5.0] };
    assert_eq!(encode(&quantizer, &vectors, 1).unwrap(), [0, 0, 1]);
}

#[test]
fn every_code_is_used_when_points_suffice() {
    let fit = fit(&noise(400, 4, 11), &params(3, 64, 1), 1, &Silent).unwrap();
    assert!(fit.levels.iter().all(|l| l.used == 64), "{:?}", fit.levels);
}

#[test]
fn small_and_equal_catalogs() {
    let one = fit(&noise(1, 4, 1), &params(3, 8, 1), 4, &Silent).unwrap();
    assert_eq!((one.codes.as_slice(), one.quantizer.sizes()), (&[0, 0, 0][..], vec![1, 1, 1]));
    assert!(one.levels.iter().all(|l| l.residual_norm == 0.0 && l.entropy == 0.0));

    let equal = Vectors { rows: 10, cols: 2, data: [0.3, -0.7].repeat(10) };
    let equal = fit(&equal, &params(2, 4, 1), 2, &Silent).unwrap();
    assert_eq!(equal.codes, [0; 20]);
    assert_eq!((equal.levels[0].used, equal.levels[0].size), (1, 4));

    let pairs = Vectors { rows: 4, cols: 1, data: vec![1.0, 2.0, 1.0, 2.0] };
    let pairs = fit(&pairs, &params(1, 3, 1), 1, &Silent).unwrap();
    assert_eq!((pairs.codes[0], pairs.codes[1]), (pairs.codes[2], pairs.codes[3]));
    assert_ne!(pairs.codes[0], pairs.codes[1]);
}

#[test]
fn bad_vectors_are_refused() {
    let mut holed = noise(5, 3, 1);
    holed.data[7] = f32::NAN;
    let error = fit(&holed, &params(1, 2, 1), 1, &Silent).unwrap_err().to_string();
    assert!(error.contains("item 2"), "{error}");
    assert!(fit(&Vectors { rows: 0, cols: 3, data: vec![] }, &params(1, 2, 1), 1, &Silent).is_err());
    assert!(fit(&Vectors { rows: 2, cols: 3, data: vec![0.0; 5] }, &params(1, 2, 1), 1, &Silent).is_err());
    let quantizer = Quantizer { dims: 2, codebooks: vec![vec![0.0; 4]] };
    assert!(encode(&quantizer, &noise(2, 3, 1), 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn encode_equals_naive_even_with_ties(
        rows in prop::collection::vec(prop::collection::vec(-3i8..=3, 3), 1..20),
        book in prop::collection::vec(prop::collection::vec(-3i8..=3, 3), 1..12),
    ) {
        let floats = |m: &[Vec<i8>]| m.iter().flatten().map(|&x| f32::from(x)).collect::<Vec<_>>();
        let quantizer = Quantizer { dims: 3, codebooks: vec![floats(&book), floats(&book)] };
        let vectors = Vectors { rows: rows.len(), cols: 3, data: floats(&rows) };
        prop_assert_eq!(encode(&quantizer, &vectors, 1).unwrap(), naive(&quantizer, &vectors));
    }
}
