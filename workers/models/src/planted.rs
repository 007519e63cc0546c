//! Test worlds: small catalogs, sequences with a planted rule, and an optimizer of a dozen lines.
//!
//! In: sizes and seeds. Out: the same every time. Compiled for tests only.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recmesh_catalog::{Catalog, CatalogItem};
use recmesh_contract::{ItemIndex, Query, Recommend, Ties};
use recmesh_kernels::{Grads, Tape, Workspace};

use crate::Trainable;
use crate::retrieval::SequenceExample;

/// A catalog of items with these codes; popularity falls with the index.
pub(crate) fn catalog(codebooks: &[u32], codes: &[Vec<u32>]) -> Arc<Catalog> {
    let items: Vec<CatalogItem> = (0u32..)
        .zip(codes)
        .map(|(item, codes)| CatalogItem {
            id: format!("item-{item}"),
            title: None,
            codes: codes.clone(),
            attributes: Vec::new(),
            popularity: codes.len() as u32 * 1000 - item.min(900),
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.bin");
    recmesh_catalog::write(&path, codebooks, &items).unwrap();
    Arc::new(Catalog::open(&path).unwrap())
}

/// A catalog of `a · b` items, one for every pair of codes.
pub(crate) fn grid(a: u32, b: u32) -> Arc<Catalog> {
    let codes: Vec<Vec<u32>> = (0..a * b).map(|item| vec![item / b, item % b]).collect();
    catalog(&[a, b], &codes)
}

/// A query for `k` items, without restrictions.
pub(crate) fn query(history: &[ItemIndex], k: usize) -> Query<'_> {
    Query { history, exclude: &[], allowed: None, k, ties: Ties::ByIndex }
}

/// Walks of a chain in which item `i` is followed by one fixed other item four times of five.
pub(crate) fn walks(items: u32, users: usize, length: usize, seed: u64) -> Vec<Vec<ItemIndex>> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut walks = Vec::new();
    for _ in 0..users {
        let mut walk = vec![random.random_range(0..items)];
        while walk.len() < length {
            let here = walk[walk.len() - 1];
            let rule = (here * 7 + 3) % items;
            walk.push(if random.random_bool(0.8) { rule } else { random.random_range(0..items) });
        }
        walks.push(walk);
    }
    walks
}

/// The same items in random order over all sequences: popularity is kept, order is gone.
pub(crate) fn shuffled(walks: &[Vec<ItemIndex>], seed: u64) -> Vec<Vec<ItemIndex>> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut items: Vec<ItemIndex> = walks.iter().flatten().copied().collect();
    for at in (1..items.len()).rev() {
        items.swap(at, random.random_range(0..=at));
    }
    items.chunks(walks[0].len()).map(<[u32]>::to_vec).collect()
}

/// All but the last item of every sequence.
pub(crate) fn examples(walks: &[Vec<ItemIndex>]) -> Vec<SequenceExample> {
    walks.iter().map(|walk| SequenceExample { items: walk[..walk.len() - 1].to_vec() }).collect()
}

/// The share of sequences whose last item is among the first `k` answers to those before it.
pub(crate) fn recall(model: &mut dyn Recommend, walks: &[Vec<ItemIndex>], k: usize) -> f64 {
    let queries: Vec<_> = walks.iter().map(|walk| query(&walk[..walk.len() - 1], k)).collect();
    let answers = model.recommend(&queries).unwrap();
    let hit = |(answer, walk): (&Vec<_>, &Vec<_>)| {
        answer.iter().any(|c: &recmesh_contract::Candidate| Some(&c.item) == walk.last())
    };
    answers.iter().zip(walks).filter(|&pair| hit(pair)).count() as f64 / walks.len() as f64
}

/// Adam over batches of `batch` examples in order; gives the mean loss of the last step.
pub(crate) fn train<M: Trainable>(model: &mut M, examples: &[M::Example], steps: u64, batch: usize, lr: f32) -> f64 {
    let mut grads = Grads::zeros(model.params());
    let mut moments: Vec<Vec<(f32, f32)>> =
        model.params().tensors().iter().map(|t| vec![(0.0, 0.0); t.data.len()]).collect();
    let mut workspace = Workspace::default();
    let mut last = f64::NAN;
    let mut turn = examples.iter().cycle();
    for step in 1..=steps {
        let batch: Vec<&M::Example> = turn.by_ref().take(batch.min(examples.len())).collect();
        let weight: f64 = batch.iter().map(|e| model.weight(e)).sum();
        grads.clear();
        let mut tape = Tape::train(model.params(), &mut workspace, step);
        let loss = model.loss(&mut tape, &batch, step);
        last = f64::from(tape.value(loss)[0]) / weight;
        tape.backward(&[(loss, (1.0 / weight) as f32)], &mut grads);
        let (mean, square) = (1.0 - 0.9f32.powi(step as i32), 1.0 - 0.98f32.powi(step as i32));
        for (at, tensor) in model.params_mut().tensors_mut().iter_mut().enumerate() {
            let grad = grads.get(recmesh_kernels::ParamId(at));
            for ((x, &g), (m, v)) in tensor.data.iter_mut().zip(grad).zip(&mut moments[at]) {
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.98 * *v + 0.02 * g * g;
                *x -= lr * (*m / mean) / ((*v / square).sqrt() + 1e-8);
            }
        }
    }
    last
}
