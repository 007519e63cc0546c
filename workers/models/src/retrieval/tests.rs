//! Counting models against numbers worked out by hand and on public data; model folders that are broken.

use std::path::Path;
use std::{env, fs};

use recmesh_contract::config::{self, NoParams, RetrievalAlgorithm};
use recmesh_contract::{Candidate, Mask, Query, Recommend, Ties};

use super::*;
use crate::planted::query;
use crate::weights::{ARRAYS, HEADER};

const SEQUENCES: [&[u32]; 4] = [&[0, 1, 2, 1], &[0, 1, 3], &[1, 0], &[4]];

fn knn(decay: f64, neighbours: u32) -> RetrievalAlgorithm {
    RetrievalAlgorithm::ItemKnn(config::ItemKnn { decay, neighbours })
}

fn transitions(decay: f64) -> RetrievalAlgorithm {
    RetrievalAlgorithm::Transitions(config::Transitions { decay })
}

fn popularity() -> RetrievalAlgorithm {
    RetrievalAlgorithm::Popularity(NoParams {})
}

fn counted(algorithm: &RetrievalAlgorithm, sequences: &[&[u32]], items: usize) -> Box<dyn Recommend> {
    let dir = tempfile::tempdir().unwrap();
    count(algorithm, sequences, items, dir.path()).unwrap();
    load(dir.path(), None).unwrap()
}

fn ask(model: &mut dyn Recommend, query: Query<'_>) -> Vec<(u32, f32)> {
    model.recommend(&[query]).unwrap()[0].iter().map(|c: &Candidate| (c.item, c.score)).collect()
}

#[test]
fn popularity_counts_every_occurrence_and_orders_ties() {
    let mut model = counted(&popularity(), &SEQUENCES, 6);
    let all = [(1, 4.0), (0, 3.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 0.0)];
    assert_eq!(ask(&mut *model, query(&[], 6)), all);
    assert_eq!(ask(&mut *model, query(&[5], 2)), all[..2]);
    assert_eq!(ask(&mut *model, query(&[], 0)), []);
    let mut allowed = Mask::none(6);
    [0, 1, 4].into_iter().for_each(|item| allowed.insert(item));
    let narrowed = Query { exclude: &[1], allowed: Some(&allowed), ..query(&[], 6) };
    assert_eq!(ask(&mut *model, narrowed), [(0, 3.0), (4, 1.0)]);
}

#[test]
fn random_ties_favour_nobody() {
    let mut model = counted(&popularity(), &[&[0], &[1], &[2], &[3]], 4);
    let mut first = [0u32; 4];
    for seed in 0..400 {
        let answer = ask(&mut *model, Query { ties: Ties::Random(seed), ..query(&[], 1) });
        first[answer[0].0 as usize] += 1;
    }
    assert!(first.iter().all(|&times| (60..140).contains(&times)), "{first:?}");
}

#[test]
fn item_knn_counts_users_once() {
    let mut model = counted(&knn(0.5, 0), &SEQUENCES, 5);
    // Users: {0,1,2}, {0,1,3}, {0,1}, {4}. pop: 3 3 1 1 1.
    let third = (1.0f64 / 3.0f64.sqrt()) as f32;
    assert_eq!(ask(&mut *model, query(&[0], 9)), [(1, 1.0), (2, third), (3, third)]);
    let both = ask(&mut *model, query(&[2, 0], 9));
    assert_eq!(both[0], (1, (1.0 + 0.5 * f64::from(third)) as f32));
    assert_eq!(both[3], (0, 0.5 * third));
    assert_eq!(ask(&mut *model, query(&[4], 9)), []);
    assert_eq!(ask(&mut *model, query(&[], 9)), []);
    assert_eq!(ask(&mut *model, query(&[77], 9)), [], "an unknown item is no reason to fail");
    let mut near = counted(&knn(0.5, 1), &SEQUENCES, 5);
    assert_eq!(ask(&mut *near, query(&[0], 9)), [(1, 1.0)]);
}

#[test]
fn transitions_count_neighbouring_pairs() {
    let mut model = counted(&transitions(0.5), &SEQUENCES, 5);
    // 0→1 twice; 1→2, 1→3, 1→0; 2→1.
    let third = (1.0f64 / 3.0) as f32;
    assert_eq!(ask(&mut *model, query(&[0], 9)), [(1, 1.0)]);
    assert_eq!(ask(&mut *model, query(&[1], 9)), [(0, third), (2, third), (3, third)]);
    let both = ask(&mut *model, query(&[1, 2], 9));
    assert_eq!(both, [(1, 1.0), (0, third * 0.5), (2, third * 0.5), (3, third * 0.5)]);
    let twice = ask(&mut *model, Query { exclude: &[1], ..query(&[2, 1, 1], 9) });
    assert_eq!(twice[0], (0, (f64::from(third) * 1.5) as f32), "an item counts as often as it was consumed");
}

#[test]
fn forks_answer_alike() {
    let model = counted(&knn(0.7, 0), &SEQUENCES, 5);
    let (mut a, mut b) = (model.fork(), model.fork());
    assert_eq!(ask(&mut *a, query(&[0, 1], 5)), ask(&mut *b, query(&[0, 1], 5)));
}

