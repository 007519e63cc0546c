//! What the tape computes is what the formulas say, however queries are put together.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use recmesh_contract::{Class, Rank, RankQuery, Threads};
use recmesh_kernels::{Tape, Workspace};

use super::{super::*, categorical, features, naive, numeric, params};
use crate::Trainable;

fn tabular_rows(count: usize) -> Vec<TabularRow> {
    let mut random = Pcg64Mcg::seed_from_u64(5);
    let row = |_| TabularRow {
        numeric: vec![random.random_range(-4.0..4.0), random.random_range(-40.0..40.0)],
        categorical: vec![random.random_range(0..5), 0],
        labels: vec![Some(random.random()), None],
    };
    (0..count).map(row).collect()
}

/// Histories of every length from none to beyond what is read.
fn interaction_rows(count: usize) -> Vec<InteractionRow> {
    let mut random = Pcg64Mcg::seed_from_u64(6);
    let row = |i: usize| InteractionRow {
        history: (0..i % 8).map(|_| random.random_range(0..12)).collect(),
        user: [None, Some(random.random_range(0..6))][i % 2],
        item: random.random_range(0..12),
        labels: vec![None, Some(random.random())],
    };
    (0..count).map(row).collect()
}

/// A model whose every weight, biases too, is away from zero.
fn shaken<M: Trainable>(mut model: M) -> M {
    let mut random = Pcg64Mcg::seed_from_u64(7);
    for tensor in model.params_mut().tensors_mut() {
        tensor.data.iter_mut().for_each(|x| *x += random.random_range(-0.4..0.4));
    }
    model
}

fn interactions() -> InteractionMmoe {
    shaken(InteractionMmoe::new(&params(1.0), features(), 3).unwrap())
}

