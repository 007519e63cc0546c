//! Optimizers against naive f64 twins, Muon's exact oracle and invariances, and who is updated by whom.

mod planted;

use proptest::prelude::*;
use recmesh_contract::config::{AdamW, Muon, MuonScale};
use recmesh_kernels::Init;

use super::*;

const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Row-major f64 matrix with plain loops.
#[derive(Clone, Debug)]
struct Plain {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Plain {
    fn of(rows: usize, cols: usize, data: &[f32]) -> Self {
        Self { rows, cols, data: data.iter().map(|&v| f64::from(v)).collect() }
    }
    fn map(&self, f: impl Fn(usize, f64) -> f64) -> Self {
        Self { data: self.data.iter().enumerate().map(|(i, &v)| f(i, v)).collect(), ..self.clone() }
    }
    fn t(&self) -> Self {
        let data = (0..self.data.len()).map(|i| self.data[i % self.rows * self.cols + i / self.rows]).collect();
        Self { rows: self.cols, cols: self.rows, data }
    }
    fn dot(&self, other: &Self) -> Self {
        assert_eq!(self.cols, other.rows);
        let at = |i: usize| {
            (0..self.cols)
                .map(|k| self.data[i / other.cols * self.cols + k] * other.data[k * other.cols + i % other.cols])
                .sum()
        };
        Self { rows: self.rows, cols: other.cols, data: (0..self.rows * other.cols).map(at).collect() }
    }
    fn norm(&self) -> f64 {
        self.data.iter().map(|v| v * v).sum::<f64>().sqrt()
    }
    fn f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }
    /// The same with orthonormal columns, by Gram and Schmidt.
    fn orthonormal(&self) -> Self {
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for c in 0..self.cols {
            let mut column: Vec<f64> = (0..self.rows).map(|r| self.data[r * self.cols + c]).collect();
            for _ in 0..2 {
                for done in &columns {
                    let share: f64 = column.iter().zip(done).map(|(a, b)| a * b).sum();
                    column.iter_mut().zip(done).for_each(|(a, b)| *a -= share * b);
                }
            }
            let norm = column.iter().map(|v| v * v).sum::<f64>().sqrt();
            columns.push(column.iter().map(|v| v / norm).collect());
        }
        self.map(|i, _| columns[i % self.cols][i / self.cols])
    }
    /// Newton-Schulz by the definition.
    fn orthogonalised(&self, steps: u32) -> Self {
        if self.rows > self.cols {
            return self.t().orthogonalised(steps).t();
        }
        let [a, b, c] = COEFFICIENTS;
        let norm = self.norm() + 1e-7;
        let mut x = self.map(|_, v| v / norm);
        for _ in 0..steps {
            let gram = x.dot(&x.t());
            let square = gram.dot(&gram);
            let correction = gram.map(|i, v| b * v + c * square.data[i]).dot(&x);
            x = x.map(|i, v| a * v + correction.data[i]);
        }
        x
    }
}

fn noise(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut params = Params::default();
    let id = params.add("noise", Role::Matrix, rows, cols, Init::Normal(1.0), seed);
    params.get(id).data.clone()
}

fn model(matrix: (usize, usize)) -> Params {
    let mut params = Params::default();
    params.add("items", Role::Embedding, 9, 7, Init::Normal(0.5), 1);
    params.add("map", Role::Matrix, matrix.0, matrix.1, Init::Normal(0.5), 1);
    params.add("gain", Role::Vector, 1, 7, Init::Normal(0.5), 1);
    params
}

/// Gradients that differ from step to step; those of tensor 0 have much smaller numbers.
fn gradient(params: &Params, step: u64) -> Grads {
    let mut grads = Grads::zeros(params);
    for (index, tensor) in params.tensors().iter().enumerate() {
        let scale = if index == 0 { 1e-3 } else { 1.0 };
        let values = noise(tensor.rows, tensor.cols, 100 * step + index as u64);
        grads.get_mut(ParamId(index)).iter_mut().zip(values).for_each(|(g, v)| *g = v * scale);
    }
    grads
}

fn near(found: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (&found, &wanted) in found.iter().zip(wanted) {
        assert!((f64::from(found) - wanted).abs() < tolerance, "{found} and {wanted}");
    }
}

