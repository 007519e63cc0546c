//! SASRec: answers do not depend on the batch or on a saved copy, and a planted rule is learned.

use recmesh_contract::config::{self, SampledSoftmax, SoftmaxLoss};
use recmesh_contract::{Candidate, Mask, Query, Threads};
use recmesh_kernels::{Tape, Workspace};

use super::super::{Popularity, SequenceExample, item_vectors, load};
use super::SasRec;
use super::model::{Rows, Sequences};
use crate::Trainable;
use crate::planted::{examples, query, recall, shuffled, train, walks};

fn config() -> config::SasRec {
    let defaults: config::SasRec = serde_json::from_str("{}").unwrap();
    config::SasRec { dim: 16, blocks: 2, heads: 2, ffn: 2, max_length: 6, dropout: 0.1, ..defaults }
}

fn histories() -> Vec<Vec<u32>> {
    (0..9u32).map(|user| (0..=user * 2).map(|at| (at * 13 + user * 5) % 30).collect()).collect()
}

fn close(a: &[Candidate], b: &[Candidate]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!(a.item == b.item && (a.score - b.score).abs() < 1e-5, "{a:?} {b:?}");
    }
}

#[test]
fn a_batch_answers_like_single_queries() {
    let mut model = SasRec::new(&config(), 30, 3).unwrap().recommender();
    let histories = histories();
    let queries: Vec<_> = histories.iter().map(|history| query(history, 30)).collect();
    let batch = model.recommend(&queries).unwrap();
    for (query, answer) in queries.iter().zip(&batch) {
        assert_eq!(answer.len(), 30);
        assert!(answer.is_sorted_by(|a, b| a.score >= b.score));
        close(answer, &model.fork().recommend(&[*query]).unwrap()[0]);
    }
    assert_ne!(batch[1][0].score, batch[2][0].score);
}

#[test]
fn answers_are_the_same_on_any_number_of_threads() {
    let config = config::SasRec { dim: 64, max_length: 50, ..config() };
    let mut model = SasRec::new(&config, 900, 3).unwrap().recommender();
    let history = |user: u32| (0..user % 60).map(|at| (at * 131 + user * 57) % 1000).collect();
    let histories: Vec<Vec<u32>> = (0..130).map(history).collect();
    let all: Vec<_> = histories.iter().map(|history| query(history, 20)).collect();
    for queries in [&all[..], &all[49..50], &all[40..55], &all[..1], &[]] {
        let wanted = model.recommend(queries).unwrap();
        for count in 1..5 {
            let mut shared = model.fork();
            assert_eq!(shared.set_threads(&Threads { count, cores: Vec::new() }), count);
            for _ in 0..2 {
                assert_eq!(shared.recommend(queries).unwrap(), wanted, "{count} threads");
            }
        }
    }
}