fn near(found: &[f32], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn tabular_forward_is_the_formula() {
    let model = shaken(TabularMmoe::new(&params(1.0), numeric(), categorical(), 3).unwrap());
    let rows = tabular_rows(40);
    let borrowed: Vec<&TabularRow> = rows.iter().collect();
    let wanted: Vec<f64> = rows.iter().flat_map(|r| naive::tabular(model.params(), &numeric(), r, 3)).collect();
    near(&model.probabilities(&mut Workspace::default(), &borrowed), &wanted);
    let spread = wanted.iter().fold(0.0f64, |a, &p| a.max((p - wanted[0]).abs()));
    assert!(spread > 0.05, "rows must differ for this test to mean anything: {spread}");
}

#[test]
fn interaction_forward_is_the_formula() {
    let model = interactions();
    let rows = interaction_rows(48);
    let borrowed: Vec<&InteractionRow> = rows.iter().collect();
    let wanted: Vec<f64> =
        rows.iter().flat_map(|r| naive::interaction(model.params(), &features(), r, (3, 4))).collect();
    near(&model.probabilities(&mut Workspace::default(), &borrowed), &wanted);
}

#[test]
fn loss_is_weighted_cross_entropy_of_known_labels() {
    let model = shaken(TabularMmoe::new(&params(0.25), numeric(), categorical(), 3).unwrap());
    let mut rows = tabular_rows(9);
    rows[0].labels = vec![None, Some(true)];
    rows[1].labels = vec![Some(false), Some(false)];
    rows[2].labels = vec![None, None];
    let borrowed: Vec<&TabularRow> = rows.iter().collect();
    let mut wanted = 0.0;
    for row in &rows {
        let p = naive::tabular(model.params(), &numeric(), row, 3);
        for (task, weight) in [1.0, 0.25].into_iter().enumerate() {
            wanted -= row.labels[task].map_or(0.0, |y| weight * if y { p[task].ln() } else { (1.0 - p[task]).ln() });
        }
    }
    let mut workspace = Workspace::default();
    let mut tape = Tape::train(model.params(), &mut workspace, 1);
    let loss = model.loss(&mut tape, &borrowed, 1);
    assert_eq!(tape.shape(loss), (1, 1));
    assert!((f64::from(tape.value(loss)[0]) - wanted).abs() < 1e-4 * wanted);
    assert_eq!([0, 1, 2].map(|i| model.weight(&rows[i])), [0.25, 1.25, 0.0]);
}

#[test]
fn every_gate_is_a_softmax() {
    let model = shaken(TabularMmoe::new(&params(1.0), numeric(), categorical(), 3).unwrap());
    let rows = tabular_rows(20);
    let borrowed: Vec<&TabularRow> = rows.iter().collect();
    let mut workspace = Workspace::default();
    let mut tape = Tape::serve(model.params(), &mut workspace);
    let gates = model.gates(&mut tape, &borrowed);
    assert_eq!(gates.len(), 2);
    let values: Vec<Vec<f32>> = gates.iter().map(|&g| tape.value(g).to_vec()).collect();
    for row in values.iter().flat_map(|g| g.chunks(3)) {
        assert!(row.iter().all(|&p| p > 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
    }
    assert_ne!(values[0], values[1], "each task has its own");
}

#[test]
fn shared_user_side_equals_recomputing_it() {
    let model = interactions();
    let rows = interaction_rows(7);
    let candidates: Vec<u32> = (0..3000).map(|i| i % 12).collect();
    let queries: Vec<RankQuery<'_>> =
        rows.iter().map(|r| RankQuery { history: &r.history, user: r.user, candidates: &candidates }).collect();
    let mut alone = Vec::new();
    for row in &rows {
        let own: Vec<InteractionRow> = (0..12).map(|item| InteractionRow { item, ..row.clone() }).collect();
        alone.push(model.probabilities(&mut Workspace::default(), &own.iter().collect::<Vec<_>>()));
    }
    let mut ranker = model.ranker();
    let together = ranker.rank(&queries).unwrap();
    assert_eq!(together, ranker.fork().rank(&queries).unwrap());
    for count in 2..4 {
        let mut shared = ranker.fork();
        assert_eq!(shared.set_threads(&Threads { count, cores: Vec::new() }), count);
        assert_eq!(together, shared.rank(&queries).unwrap(), "{count} threads");
    }
    for (found, wanted) in together.iter().zip(&alone) {
        assert_eq!(found.len(), candidates.len() * 2);
        for (i, score) in found.iter().enumerate() {
            assert!((score - wanted[i % 24]).abs() < 1e-6);
        }
    }
}

#[test]
fn the_order_of_candidates_changes_no_score() {
    let mut ranker = interactions().ranker();
    let history = [3, 1, 4, 1, 5];
    let mut candidates: Vec<u32> = (0..12).collect();
    let score = |ranker: &mut Box<dyn Rank>, candidates: &[u32]| {
        ranker.rank(&[RankQuery { history: &history, user: Some(1), candidates }]).unwrap().remove(0)
    };
    let before = score(&mut ranker, &candidates);
    candidates.shuffle(&mut Pcg64Mcg::seed_from_u64(8));
    let after = score(&mut ranker, &candidates);
    for (pair, &item) in after.chunks(2).zip(&candidates) {
        let item = item as usize;
        assert!(pair.iter().zip(&before[item * 2..]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn odd_queries_are_answered() {
    let mut ranker = interactions().ranker();
    assert_eq!(&*ranker.tasks(), ["like", "love"]);
    let known: Vec<u32> = vec![2, 3];
    let mut score =
        |history: &[u32], user| ranker.rank(&[RankQuery { history, user, candidates: &known }]).unwrap().remove(0);
    let empty = score(&[], None);
    assert!(empty.iter().all(|p| (0.0..=1.0).contains(p)));
    assert_eq!(empty, score(&[], Some(5)), "a user without attributes is an unknown one");
    assert_eq!(empty, score(&[], Some(4_000_000_000)), "so is one beyond the table");
    let long: Vec<u32> = (0..10_000).map(|i| i % 12).collect();
    assert_eq!(score(&long, None), score(&long[9_996..], None), "older items than the newest four change nothing");
    assert_eq!(score(&[1, 999, 2, 3, 4, 999], None), score(&[1, 2, 3, 4], None), "unknown items are passed over");
    assert!(ranker.rank(&[]).unwrap().is_empty());
    assert_eq!(ranker.rank(&[RankQuery { history: &[1], user: None, candidates: &[] }]).unwrap(), [Vec::<f32>::new()]);
    let failure = ranker.rank(&[RankQuery { history: &[], user: None, candidates: &[12] }]).unwrap_err();
    assert_eq!(failure.class, Class::Internal);
}

#[test]
fn a_score_that_is_no_number_is_a_failure() {
    let mut model = interactions();
    model.params_mut().tensors_mut().iter_mut().for_each(|t| t.data.fill(f32::NAN));
    let failure = model.ranker().rank(&[RankQuery { history: &[], user: None, candidates: &[1] }]).unwrap_err();
    assert_eq!(failure.reason, recmesh_contract::reason::NOT_A_NUMBER);
}

#[test]
fn equal_seeds_equal_weights() {
    let fresh = |seed| InteractionMmoe::new(&params(1.0), features(), seed).unwrap();
    assert_eq!(fresh(1).params(), fresh(1).params());
    assert_ne!(fresh(1).params(), fresh(2).params());
}