/// AdamW of one tensor as the paper writes it, in f64.
fn naive_adamw(config: &AdamW, decay: f64, weights: &[f32], steps: &[(Vec<f32>, StepScale)]) -> Vec<f64> {
    let mut w: Vec<f64> = weights.iter().map(|&v| f64::from(v)).collect();
    let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    for (t, (grad, scale)) in steps.iter().enumerate() {
        let t = t as i32 + 1;
        let lr = config.lr * scale.rate;
        for i in 0..w.len() {
            let g = f64::from(grad[i]) * scale.gradient;
            m[i] = config.beta1 * m[i] + (1.0 - config.beta1) * g;
            v[i] = config.beta2 * v[i] + (1.0 - config.beta2) * g * g;
            let (mean, square) = (m[i] / (1.0 - config.beta1.powi(t)), v[i] / (1.0 - config.beta2.powi(t)));
            w[i] -= lr * decay * w[i];
            w[i] -= lr * mean / (square.sqrt() + config.eps);
        }
    }
    w
}

fn scale(step: u64) -> StepScale {
    StepScale { gradient: if step.is_multiple_of(2) { 0.37 } else { 1.0 }, rate: 1.0 / (step + 1) as f64 }
}

/// The gradients of one tensor, step by step.
type Given = Vec<(Vec<f32>, StepScale)>;

/// Makes six steps; gives the weights before and after and what each tensor was given.
fn six_steps(config: &config::Optimizer, matrix: (usize, usize)) -> (Params, Params, Vec<Given>) {
    let before = model(matrix);
    let mut after = before.clone();
    let mut optimizer = Optimizer::new(config, &after);
    let mut given = vec![Vec::new(); 3];
    for step in 0..6 {
        let grads = gradient(&after, step);
        optimizer.step(&mut after, &grads, scale(step), 1);
        given.iter_mut().enumerate().for_each(|(i, given)| given.push((grads.get(ParamId(i)).to_vec(), scale(step))));
    }
    assert_eq!(optimizer.steps(), 6);
    (before, after, given)
}

#[test]
fn adamw_matches_its_naive_twin() {
    for (weight_decay, eps) in [(0.0, 1e-8), (0.1, 1e-3)] {
        let config = AdamW { lr: 0.01, weight_decay, eps, ..AdamW::default() };
        let (before, after, given) = six_steps(&config::Optimizer::AdamW(config.clone()), (5, 7));
        for (index, given) in given.iter().enumerate() {
            // The vector, tensor 2, is spared from decay.
            let decay = if index == 2 { 0.0 } else { weight_decay };
            let wanted = naive_adamw(&config, decay, &before.tensors()[index].data, given);
            near(&after.tensors()[index].data, &wanted, 1e-6);
        }
    }
}

#[test]
fn muon_matches_its_naive_twin() {
    for (shape, nesterov, muon_scale, weight_decay) in [
        ((5, 7), true, MuonScale::Keller, 0.0),
        ((9, 4), true, MuonScale::Keller, 0.1),
        ((9, 4), false, MuonScale::MatchRmsAdamW, 0.1),
        ((6, 6), false, MuonScale::MatchRmsAdamW, 0.0),
    ] {
        let config = Muon {
            lr: 0.02,
            momentum: 0.95,
            nesterov,
            ns_steps: 5,
            scale: muon_scale,
            weight_decay,
            adam: AdamW::default(),
        };
        let (before, after, given) = six_steps(&config::Optimizer::Muon(config.clone()), shape);
        let (rows, cols) = shape;
        let mut w = Plain::of(rows, cols, &before.tensors()[1].data);
        let mut momentum = w.map(|_, _| 0.0);
        for (grad, scale) in &given[1] {
            let grad = Plain::of(rows, cols, grad).map(|_, v| v * scale.gradient);
            momentum = momentum.map(|i, v| 0.95 * v + 0.05 * grad.data[i]);
            let ahead = momentum.map(|i, v| 0.95 * v + 0.05 * grad.data[i]);
            let x = if nesterov { &ahead } else { &momentum }.orthogonalised(5);
            let factor = match muon_scale {
                MuonScale::Keller => f64::max(1.0, rows as f64 / cols as f64).sqrt(),
                MuonScale::MatchRmsAdamW => 0.2 * (rows.max(cols) as f64).sqrt(),
            };
            let lr = 0.02 * scale.rate;
            w = w.map(|i, v| (1.0 - lr * weight_decay) * v - lr * factor * x.data[i]);
        }
        near(&after.tensors()[1].data, &w.data, 1e-6);
    }
}

