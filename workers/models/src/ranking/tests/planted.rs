//! Planted tasks that conflict: a mixture must learn both, a shared linear model cannot, shuffled labels teach nothing.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use recmesh_kernels::Workspace;

use super::{
    super::*,
    learn::{auc, train},
    params, table,
};

/// Whether the number is high matters one way for even categories and the other way for odd ones; the second task wants
/// the opposite of the first, and one category more decides it alone.
fn tabular(count: usize, seed: u64) -> Vec<TabularRow> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let row = |_| {
        let (x, c, d): (f32, u32, u32) =
            (random.random_range(-2.0..2.0), random.random_range(1..9), random.random_range(1..4));
        let noisy = |answer: bool, random: &mut Pcg64Mcg| Some(answer != random.random_bool(0.05));
        let first = (x > 0.0) == (c % 2 == 0);
        let labels = vec![noisy(first, &mut random), noisy(!first || d == 3, &mut random)];
        TabularRow { numeric: vec![x], categorical: vec![c, d], labels }
    };
    (0..count).map(row).collect()
}

/// Gives every row the labels of another, training and test rows together: nothing is left to learn.
fn shuffled<R: Clone>(rows: &[R], test: &[R], labels: impl Fn(&mut R) -> &mut Vec<Option<bool>>) -> (Vec<R>, Vec<R>) {
    let mut all = [rows, test].concat();
    let mut own: Vec<Vec<Option<bool>>> = all.iter_mut().map(|r| labels(r).clone()).collect();
    own.shuffle(&mut Pcg64Mcg::seed_from_u64(9));
    all.iter_mut().zip(own).for_each(|(row, own)| *labels(row) = own);
    let test = all.split_off(rows.len());
    (all, test)
}

fn tabular_auc(rows: &[TabularRow], scores: &[f32]) -> [f64; 2] {
    [0, 1].map(|t| auc(scores.iter().skip(t).step_by(2).copied(), rows.iter().map(|r| r.labels[t] == Some(true))))
}

fn fit_tabular(train_rows: &[TabularRow], test: &[TabularRow]) -> [f64; 2] {
    let values: Vec<f32> = train_rows.iter().map(|r| r.numeric[0]).collect();
    let numeric = vec![NumericFeature::fit("x", &values, 8)];
    let category = |name: &str, size| CategoricalFeature { name: name.into(), size };
    let mut model = TabularMmoe::new(&params(1.0), numeric, vec![category("c", 9), category("d", 4)], 3).unwrap();
    train(&mut model, train_rows, 8, 1e-2);
    tabular_auc(test, &model.probabilities(&mut Workspace::default(), &test.iter().collect::<Vec<_>>()))
}

/// One logistic model of one-hot features for both tasks together.
fn shared_linear(train_rows: &[TabularRow], test: &[TabularRow]) -> [f64; 2] {
    let encode = |row: &TabularRow| {
        let mut x = vec![0.0f32; 15];
        (x[0], x[1]) = (1.0, row.numeric[0]);
        x[2 + row.categorical[0] as usize] = 1.0;
        x[11 + row.categorical[1] as usize] = 1.0;
        x
    };
    let mut w = [0.0f32; 15];
    for step in 0..20 * train_rows.len() {
        let row = &train_rows[step % train_rows.len()];
        let x = encode(row);
        let p = 1.0 / (1.0 + (-w.iter().zip(&x).map(|(a, b)| a * b).sum::<f32>()).exp());
        for label in &row.labels {
            let error = f32::from(*label == Some(true)) - p;
            w.iter_mut().zip(&x).for_each(|(w, x)| *w += 0.01 * error * x);
        }
    }
    let score = |row: &TabularRow| w.iter().zip(encode(row)).map(|(a, b)| a * b).sum::<f32>();
    tabular_auc(test, &test.iter().flat_map(|r| [score(r); 2]).collect::<Vec<_>>())
}

#[test]
fn conflicting_tasks_are_both_learnt() {
    let (rows, test) = (tabular(4000, 1), tabular(1500, 2));
    let mixture = fit_tabular(&rows, &test);
    let linear = shared_linear(&rows, &test);
    assert!(mixture.iter().all(|&a| a > 0.9), "{mixture:?}");
    assert!(mixture.iter().zip(&linear).all(|(m, l)| m > &(l + 0.15)), "{mixture:?} {linear:?}");
    let (rows, test) = shuffled(&rows, &test, |r| &mut r.labels);
    let control = fit_tabular(&rows, &test);
    assert!(control.iter().all(|a| (a - 0.5).abs() < 0.05), "{control:?}");
}

const ITEMS: u32 = 40;

/// `like`: the item's genre is in the history. `love`: the item's genre is not in the history, and its maker is the
/// user's kind. Genres are only known through the history's and the candidate's own attributes.
fn interactions(count: usize, seed: u64) -> Vec<InteractionRow> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let row = |_| {
        let mut genres: Vec<u32> = (0..8).collect();
        genres.shuffle(&mut random);
        let mut of = |genre: u32| genre + 8 * random.random_range(0..ITEMS / 8);
        let history: Vec<u32> = genres[..3].iter().chain(&genres[..1]).map(|&g| of(g)).collect();
        let item = random.random_range(0..ITEMS);
        let user = random.random_range(0..30u32);
        let familiar = history.iter().any(|h| h % 8 == item % 8);
        let labels = vec![Some(familiar), Some(!familiar && item % 3 == user % 3)];
        InteractionRow { history, user: Some(user), item, labels }
    };
    (0..count).map(row).collect()
}

fn fit_interactions(rows: &[InteractionRow], test: &[InteractionRow]) -> [f64; 2] {
    let features = InteractionFeatures {
        popularity: vec![3; ITEMS as usize],
        item_attributes: vec![
            table("genre", 8, (0..ITEMS).map(|i| vec![i % 8])),
            table("maker", 3, (0..ITEMS).map(|i| vec![i % 3])),
        ],
        users: 30,
        user_attributes: vec![table("kind", 3, (0..30).map(|u| vec![u % 3]))],
    };
    let mut model = InteractionMmoe::new(&params(1.0), features, 3).unwrap();
    train(&mut model, rows, 8, 1e-2);
    let scores = model.probabilities(&mut Workspace::default(), &test.iter().collect::<Vec<_>>());
    [0, 1].map(|t| auc(scores.iter().skip(t).step_by(2).copied(), test.iter().map(|r| r.labels[t] == Some(true))))
}

#[test]
fn candidates_are_matched_with_history_and_user() {
    let (rows, test) = (interactions(4000, 1), interactions(1000, 2));
    let found = fit_interactions(&rows, &test);
    assert!(found.iter().all(|&a| a > 0.9), "{found:?}");
    let (rows, test) = shuffled(&rows, &test, |r| &mut r.labels);
    let control = fit_interactions(&rows, &test);
    assert!(control.iter().all(|a| (a - 0.5).abs() < 0.06), "{control:?}");
}