#[test]
fn trained_models_are_not_counted_and_items_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let sasrec: config::SasRec = serde_json::from_str("{}").unwrap();
    let error = count(&RetrievalAlgorithm::SasRec(sasrec), &SEQUENCES, 5, dir.path()).unwrap_err();
    assert!(error.to_string().contains("TrainingJob"), "{error}");
    let error = count(&popularity(), &SEQUENCES, 4, dir.path()).unwrap_err();
    assert!(error.to_string().contains("item 4"), "{error}");
    count(&popularity(), &SEQUENCES, 5, dir.path()).unwrap();
    let error = item_vectors(dir.path()).unwrap_err();
    assert!(error.to_string().contains("no item vectors"), "{error}");
}

#[test]
fn broken_folders_are_refused_with_file_and_reason() {
    let refuse = |damage: &dyn Fn(&Path), file: &str, reason: &str| {
        let dir = tempfile::tempdir().unwrap();
        count(&knn(0.7, 0), &SEQUENCES, 5, dir.path()).unwrap();
        damage(dir.path());
        let error = load(dir.path(), None).err().expect(reason).to_string();
        assert!(error.contains(file) && error.contains(reason), "{error:?} should name {file} and {reason:?}");
    };
    let edit = |dir: &Path, file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(dir.join(file)).unwrap();
        change(&mut bytes);
        fs::write(dir.join(file), bytes).unwrap();
    };
    refuse(&|dir| fs::remove_file(dir.join(ARRAYS)).unwrap(), ARRAYS, "No such file");
    refuse(&|dir| fs::remove_file(dir.join(HEADER)).unwrap(), HEADER, "No such file");
    refuse(&|dir| edit(dir, ARRAYS, &|b| b.truncate(b.len() - 5)), ARRAYS, "made again");
    refuse(&|dir| edit(dir, ARRAYS, &|b| b.truncate(3)), ARRAYS, "made again");
    refuse(&|dir| edit(dir, HEADER, &|b| b.truncate(20)), HEADER, "made again");
    let swap = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8_lossy(bytes);
            assert!(text.contains(from), "{text}");
            *bytes = text.replace(from, to).into_bytes();
        }
    };
    refuse(
        &|dir| edit(dir, HEADER, &swap("\"formatVersion\": 1", "\"formatVersion\": 9")),
        HEADER,
        "formatVersion is 9",
    );
    refuse(&|dir| edit(dir, HEADER, &swap("\"items\": 5", "\"items\": 6")), ARRAYS, "6 rows");
    refuse(&|dir| edit(dir, HEADER, &swap("itemKnn", "itemknn")), HEADER, "unknown variant");
    // The last entry of the last array in the file, whichever that is, becomes all ones: a column beyond the items, an
    // offset beyond the entries, or a value that is not a number.
    refuse(&|dir| edit(dir, ARRAYS, &|b| b.iter_mut().rev().take(4).for_each(|b| *b = 0xff)), ARRAYS, "");
}

/// The bars of the public data: leave-one-out, full ranking, history masked, fitted on the train part only.
#[test]
fn counting_models_reproduce_the_bars_on_amazon_sports() {
    let Ok(folder) = env::var("RECMESH_DATA") else {
        println!("SKIPPED: counting_models_reproduce_the_bars_on_amazon_sports wants RECMESH_DATA");
        return;
    };
    let text = fs::read_to_string(Path::new(&folder).join("amazon-sports/sequences.txt")).unwrap();
    let numbers = |line: &str| line.split_whitespace().skip(1).map(|n| n.parse::<u32>().unwrap() - 1).collect();
    let sequences: Vec<Vec<u32>> = text.lines().map(numbers).collect();
    let items = 1 + *sequences.iter().flatten().max().unwrap() as usize;
    let train: Vec<&[u32]> = sequences.iter().map(|s| &s[..s.len() - 2]).collect();
    // Followers of an item are few and mostly seen once, so equal scores are many: which way they fall moves the last
    // bar by 0.0003.
    let bars = [(popularity(), 0.0052, 0.0002), (knn(0.7, 0), 0.0206, 0.0002), (transitions(0.7), 0.0228, 0.0005)];
    for (algorithm, bar, tolerance) in bars {
        let mut model = counted(&algorithm, &train, items);
        let mut gain = 0.0;
        for (user, sequence) in sequences.iter().enumerate() {
            let (target, history) = sequence.split_last().unwrap();
            let mut exclude = history.to_vec();
            exclude.sort_unstable();
            exclude.dedup();
            let ties = Ties::Random(user as u64);
            let answer = ask(&mut *model, Query { history, exclude: &exclude, allowed: None, k: 10, ties });
            if let Some(rank) = answer.iter().position(|(item, _)| item == target) {
                gain += 1.0 / (rank as f64 + 2.0).log2();
            }
        }
        let ndcg = gain / sequences.len() as f64;
        println!("{algorithm:?}: NDCG@10 {ndcg:.4}, bar {bar}");
        assert!((ndcg - bar).abs() <= tolerance, "{algorithm:?}: NDCG@10 {ndcg:.5}, bar {bar}");
    }
}