#[test]
fn serving_computes_the_last_rows_of_the_training_pass() {
    let model = SasRec::new(&config(), 30, 3).unwrap();
    let mut batch = Sequences::default();
    batch.push(&[1, 2, 3, 4]);
    batch.push(&[5]);
    batch.push(&[6, 7]);
    let mut workspace = Workspace::default();
    let packed = model.packed();
    let mut served = model.params().clone();
    packed.maps().for_each(|id| served.drop_values(id));
    let mut tape = Tape::serve(model.params(), &mut workspace);
    let all = model.forward(&mut tape, &batch, Rows::All);
    let all = tape.value(all).to_vec();
    let mut tape = Tape::serve_packed(&served, &packed, &mut workspace);
    let last = model.forward(&mut tape, &batch, Rows::Last);
    for (row, last) in [3, 4, 6].into_iter().zip(tape.value(last).chunks(16)) {
        assert!(all[row * 16..][..16].iter().zip(last).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn only_the_newest_items_are_read_and_unknown_ones_are_skipped() {
    let mut model = SasRec::new(&config(), 30, 3).unwrap().recommender();
    let long: Vec<u32> = (0..20).collect();
    let mut with_unknown = long.clone();
    with_unknown.insert(17, 99);
    let answers = model.recommend(&[query(&long, 5), query(&long[14..], 5), query(&with_unknown, 5)]).unwrap();
    close(&answers[0], &answers[1]);
    close(&answers[0], &answers[2]);
    let nothing = model.recommend(&[query(&[], 5), query(&[99], 5), query(&[1], 0)]).unwrap();
    assert!(nothing.iter().all(Vec::is_empty));
}

#[test]
fn restrictions_leave_the_order_of_the_rest() {
    let mut model = SasRec::new(&config(), 30, 3).unwrap().recommender();
    let all = model.recommend(&[query(&[1, 2, 3], 30)]).unwrap().remove(0);
    let mut allowed = Mask::none(30);
    (0..20).for_each(|item| allowed.insert(item));
    let narrowed = Query { exclude: &[3, 4, 5], allowed: Some(&allowed), ..query(&[1, 2, 3], 7) };
    let some = model.recommend(&[narrowed]).unwrap().remove(0);
    let wanted: Vec<_> = all.into_iter().filter(|c| c.item < 20 && !(3..=5).contains(&c.item)).take(7).collect();
    close(&some, &wanted);
}

#[test]
fn a_saved_model_answers_the_same_and_a_broken_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = SasRec::new(&config(), 30, 3).unwrap();
    model.save(dir.path()).unwrap();
    let mut loaded = load(dir.path(), None).unwrap();
    let questions = [query(&[1, 2, 3], 10), query(&[7], 10)];
    assert_eq!(model.recommender().recommend(&questions).unwrap(), loaded.recommend(&questions).unwrap());
    let (rows, cols, values) = item_vectors(dir.path()).unwrap();
    assert_eq!((rows, cols, values.len()), (30, 16, 480));

    let other = crate::planted::grid(2, 2);
    let error = load(dir.path(), Some(other)).err().unwrap().to_string();
    assert!(error.contains("30 items") && error.contains("has 4"), "{error}");
    let header = dir.path().join("model.json");
    let text = std::fs::read_to_string(&header).unwrap().replace("\"dim\": 16", "\"dim\": 32");
    std::fs::write(&header, text).unwrap();
    let error = load(dir.path(), None).err().unwrap().to_string();
    assert!(error.contains("model.safetensors") && error.contains("shape"), "{error}");
}

#[test]
fn weights_that_are_not_numbers_are_reported_not_answered() {
    let mut model = SasRec::new(&config(), 30, 3).unwrap();
    let norm = model.layout.norm.gain;
    model.params_mut().get_mut(norm).data[0] = f32::NAN;
    let failure = model.recommender().recommend(&[query(&[1], 5)]).unwrap_err();
    assert_eq!(failure.reason, recmesh_contract::reason::NOT_A_NUMBER);
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let error = load(dir.path(), None).err().unwrap().to_string();
    assert!(error.contains("norm.gain"), "{error}");
}

#[test]
fn a_recommender_keeps_the_weights_it_was_made_with() {
    let mut model = SasRec::new(&config(), 30, 3).unwrap();
    let mut before = model.recommender();
    let answer = before.recommend(&[query(&[1], 5)]).unwrap();
    model.params_mut().tensors_mut()[0].data.fill(0.5);
    assert_eq!(before.recommend(&[query(&[1], 5)]).unwrap(), answer);
}

#[test]
fn short_sequences_and_wrong_sizes() {
    let model = SasRec::new(&config(), 1, 3).unwrap();
    assert_eq!(model.recommender().recommend(&[query(&[0, 0], 4)]).unwrap()[0].len(), 1);
    let one = SequenceExample { items: vec![0] };
    let long = SequenceExample { items: vec![0; 20] };
    assert_eq!((model.weight(&one), model.weight(&long)), (0.0, 6.0));
    let mut workspace = Workspace::default();
    let mut tape = Tape::train(model.params(), &mut workspace, 0);
    let loss = model.loss(&mut tape, &[&one], 0);
    assert_eq!(tape.value(loss), [0.0]);
    let error = SasRec::new(&config::SasRec { heads: 3, ..config() }, 30, 3).unwrap_err().to_string();
    assert!(error.contains("heads"), "{error}");
    assert!(SasRec::new(&config(), 0, 3).is_err());
}

#[test]
fn a_planted_rule_is_learned_and_no_rule_is_not() {
    let walks = walks(40, 300, 7, 1);
    let broken = shuffled(&walks, 2);
    for loss in [SoftmaxLoss::default(), SoftmaxLoss::Sampled(SampledSoftmax { negatives: 20 })] {
        let gain = |walks: &[Vec<u32>]| {
            let config = config::SasRec { blocks: 1, loss: loss.clone(), ..config() };
            let mut model = SasRec::new(&config, 40, 5).unwrap();
            train(&mut model, &examples(walks), 90, 100, 0.02);
            let train: Vec<&[u32]> = walks.iter().map(|walk| &walk[..walk.len() - 1]).collect();
            let mut popular = Popularity::count(&train, 40).recommender(None);
            (recall(&mut *model.recommender(), walks, 3), recall(&mut *popular, walks, 3))
        };
        let (sasrec, popular) = gain(&walks);
        assert!(sasrec > 0.6 && popular < 0.25, "planted: {sasrec} against {popular}");
        let (sasrec, _) = gain(&broken);
        assert!(sasrec < 0.25, "shuffled: {sasrec}");
    }
}