/// What one Muon step at rate 1 subtracts from a matrix.
fn direction(rows: usize, cols: usize, grad: &[f32]) -> Vec<f32> {
    let muon = Muon {
        lr: 1.0,
        momentum: 0.95,
        nesterov: true,
        ns_steps: 5,
        scale: MuonScale::Keller,
        weight_decay: 0.0,
        adam: AdamW::default(),
    };
    let mut params = Params::default();
    let id = params.add("map", Role::Matrix, rows, cols, Init::Zeros, 0);
    let mut grads = Grads::zeros(&params);
    grads.get_mut(id).copy_from_slice(grad);
    let mut optimizer = Optimizer::new(&config::Optimizer::Muon(muon), &params);
    optimizer.step(&mut params, &grads, StepScale { gradient: 1.0, rate: 1.0 }, 1);
    let factor = f64::max(1.0, rows as f64 / cols as f64).sqrt() as f32;
    params.get(id).data.iter().map(|v| -v / factor).collect()
}

#[test]
fn muon_maps_singular_values_exactly() {
    // G = U · diag(s) · Vᵀ from known orthonormal U and V: the step must be U · diag(p⁵(s / ‖s‖)) · Vᵀ.
    let (rows, cols) = (12, 20);
    let u = Plain::of(rows, rows, &noise(rows, rows, 1)).orthonormal();
    let v = Plain::of(cols, rows, &noise(cols, rows, 2)).orthonormal();
    let s: Vec<f64> = (0..rows).map(|i| 3.0 * 0.6f64.powi(i as i32)).collect();
    let norm = s.iter().map(|s| s * s).sum::<f64>().sqrt();
    let [a, b, c] = COEFFICIENTS;
    let through: Vec<f64> =
        s.iter().map(|s| (0..5).fold(s / norm, |x, _| a * x + b * x.powi(3) + c * x.powi(5))).collect();
    for (s, p) in s.iter().zip(&through).filter(|(s, _)| **s / norm >= 0.0015) {
        assert!((0.68..=1.202).contains(p), "{s} went to {p}");
    }
    let with = |values: &[f64]| u.map(|i, x| x * values[i % rows]).dot(&v.t());
    near(&direction(rows, cols, &with(&s).f32()), &with(&through).data, 1e-5);
}

#[test]
fn muon_is_invariant_to_scale_transposition_and_rotation() {
    let (rows, cols) = (10, 16);
    let grad = Plain::of(rows, cols, &noise(rows, cols, 5));
    let found = Plain::of(rows, cols, &direction(rows, cols, &grad.f32()));
    near(&direction(rows, cols, &grad.map(|_, v| 37.5 * v).f32()), &found.data, 2e-5);
    near(&direction(cols, rows, &grad.t().f32()), &found.t().data, 2e-5);
    let q = Plain::of(rows, rows, &noise(rows, rows, 6)).orthonormal();
    near(&direction(rows, cols, &q.dot(&grad).f32()), &q.dot(&found).data, 2e-5);
}

#[test]
fn muon_leaves_embeddings_and_vectors_to_adamw() {
    let adam = AdamW { lr: 0.01, weight_decay: 0.1, ..AdamW::default() };
    let muon = Muon {
        lr: 0.02,
        momentum: 0.95,
        nesterov: true,
        ns_steps: 5,
        scale: MuonScale::Keller,
        weight_decay: 0.0,
        adam: adam.clone(),
    };
    // Tensors whose shapes would suit Newton-Schulz but whose roles do not.
    let (_, by_muon, _) = six_steps(&config::Optimizer::Muon(muon.clone()), (9, 7));
    let (_, by_adam, _) = six_steps(&config::Optimizer::AdamW(adam), (9, 7));
    assert_eq!(by_muon.tensors()[0], by_adam.tensors()[0]);
    assert_ne!(by_muon.tensors()[1], by_adam.tensors()[1]);
    assert_eq!(by_muon.tensors()[2], by_adam.tensors()[2]);
    let params = model((9, 7));
    let optimizer = Optimizer::new(&config::Optimizer::Muon(muon), &params);
    let names: Vec<String> = optimizer.state(&params).into_iter().map(|(name, _)| name).collect();
    let wanted = ["adam.mean/items", "adam.square/items", "muon.momentum/map", "adam.mean/gain", "adam.square/gain"];
    assert_eq!(names, wanted);
}

