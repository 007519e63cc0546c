//! Every planted effect is there when it is on, gone at zero, and gone when the world is shuffled.
//!
//! In: worlds with one effect each. Out: the share of rows that shows it, against the truth.
//! Shares are counted here anew and share no code with the generator.

use std::path::Path;

use recmesh_contract::config::{DatasetParams, NoParams, Source, Split, Threshold};
use recmesh_contract::{Silent, config};
use serde_json::{Value, json};

use super::*;
use crate::{Dataset, Part, prepare, source_digest};

fn world(fields: Value) -> PlantedWorld {
    let mut all = json!({"users": 1500, "items": 240, "length": 20, "buckets": 24, "transition": 0.0, "seed": 7});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn params(world: PlantedWorld) -> DatasetParams {
    DatasetParams {
        source: Source::Planted(world),
        split: Split::LeaveOneOut(NoParams {}),
        history: None,
        max_bad_rows: 0.0,
    }
}

/// A row as tests ask for it: user, item, place in the history, length of the history, hour of the day.
struct Seen {
    user: usize,
    item: usize,
    place: usize,
    length: usize,
    hour: usize,
    labels: [f32; 4],
}

fn seen(planted: &Planted) -> Vec<Seen> {
    let mut lengths = vec![0; planted.truth.users()];
    planted.user.iter().for_each(|&user| lengths[user as usize] += 1);
    let mut places = vec![0; planted.truth.users()];
    (0..planted.rows())
        .map(|row| {
            let user = planted.user[row] as usize;
            places[user] += 1;
            Seen {
                user,
                item: planted.item[row] as usize,
                place: places[user] - 1,
                length: lengths[user],
                hour: (planted.time[row] / 3600 % 24) as usize,
                labels: planted.outcomes[row].labels,
            }
        })
        .collect()
}

/// The share of the rows of `among` that `is`.
fn share(rows: &[Seen], among: impl Fn(&Seen) -> bool, is: impl Fn(&Seen) -> bool) -> f64 {
    let rows: Vec<_> = rows.iter().filter(|row| among(row)).collect();
    assert!(rows.len() > 500, "{} rows are too few to tell", rows.len());
    rows.iter().filter(|row| is(row)).count() as f64 / rows.len() as f64
}

/// Measures one share in a world with an effect, without it, and with it but shuffled.
fn effect(on: Value, measure: impl Fn(&Truth, &[Seen]) -> f64) -> [f64; 3] {
    let mut shuffled = on.clone();
    shuffled["shuffled"] = json!(true);
    [on, json!({}), shuffled].map(|fields| {
        let planted = plant(&world(fields)).unwrap();
        measure(&planted.truth, &seen(&planted))
    })
}

#[test]
fn tastes_are_buckets() {
    let [on, off, shuffled] = effect(json!({}), |truth, rows| {
        share(
            rows,
            |_| true,
            |row| {
                let taste = truth.user_tastes[row.user];
                truth.is_in(row.item, taste.main) || truth.is_in(row.item, taste.second)
            },
        )
    });
    assert!((0.88..0.94).contains(&on) && on == off, "{on} {off}");
    assert!((0.06..0.11).contains(&shuffled), "two of 24 buckets: {shuffled}");
}

#[test]
fn items_follow_their_transition() {
    let follows = |truth: &Truth, rows: &[Seen]| {
        let pairs: Vec<_> = rows.windows(2).filter(|pair| pair[0].user == pair[1].user).collect();
        let follow = pairs.iter().filter(|pair| truth.transition[pair[0].item].contains(&(pair[1].item as u32)));
        follow.count() as f64 / pairs.len() as f64
    };
    let [on, off, shuffled] = effect(json!({"transition": 0.5}), follows);
    assert!((0.5..0.6).contains(&on), "{on}");
    assert!(off < 0.1 && shuffled < 0.03, "{off} {shuffled}");
    let [all, ..] = effect(json!({"transition": 1.0}), follows);
    assert_eq!(all, 1.0);
}

#[test]
fn tastes_drift_halfway() {
    let drifted = |late: bool| {
        move |truth: &Truth, rows: &[Seen]| {
            let half = |row: &Seen| (row.place >= row.length / 2) == late;
            share(rows, half, |row| truth.is_in(row.item, truth.user_tastes[row.user].drifted))
        }
    };
    let [on, off, shuffled] = effect(json!({"drift": 0.6}), drifted(true));
    assert!((0.5..0.6).contains(&on), "0.9 of 0.6: {on}");
    assert!(off < 0.02 && shuffled < 0.08, "{off} {shuffled}");
    let [before, ..] = effect(json!({"drift": 0.6}), drifted(false));
    assert!(before < 0.02, "{before}");
}

#[test]
fn the_oldest_taste_shows_only_at_both_ends() {
    let oldest = |at: fn(&Seen) -> bool| {
        move |truth: &Truth, rows: &[Seen]| {
            share(rows, at, |row| truth.is_in(row.item, truth.user_tastes[row.user].oldest))
        }
    };
    for end in [|row: &Seen| row.place + 1 == row.length, |row: &Seen| row.place < row.length / 4] {
        let [on, off, shuffled] = effect(json!({"longOnly": 0.5}), oldest(end));
        assert!((0.45..0.55).contains(&on), "{on}");
        assert!(off < 0.02 && shuffled < 0.08, "{off} {shuffled}");
    }
    let middle = oldest(|row| row.place >= row.length.div_ceil(4) && row.place + 3 < row.length);
    let [on, ..] = effect(json!({"longOnly": 0.5}), middle);
    assert!(on < 0.02, "{on}");
}

#[test]
fn shared_items_are_in_two_buckets_and_met_in_both() {
    let other_bucket = |truth: &Truth, rows: &[Seen]| {
        let fans = |row: &Seen| {
            let [first, second] = truth.item_buckets[row.item];
            let taste = truth.user_tastes[row.user];
            first != second && taste.main == second
        };
        rows.iter().filter(|row| fans(row)).count() as f64 / rows.len() as f64
    };
    let [on, off, shuffled] = effect(json!({"sharedItems": 0.3}), other_bucket);
    assert!(on > 0.1 && off == 0.0, "{on} {off}");
    assert!(shuffled < on / 3.0, "{shuffled}");
    let planted = plant(&world(json!({"sharedItems": 0.3}))).unwrap();
    let shared = planted.truth.item_buckets.iter().filter(|of| of[0] != of[1]).count();
    assert!((50..95).contains(&shared), "{shared} of 240");
}

#[test]
fn the_clock_decides_the_bucket() {
    let [on, off, shuffled] = effect(json!({"clock": 0.7}), |truth, rows| {
        share(rows, |_| true, |row| truth.is_in(row.item, truth.clock[row.hour]))
    });
    assert!((0.69..0.77).contains(&on), "{on}");
    assert!(off < 0.08 && shuffled < 0.12, "{off} {shuffled}");
}

#[test]
fn popularity_follows_the_exponent() {
    let first = |truth: &Truth, rows: &[Seen]| share(rows, |_| true, |row| truth.item_ranks[row.item] == 0);
    let [steep, default, _] = effect(json!({"zipf": 2.0}), first);
    let [flat, ..] = effect(json!({"zipf": 0.0}), first);
    assert!((flat - 0.1).abs() < 0.01, "ten items a bucket: {flat}");
    assert!(steep > 0.6 && default > 0.2 && default < 0.4, "{steep} {default}");
}

#[test]
fn labels_tell_of_taste_and_quality() {
    let gap = |label: usize, high: fn(&Truth, &Seen) -> bool| {
        move |truth: &Truth, rows: &[Seen]| {
            let mean = |of: bool| {
                let rows: Vec<_> = rows.iter().filter(|row| high(truth, row) == of).collect();
                rows.iter().map(|row| f64::from(row.labels[label])).sum::<f64>() / rows.len() as f64
            };
            mean(true) - mean(false)
        }
    };
    let near = |truth: &Truth, row: &Seen| truth.nearness(row.item, truth.user_tastes[row.user].main) > 0.5;
    let good = |truth: &Truth, row: &Seen| truth.item_quality[row.item] > 0.0;
    for (label, least) in [(0, 0.2), (1, 0.1), (2, 0.5), (3, 0.1)] {
        for (high, name) in [(near as fn(&Truth, &Seen) -> bool, "taste"), (good, "quality")] {
            let [on, _, shuffled] = effect(json!({}), gap(label, high));
            assert!(on > least, "{} by {name}: {on}", LABELS[label]);
            assert!(shuffled.abs() < 0.05 * (1.0 + least), "{} by {name}, shuffled: {shuffled}", LABELS[label]);
        }
    }
    let planted = plant(&world(json!({}))).unwrap();
    for kind in 0..3u8 {
        assert!(planted.outcomes.iter().filter(|outcome| outcome.behaviour == kind).count() > 500, "{kind}");
    }
    for outcome in &planted.outcomes {
        let [click, like, rating, watch] = outcome.labels;
        assert!(click >= like && (1.0..=5.0).contains(&rating) && (0.0..=1.0).contains(&watch));
        assert!(outcome.behaviour == 0 || click == 1.0);
    }
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_does_not() {
    let data = |fields: Value| {
        let params = params(world(fields));
        prepare(&params, Path::new("nowhere"), &Silent).unwrap().0
    };
    let all_on = json!({"drift": 0.3, "longOnly": 0.2, "sharedItems": 0.1, "clock": 0.1, "transition": 0.3});
    assert_eq!(data(all_on.clone()), data(all_on));
    assert_ne!(data(json!({})), data(json!({"seed": 8})));
    assert_eq!(source_digest(&params(world(json!({}))), Path::new("nowhere")).unwrap(), "");
}

#[test]
fn tiny_and_lopsided_worlds_hold() {
    for fields in [
        json!({"users": 1, "items": 1, "length": 3, "buckets": 1, "transition": 1.0}),
        json!({"users": 3, "items": 2, "length": 3, "buckets": 4096, "sharedItems": 1.0, "longOnly": 1.0}),
        json!({"users": 5, "items": 30, "length": 4, "buckets": 2, "drift": 1.0, "clock": 1.0, "shuffled": true}),
        json!({"users": 5, "items": 5000, "length": 4, "buckets": 4096, "zipf": 3.0}),
    ] {
        let world = world(fields);
        let (dataset, summary) = prepare(&params(world.clone()), Path::new("nowhere"), &Silent).unwrap();
        let Dataset::Interactions(data) = dataset else { panic!() };
        assert_eq!(summary.users, u64::from(world.users));
        assert_eq!(summary.parts[2], u64::from(world.users), "everybody has a test target");
        assert!(data.items.len() <= world.items as usize);
    }
    for fields in [json!({"transition": 1.5}), json!({"users": 0}), json!({"length": 2}), json!({"zipf": -1.0})] {
        let error = plant(&world(fields)).unwrap_err().to_string();
        assert!(error.starts_with("source.planted"), "{error}");
    }
}

#[test]
fn titles_and_attributes_tell_the_bucket() {
    let planted = plant(&world(json!({}))).unwrap();
    let truth = planted.truth().clone();
    let data = planted.into_interactions(&params(world(json!({})))).unwrap();
    let category = data.items.attribute("category").unwrap();
    for item in 0..data.items.len() {
        let number = Truth::number(data.items.id(item)).unwrap();
        let path = truth.path(truth.item_buckets[number][0]);
        assert_eq!(category.values_of(item).collect::<Vec<_>>(), words::category(path));
        assert_eq!(data.items.title(item).unwrap().split(' ').count(), 3);
        assert!(data.items.text(item).unwrap().contains(" by "));
    }
    let bought = data.rows.reach(&Threshold { column: "behaviour".into(), at_least: None, is: Some("buy".into()) });
    assert!(bought.unwrap().contains(&true));
    let segment = data.users.attribute("segment").unwrap();
    let told = |user: &usize| {
        let top = truth.path(truth.user_tastes[*user].main)[0];
        segment.values_of(*user).next() == Some(words::segment(top))
    };
    let share = (0..data.users.len()).filter(told).count() as f64 / data.users.len() as f64;
    assert!((0.8..0.95).contains(&share), "{share}");
}

#[test]
fn files_read_back_are_the_world_itself() {
    let world = world(json!({"users": 60, "transition": 0.4, "sharedItems": 0.2}));
    let mut params = params(world);
    params.history = Some(Threshold { column: "click".into(), at_least: Some(1.0), is: None });
    let (expect, _) = prepare(&params, Path::new("nowhere"), &Silent).unwrap();
    for format in [FileFormat::Csv, FileFormat::JsonLines, FileFormat::RecBole] {
        let dir = tempfile::tempdir().unwrap();
        write_files("world", &params, dir.path(), format).unwrap();
        let manifest = std::fs::read_to_string(dir.path().join("dataset.yaml")).unwrap();
        let manifest: Value = serde_yaml::from_str(&manifest).unwrap();
        assert_eq!(manifest["kind"], "Dataset");
        let read: config::DatasetParams = serde_json::from_value(manifest["spec"].clone()).unwrap();
        let (found, summary) = prepare(&read, dir.path(), &Silent).unwrap();
        assert_eq!(summary.bad_rows, 0);
        assert!(found == expect, "{format:?} differs");
        let Dataset::Interactions(data) = found else { panic!() };
        assert!(!data.sequences.targets(Part::Test).is_empty());
    }
}
