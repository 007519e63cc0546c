//! The fused softmax loss over 12,000 classes, with its gradients, beside the three matrix products that it cannot do
//! without (logits, gradient of the rows, gradient of the table) and beside the same loss without fusion.

use std::hint::black_box;

use anyhow::{Result, ensure};
use recmesh_kernels::{
    Grads, Init, Params, Role, Tape, Workspace,
    linalg::{Output, View, gemm},
};

use super::random::Random;
use crate::measure::{Bench, Side};

const ROWS: usize = 800;
const CLASSES: usize = 12_000;
const DIM: usize = 64;
const FLOOR: &str = "three bare products";
const FUSED: &str = "fused loss and gradients";

/// Memory of the products.
struct Products {
    logits: Vec<f32>,
    d_rows: Vec<f32>,
    d_table: Vec<f32>,
}

impl Products {
    fn logits(&mut self, rows: &[f32], table: &[f32]) {
        let (rows, table) = (View::new(rows, ROWS, DIM), View::new(table, CLASSES, DIM));
        gemm(&mut self.logits, Output::Write, 1.0, rows, table.t());
    }

    fn gradients(&mut self, rows: &[f32], table: &[f32]) {
        let logits = View::new(&self.logits, ROWS, CLASSES);
        gemm(&mut self.d_rows, Output::Write, 1.0, logits, View::new(table, CLASSES, DIM));
        gemm(&mut self.d_table, Output::Write, 1.0, logits.t(), View::new(rows, ROWS, DIM));
    }

    /// Puts `softmax − one-hot` in the place of the logits; gives the loss.
    fn probabilities(&mut self, targets: &[u32]) -> f64 {
        let mut loss = 0.0;
        for (logits, &target) in self.logits.chunks_exact_mut(CLASSES).zip(targets) {
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let target_logit = logits[target as usize];
            let mut sum = 0.0;
            for logit in logits.iter_mut() {
                *logit = (*logit - max).exp();
                sum += *logit;
            }
            for logit in logits.iter_mut() {
                *logit /= sum;
            }
            logits[target as usize] -= 1.0;
            loss += f64::from(sum.ln() + max - target_logit);
        }
        loss
    }
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let mut random = Random(6);
    let rows = random.numbers(ROWS * DIM);
    let targets: Vec<u32> = (0..ROWS).map(|_| random.below(CLASSES) as u32).collect();
    let mut params = Params::default();
    let id = params.add("table", Role::Embedding, CLASSES, DIM, Init::Normal(0.1), 7);
    let table = &params.get(id).data;
    let mut grads = Grads::zeros(&params);
    let mut workspace = Workspace::default();
    let mut fused = || {
        let mut tape = Tape::train(&params, &mut workspace, 0);
        let x = tape.constant(ROWS, DIM, &rows);
        let loss = tape.softmax_loss(x, id, 0..CLASSES, &targets, None);
        let value = f64::from(tape.value(loss)[0]);
        tape.backward(&[(loss, 1.0)], &mut grads);
        value
    };
    let (logits, d_rows) = (vec![0.0; ROWS * CLASSES], vec![0.0; ROWS * DIM]);
    let mut products = Products { logits, d_rows, d_table: vec![0.0; CLASSES * DIM] };
    products.logits(&rows, table);
    let (plain, fused_loss) = (products.probabilities(&targets), fused());
    ensure!((plain - fused_loss).abs() < 1e-4 * plain, "the losses disagree: {plain} and {fused_loss}");

    let (mut floor, mut apart) = (
        products,
        Products {
            logits: vec![0.0; ROWS * CLASSES],
            d_rows: vec![0.0; ROWS * DIM],
            d_table: vec![0.0; CLASSES * DIM],
        },
    );
    bench.compare(
        &format!("softmax loss {ROWS}x{CLASSES}x{DIM}"),
        "batch",
        vec![
            Side::new(FLOOR, || {
                floor.logits(&rows, table);
                floor.gradients(&rows, table);
                black_box(&floor.d_table);
                Ok(())
            }),
            Side::new(FUSED, || {
                black_box(fused());
                Ok(())
            }),
            Side::new("products and a plain softmax", || {
                apart.logits(&rows, table);
                black_box(apart.probabilities(&targets));
                apart.gradients(&rows, table);
                black_box(&apart.d_table);
                Ok(())
            }),
        ],
    )?;
    let share = bench.median(FLOOR) / bench.median(FUSED);
    bench.note(format!("the products are {:.0} % of the fused loss's time", 100.0 * share));
    Ok(())
}