#[test]
fn weights_without_gradient_stay_numbers_whatever_eps() {
    for eps in [0.0, 1e-60] {
        let adam = AdamW { eps, ..AdamW::default() };
        let mut params = model((3, 3));
        let before = params.clone();
        let mut optimizer = Optimizer::new(&config::Optimizer::AdamW(adam), &params);
        let grads = Grads::zeros(&params);
        optimizer.step(&mut params, &grads, scale(0), 1);
        assert_eq!(params, before);
    }
}

#[test]
fn a_matrix_without_gradient_stays_whole() {
    let found = direction(6, 4, &[0.0; 24]);
    assert!(found.iter().all(|&v| v == 0.0), "{found:?}");
}

#[test]
fn state_goes_over_whole_and_what_is_missing_is_named() {
    for config in [config::Optimizer::default(), config::Optimizer::Muon(muon_defaults())] {
        let mut params = model((5, 7));
        let mut optimizer = Optimizer::new(&config, &params);
        for step in 0..3 {
            let grads = gradient(&params, step);
            optimizer.step(&mut params, &grads, scale(step), 1);
        }
        let state: HashMap<String, Vec<f32>> =
            optimizer.state(&params).into_iter().map(|(name, values)| (name, values.to_vec())).collect();
        let mut again = Optimizer::new(&config, &params);
        again.restore(&params, optimizer.steps(), state.clone()).unwrap();
        let mut twin = params.clone();
        let grads = gradient(&params, 3);
        optimizer.step(&mut params, &grads, scale(3), 1);
        again.step(&mut twin, &grads, scale(3), 1);
        assert_eq!(params, twin);

        let mut less = state.clone();
        less.remove("adam.square/gain");
        assert_eq!(again.restore(&params, 3, less).unwrap_err(), "adam.square/gain");
        let mut shorter = state;
        shorter.insert("adam.mean/items".to_owned(), vec![0.0; 3]);
        assert_eq!(again.restore(&params, 3, shorter).unwrap_err(), "adam.mean/items");
    }
}

fn muon_defaults() -> Muon {
    serde_json::from_str("{}").unwrap()
}

#[test]
fn threads_do_not_change_a_step() {
    let mut start = Params::default();
    start.add("items", Role::Embedding, 6000, 64, Init::Normal(0.1), 1);
    start.add("a", Role::Matrix, 64, 96, Init::Normal(0.1), 1);
    start.add("b", Role::Matrix, 96, 64, Init::Normal(0.1), 1);
    let config = config::Optimizer::Muon(muon_defaults());
    let of = |threads| {
        let mut params = start.clone();
        let mut optimizer = Optimizer::new(&config, &params);
        for step in 0..2 {
            let grads = gradient(&params, step);
            optimizer.step(&mut params, &grads, scale(step), threads);
        }
        params
    };
    let one = of(1);
    assert!((2..5).all(|threads| of(threads) == one));
}

proptest! {
    #[test]
    fn a_step_of_adamw_never_exceeds_its_rate(grad in prop::collection::vec(-1e3f32..1e3, 5)) {
        // |m̂| ≤ √v̂ on the first step, so no element moves further than the rate.
        let mut params = Params::default();
        let id = params.add("w", Role::Vector, 1, 5, Init::Zeros, 0);
        let mut grads = Grads::zeros(&params);
        grads.get_mut(id).copy_from_slice(&grad);
        let mut optimizer = Optimizer::new(&config::Optimizer::default(), &params);
        optimizer.step(&mut params, &grads, StepScale { gradient: 1.0, rate: 1.0 }, 1);
        prop_assert!(params.get(id).data.iter().all(|w| w.abs() <= 1.000_01e-3));
        prop_assert!(params.get(id).data.iter().zip(&grad).all(|(w, g)| w * g <= 0.0));
    }
}
